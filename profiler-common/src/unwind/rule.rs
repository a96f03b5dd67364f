//! How one frame's caller is found: the compact form of a row of call frame information.

/// How the canonical frame address (CFA, the caller's stack pointer) is computed.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CfaKind {
    /// There is no information for this pc.
    None = 0,
    /// register + offset.
    Register = 1,
    /// *(register + offset) + addend: realigned stacks, signal frames.
    Dereference = 2,
    /// The expression of procedure linkage tables: SP + offset + (8 when pc & 15 >= addend).
    Plt = 3,
    /// The return address is undefined: this frame has no caller.
    EndOfStack = 4,
    /// A DWARF expression that is not evaluated here.
    Unsupported = 5,
}

/// Where the caller's value of a register is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SavedKind {
    /// Still in the register.
    Same = 0,
    /// In memory at CFA + offset.
    AtCfa = 1,
    /// In memory at this frame's SP + offset: signal frames.
    AtStackPointer = 2,
    /// Not recoverable.
    Undefined = 3,
    /// In memory at this frame's frame pointer + offset: realigned stacks. Not for the return
    /// address.
    AtFramePointer = 4,
    /// In the general register whose DWARF number the offset is, where the frame was interrupted (`vfork`). For the return
    /// address only.
    InRegister = 5,
}

/// On which stack a frame of Go's runtime goes on (`runtime/asm_*.s`): what [`cross()`](super::cross()) does
/// before the rest of its rule holds.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackSwitch {
    /// On its own.
    None = 0,
    /// Its frame is where its frame pointer says, wherever the stack pointer was moved to: code that
    /// aligns its stack, or calls the vDSO on the scheduler's.
    FramePointer = 1,
    /// `systemstack`: its frame is at the goroutine's `sched.sp` once it has switched.
    SystemStack = 2,
    /// `mcall`: its caller is in the goroutine's `sched` once it has switched.
    Call = 3,
    /// `morestack`: as `Call`, and it is no frame of the goroutine's stack: it is not shown.
    Grow = 4,
    /// `gogo`: it continues the goroutine at `sched.pc` once it has switched to its stack.
    Resume = 5,
    /// `asmcgocall`: it left on the scheduler's stack whose it is and how deep its frame is there.
    ForeignCall = 6,
    /// `cgocallback`: called from Go, its frame is where the scheduler's stack was left.
    Callback = 7,
    /// `schedule`: the thread does not work for the goroutine any more that is found above it.
    Schedule = 8,
    /// `racecall`: a register that C keeps across calls holds its stack pointer. The rules of the C code that it calls have that
    /// register for their base register.
    RaceCall = 9,
}

/// A rule, as the kernel side holds it: rows of unwind tables refer to rules by their index in one
/// array that all tables share.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// [`CfaKind`] as a number.
    pub cfa: u8,
    /// DWARF number of the CFA's register.
    pub cfa_register: u8,
    /// [`SavedKind`] of the return address as a number.
    pub return_address: u8,
    /// [`SavedKind`] of the frame pointer as a number.
    pub frame_pointer: u8,
    /// [`SavedKind`] of the base register as a number.
    pub base_register: u8,
    /// 1 in a signal frame (augmentation `S`) and in what Go's signal handler makes a goroutine call:
    /// the caller's pc was interrupted, not called from.
    pub signal: u8,
    /// [`StackSwitch`] as a number.
    pub switch: u16,
    /// See [`CfaKind`].
    pub cfa_offset: i32,
    /// Added to a dereferenced CFA; the threshold of [`CfaKind::Plt`].
    pub cfa_addend: i32,
    /// Offset of the saved return address.
    pub return_address_offset: i32,
    /// Offset of the saved frame pointer.
    pub frame_pointer_offset: i32,
    /// Offset of the saved base register.
    pub base_register_offset: i32,
    /// Where, from the stack pointer on, a switch left a word: [`StackSwitch::ForeignCall`] the
    /// goroutine, [`StackSwitch::Callback`] the scheduler's stack pointer of the callback around it.
    pub switch_offset: i32,
}
const _: () = assert!(size_of::<Rule>() == 32);

impl Rule {
    /// Most rules that all tables together can use: a row names its rule with 16 bits.
    pub const MAX: usize = 1 << 15;

    /// Nothing is known.
    pub const NONE: Self = Self::of(CfaKind::None);
    /// There is no caller.
    pub const END_OF_STACK: Self = Self::of(CfaKind::EndOfStack);
    /// There is a rule, but it cannot be evaluated here.
    pub const UNSUPPORTED: Self = Self::of(CfaKind::Unsupported);

    /// There is no caller, and the code was not called either: what a context's function returns to.
    pub const CONTEXT: Self = Self {
        signal: 1,
        ..Self::END_OF_STACK
    };

    /// Is it that of a signal trampoline, or of what a context's function returns to? Its address was left as a return address,
    /// and nobody called from before it: it is named as it is, not at the byte before.
    #[inline(always)]
    #[must_use]
    pub const fn is_trampoline(&self) -> bool {
        self.signal != 0
            && (self.return_address == SavedKind::AtStackPointer as u8
                || self.cfa == CfaKind::EndOfStack as u8)
    }

    /// A rule of this kind whose registers are all unchanged.
    #[must_use]
    pub const fn of(cfa: CfaKind) -> Self {
        Self {
            cfa: cfa as u8,
            cfa_register: 0,
            return_address: SavedKind::Same as u8,
            frame_pointer: SavedKind::Same as u8,
            base_register: SavedKind::Same as u8,
            signal: 0,
            switch: StackSwitch::None as u16,
            cfa_offset: 0,
            cfa_addend: 0,
            return_address_offset: 0,
            frame_pointer_offset: 0,
            base_register_offset: 0,
            switch_offset: 0,
        }
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self::NONE
    }
}

//! What the unwinder needs to know of a machine. Register numbers are DWARF's: the System V AMD64
//! psABI (figure 3.36) and "DWARF for the Arm 64-bit Architecture".

/// A machine whose stacks can be walked. Both compile everywhere, so that a host of one kind
/// tests the other.
pub trait Architecture {
    /// DWARF number of the stack pointer.
    const STACK_POINTER: u8;
    /// DWARF number of the frame pointer.
    const FRAME_POINTER: u8;
    /// DWARF number of the one further callee-saved register that is recovered from frame to
    /// frame, because rules of the dynamic linker use it as CFA.
    const BASE_REGISTER: u8;
    /// DWARF number of the column that holds the return address.
    const RETURN_ADDRESS: u8;
    /// Is the return address of an interrupted leaf function in a link register?
    const LINK_REGISTER: bool;
    /// Where a signal frame keeps the link register, from where it keeps the pc on. Only asked for
    /// on machines with a link register.
    const LINK_REGISTER_FROM_PC: i32;
    /// Where `asmcgocall` keeps the depth of its frame in the goroutine's stack, from where it keeps the
    /// goroutine on.
    const FOREIGN_CALL_DEPTH_FROM_GOROUTINE: i32;
    /// Does `asmcgocall` leave the frame pointer alone until it has called?
    const FOREIGN_CALL_KEEPS_FRAME_POINTER: bool;
    /// DWARF number of the register in which the function that calls Go's `morestack` leaves its own return
    /// address. Only asked for on machines with a link register.
    const MORESTACK_LINK: u8;
    /// DWARF number of the register in which Go's `racecall` keeps its stack pointer while the race detector runs
    /// (`runtime/race_*.s`).
    const RACE_CALL_STACK_POINTER: u8;
    /// Where Go's signal handler keeps the link register of the code that it injects a call into, from
    /// the CFA of the injected function on. Only asked for on machines with a link register.
    const INJECTED_LINK_REGISTER: i32;
}

/// x86_64: rsp, rbp, rbx, the return address on the stack.
#[derive(Clone, Copy, Debug)]
pub struct X86_64;

impl Architecture for X86_64 {
    const STACK_POINTER: u8 = 7;
    const FRAME_POINTER: u8 = 6;
    const BASE_REGISTER: u8 = 3;
    const RETURN_ADDRESS: u8 = 16;
    const LINK_REGISTER: bool = false;
    const LINK_REGISTER_FROM_PC: i32 = 0;
    const FOREIGN_CALL_DEPTH_FROM_GOROUTINE: i32 = -8;
    const FOREIGN_CALL_KEEPS_FRAME_POINTER: bool = true;
    const MORESTACK_LINK: u8 = 0;
    const RACE_CALL_STACK_POINTER: u8 = 12;
    const INJECTED_LINK_REGISTER: i32 = 0;
}

/// aarch64: sp, x29, x19, the return address in x30.
#[derive(Clone, Copy, Debug)]
pub struct Aarch64;

impl Architecture for Aarch64 {
    const STACK_POINTER: u8 = 31;
    const FRAME_POINTER: u8 = 29;
    const BASE_REGISTER: u8 = 19;
    const RETURN_ADDRESS: u8 = 30;
    const LINK_REGISTER: bool = true;
    // `struct sigcontext` (arch/arm64/include/uapi/asm/sigcontext.h): regs[31], sp, pc.
    const LINK_REGISTER_FROM_PC: i32 = -16;
    const FOREIGN_CALL_DEPTH_FROM_GOROUTINE: i32 = 8;
    const FOREIGN_CALL_KEEPS_FRAME_POINTER: bool = false;
    const MORESTACK_LINK: u8 = 3;
    const RACE_CALL_STACK_POINTER: u8 = 19;
    const INJECTED_LINK_REGISTER: i32 = -16;
}

//! Samples on their way from a ring to a window.

use std::sync::Arc;

use profiler_common::layout::snapshot::{GENERAL_REGISTERS, GoThread};
use profiler_common::layout::{Frames, InterpretedFrame, RawFrame, SampleFlags};
use profiler_common::unwind::{Goroutine, Outcome};

use super::{
    BootTime, Executable, ExecutableId, FileOffset, KernelAddress, KernelCode, KernelCodeId,
    Process, ProcessKey, ProfileKind, RawContext, SampleContext, VirtualAddress,
};

/// A thread's name: at most 15 bytes and a NUL, as the kernel keeps it. Untrusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ThreadName(pub [u8; 16]);

impl ThreadName {
    /// The name as text; bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn to_text(self) -> String {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(16);
        String::from_utf8_lossy(&self.0[..length]).into_owned()
    }
}

/// A sample as a ring held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSample {
    /// When it was taken.
    pub time: BootTime,
    /// What it measures: time on a CPU or off it.
    pub kind: ProfileKind,
    /// What it stands for, in ns.
    pub value: u64,
    /// Off a CPU: the part of `value` in which the thread could have run and waited for a CPU.
    pub runnable: u64,
    /// Which image of the process its stack was unwound by; zero for none.
    pub image: BootTime,
    /// cgroup v2 id; 0 for none.
    pub cgroup: u64,
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Logical number of the CPU.
    pub cpu: u32,
    /// The thread's name.
    pub thread_name: ThreadName,
    /// How the user stack ended.
    pub outcome: Outcome,
    /// Facts about the whole sample.
    pub flags: SampleFlags,
    /// Kernel stack, leaf first.
    pub kernel: Vec<KernelAddress>,
    /// The words of the user stack, leaf first: what frames they are, [`RawSample::user_frames`] says.
    pub user: Vec<RawFrame>,
    /// What was read of the request, if anything.
    pub context: Option<Box<RawContext>>,
    /// The top of the user stack, where an unwind table was missing.
    pub snapshot: Option<Box<StackSnapshot>>,
}

impl RawSample {
    /// The frames of the user stack, leaf first.
    #[must_use]
    pub fn user_frames(&self) -> Frames<'_> {
        Frames::of(&self.user)
    }
}

/// The top of a user stack and the registers of its thread when a sample was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackSnapshot {
    /// When that was: the sample's time.
    pub time: BootTime,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// The pc that was interrupted.
    pub pc: u64,
    /// General registers by DWARF number.
    pub general: [u64; GENERAL_REGISTERS],
    /// What the thread worked for, as far as the kernel side knew.
    pub goroutine: Goroutine,
    /// What it had of Go.
    pub go: GoThread,
    /// The stack that it was on, then that of its user goroutine, each up to where it could be read or there was room.
    pub stacks: Vec<StackBytes>,
}

/// Bytes of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackBytes {
    /// Address of the first of them.
    pub start: VirtualAddress,
    /// What is there.
    pub bytes: Vec<u8>,
}

impl StackSnapshot {
    /// Does it belong to this sample?
    #[must_use]
    pub fn is_of(&self, sample: &RawSample) -> bool {
        (self.time, self.tid) == (sample.time, sample.tid)
    }

    /// Adds what was copied after it; back comes what is of another sample.
    pub fn append(&mut self, next: Box<Self>) -> Option<Box<Self>> {
        if (self.time, self.tid) != (next.time, next.tid) {
            return Some(next);
        }
        for stack in next.stacks {
            match self.stacks.last_mut() {
                Some(last) if last.end() == stack.start => {
                    last.bytes.extend_from_slice(&stack.bytes);
                }
                _ => self.stacks.push(stack),
            }
        }
        None
    }

    /// Bytes of all stacks.
    #[must_use]
    pub fn stack_bytes(&self) -> usize {
        self.stacks.iter().map(|stack| stack.bytes.len()).sum()
    }

    /// The words of all stacks.
    pub fn words(&self) -> impl Iterator<Item = u64> {
        let words = self
            .stacks
            .iter()
            .flat_map(|stack| stack.bytes.as_chunks().0);
        words.map(|word| u64::from_ne_bytes(*word))
    }
}

impl StackBytes {
    fn end(&self) -> VirtualAddress {
        VirtualAddress(self.start.0.wrapping_add(self.bytes.len() as u64))
    }

    /// The word at an address, if all of it is there.
    #[must_use]
    pub fn word(&self, address: VirtualAddress) -> Option<u64> {
        let from = usize::try_from(address.0.checked_sub(self.start.0)?).ok()?;
        let word = self.bytes.get(from..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*word))
    }
}

/// What identifies a location within one run of the agent: the same key has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocationKey {
    /// Code of the kernel or of a module; the address to look up.
    Kernel(KernelAddress),
    /// Code that the kernel made; the address to look up.
    KernelCode(KernelCodeId, KernelAddress),
    /// Code of a file; the offset to look up (of the call for a return address).
    File(ExecutableId, FileOffset),
    /// Anonymous executable memory of one process; the address to look up.
    Anonymous(ProcessKey, VirtualAddress),
    /// An address in no known mapping of the process.
    Unmapped(ProcessKey, VirtualAddress),
    /// A frame of an interpreter in a process, by pid and start of its image (a [`ProcessKey`], whose padding would cost each
    /// key eight bytes): what its code object is called is read from the process's memory.
    Interpreted {
        /// Process id.
        pid: u32,
        /// When the image started.
        started: BootTime,
        /// The frame.
        frame: InterpretedFrame,
    },
    /// The trampoline of a return probe (uretprobe), which is nobody's code.
    ReturnProbe,
    /// Stands where the walk stopped short of the root: `[truncated]` and the like.
    Broken(Outcome),
}

const _: () = assert!(size_of::<LocationKey>() == 32);

impl LocationKey {
    /// A frame of an interpreter in a process.
    #[must_use]
    pub const fn interpreted(process: ProcessKey, frame: InterpretedFrame) -> Self {
        Self::Interpreted {
            pid: process.pid,
            started: process.started,
            frame,
        }
    }
}

/// A frame with the file it lies in.
#[derive(Clone, Debug)]
pub struct LocatedFrame {
    /// What identifies it.
    pub key: LocationKey,
    /// Its file, for `LocationKey::File`.
    pub executable: Option<Arc<Executable>>,
    /// What code it is in, for `LocationKey::KernelCode`.
    pub kernel_code: Option<Arc<KernelCode>>,
}

/// A sample whose frames were looked up in the mappings that were valid at its time.
#[derive(Clone, Debug)]
pub struct LocatedSample {
    /// When it was taken.
    pub time: BootTime,
    /// What it measures.
    pub kind: ProfileKind,
    /// What it stands for, in the unit of its kind.
    pub value: u64,
    /// The part of `value` in which the thread could have run and waited for a CPU.
    pub runnable: u64,
    /// Whose it is.
    pub process: Arc<Process>,
    /// Thread id.
    pub tid: u32,
    /// Logical number of the CPU.
    pub cpu: u32,
    /// The thread's name.
    pub thread_name: ThreadName,
    /// How the user stack ended.
    pub outcome: Outcome,
    /// Facts about the whole sample.
    pub flags: SampleFlags,
    /// The whole stack, leaf first: kernel frames, user frames, and `LocationKey::Broken` as the
    /// outermost frame where the root was not reached.
    pub frames: Vec<LocatedFrame>,
    /// What it knows of its request, if anything.
    pub context: Option<Arc<SampleContext>>,
}

impl LocatedSample {
    /// Does it go through code of which it is not known what it is? Where its stack ends short of the root, the outermost
    /// frame may be no code at all.
    #[must_use]
    pub fn has_unknown_code(&self) -> bool {
        let unknown = |frame: &LocatedFrame| matches!(frame.key, LocationKey::Unmapped(..));
        let frames = match self.frames.as_slice() {
            [frames @ .., _, last] if matches!(last.key, LocationKey::Broken(_)) => frames,
            frames => frames,
        };
        frames.iter().any(unknown)
    }
}

//! A walk over the top of a stack that a sample brought along: by the step and the rows of the kernel side, once the
//! tables are there that it lacked.

use profiler_common::layout::RuntimeEntry;
use profiler_common::layout::snapshot::{GO_RUNNING_BELOW, GOROUTINE_MACHINE};
use profiler_common::unwind::{
    AddressMask, Architecture, Goroutine, Memory, Outcome, Registers, Slot,
};

use super::walk::{Code, Walked, walk_goroutine};
use crate::profile::{StackSnapshot, VirtualAddress};

/// The machine that the agent runs on.
#[cfg(target_arch = "aarch64")]
pub type Machine = profiler_common::unwind::Aarch64;
/// The machine that the agent runs on.
#[cfg(not(target_arch = "aarch64"))]
pub type Machine = profiler_common::unwind::X86_64;

/// Walks from where the thread was interrupted to the root, or as far as the snapshot goes. `entry` is what is known
/// of the process's runtime. A stack that leaves the snapshot ends in `TablePending`, and so does one that needs more of the
/// goroutine than the snapshot has: with the table in time, it would have been walked where all of it is.
#[must_use]
pub fn walk_snapshot<A: Architecture, C: Code + ?Sized>(
    snapshot: &StackSnapshot,
    code: &C,
    entry: Option<&RuntimeEntry>,
    address_mask: AddressMask,
) -> Walked {
    let mut memory = SnapshotMemory {
        snapshot,
        address_mask,
        left: false,
    };
    let mut goroutine = snapshot.goroutine;
    if goroutine == Goroutine::default()
        && let Some(entry) = entry
    {
        goroutine = Goroutine::find(entry, snapshot.go.thread_pointer, &mut memory);
        if memory.left {
            goroutine = Goroutine::default();
        }
    }
    memory.left = false;
    let registers = registers::<A>(snapshot);
    let mut walked = walk_goroutine::<A, C, _>(registers, code, entry, goroutine, &mut memory);
    let lacks = memory.left || goroutine == Goroutine::default();
    if walked.outcome == Outcome::MemoryUnreadable
        || walked.outcome == Outcome::GoroutineUnknown && lacks
    {
        walked.outcome = Outcome::TablePending;
    }
    walked
}

fn registers<A: Architecture>(snapshot: &StackSnapshot) -> Registers {
    let general = |number: u8| {
        let register = snapshot.general.get(usize::from(number));
        register.copied().unwrap_or_default()
    };
    Registers {
        pc: snapshot.pc,
        stack_pointer: general(A::STACK_POINTER),
        frame_pointer: Slot::value(general(A::FRAME_POINTER)),
        base_register: Slot::value(general(A::BASE_REGISTER)),
        link_register: if A::LINK_REGISTER {
            general(A::RETURN_ADDRESS)
        } else {
            0
        },
        interrupted: Registers::LEAF,
        called_leaf: 0,
    }
}

struct SnapshotMemory<'a> {
    snapshot: &'a StackSnapshot,
    address_mask: AddressMask,
    /// Was something read that is not there?
    left: bool,
}

impl SnapshotMemory<'_> {
    /// What the thread has of Go at an address.
    fn of_go(&self, address: u64) -> Option<u64> {
        let go = &self.snapshot.go;
        for goroutine in [&go.user, &go.scheduler] {
            let distance = address.wrapping_sub(goroutine.address);
            let word = usize::try_from(distance / 8)
                .ok()
                .and_then(|index| goroutine.words.get(index));
            if goroutine.address != 0 && distance.is_multiple_of(8) && word.is_some() {
                return word.copied();
            }
        }
        let known = [
            (
                go.thread_pointer.wrapping_sub(GO_RUNNING_BELOW),
                go.running,
                go.running,
            ),
            (
                go.running.wrapping_add(GOROUTINE_MACHINE),
                go.machine,
                go.running,
            ),
            (go.machine, go.scheduler.address, go.scheduler.address),
            (
                go.machine.wrapping_add(go.user_offset),
                go.user.address,
                go.user_offset,
            ),
        ];
        let found = known
            .iter()
            .find(|(place, _, is_known)| *place == address && *is_known != 0);
        found.map(|(_, word, _)| *word)
    }
}

impl Memory for SnapshotMemory<'_> {
    fn address_mask(&self) -> AddressMask {
        self.address_mask
    }

    fn read_word(&mut self, address: u64) -> Option<u64> {
        let mut stacks = self.snapshot.stacks.iter();
        let word = stacks
            .find_map(|stack| stack.word(VirtualAddress(address)))
            .or_else(|| self.of_go(address));
        self.left |= word.is_none();
        word
    }

    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        self.snapshot.general.get(usize::from(number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::layout::snapshot::{GENERAL_REGISTERS, GoThread};
    use profiler_common::layout::{GoRuntime, ThreadLocal};
    use profiler_common::unwind::{CfaKind, Rule, SavedKind, StackSwitch, X86_64};

    use super::*;
    use crate::profile::{BootTime, StackBytes};
    use crate::unwind::walk::Lookup;

    /// Each function has pushed as many bytes as its rule says, below a return address.
    struct Functions;

    fn pushed(bytes: i32) -> Lookup {
        Lookup::Rule(Rule {
            cfa_register: X86_64::STACK_POINTER,
            cfa_offset: bytes,
            return_address: SavedKind::AtCfa as u8,
            return_address_offset: -8,
            ..Rule::of(CfaKind::Register)
        })
    }

    impl Code for Functions {
        fn lookup(&self, address: u64) -> Lookup {
            match address >> 12 {
                1 => pushed(16),
                2 => pushed(32),
                3 => Lookup::Rule(Rule::END_OF_STACK),
                _ => Lookup::TablePending,
            }
        }
    }

    fn snapshot(words: &[u64]) -> StackSnapshot {
        let mut general = [0; GENERAL_REGISTERS];
        general[usize::from(X86_64::STACK_POINTER)] = 0x7000;
        StackSnapshot {
            time: BootTime(1),
            tid: 1,
            pc: 0x1010,
            general,
            goroutine: Goroutine::default(),
            go: GoThread::default(),
            stacks: vec![stack(0x7000, words)],
        }
    }

    fn stack(start: u64, words: &[u64]) -> StackBytes {
        StackBytes {
            start: VirtualAddress(start),
            bytes: words.iter().flat_map(|word| word.to_ne_bytes()).collect(),
        }
    }

    fn walk(words: &[u64]) -> (Vec<u64>, Outcome) {
        let mask = AddressMask::from_bits(u64::MAX);
        let walked = walk_snapshot::<X86_64, _>(&snapshot(words), &Functions, None, mask);
        let pcs = walked.frames.iter().map(|frame| frame.pc()).collect();
        (pcs, walked.outcome)
    }

    #[test]
    fn a_stack_is_walked_to_its_root() {
        let words = [0, 0x2010, 0, 0, 0, 0x3010];
        assert_eq!(walk(&words), (vec![0x1010, 0x2010, 0x3010], Outcome::Root));
    }

    #[test]
    fn a_stack_that_leaves_the_snapshot_says_so() {
        let words = [0, 0x2010, 0, 0, 0];
        assert_eq!(walk(&words), (vec![0x1010, 0x2010], Outcome::TablePending));
        assert_eq!(walk(&[]), (vec![0x1010], Outcome::TablePending));
    }

    const MACHINE: u64 = 0x9000;
    const SCHEDULER: u64 = 0xa000;
    const USER: u64 = 0xb000;
    const THREAD: u64 = 0xc000;
    /// The user goroutine's stack, and where it was left.
    const STACK: std::ops::Range<u64> = 0x5000..0x6000;
    const LEFT: u64 = 0x5fe0;

    /// What Go has in a thread on its scheduler's stack, where a function of the third kind begins it.
    fn on_scheduler_stack() -> StackSnapshot {
        let mut snapshot = snapshot(&[0, 0x4010]);
        snapshot.stacks.push(stack(LEFT, &[0, 0x1010, 0, 0x3010]));
        let go = &mut snapshot.go;
        go.thread_pointer = THREAD;
        go.machine = MACHINE;
        go.scheduler.address = SCHEDULER;
        go.scheduler.words[6] = MACHINE;
        go.user.address = USER;
        (go.user.words[0], go.user.words[1]) = (STACK.start, STACK.end);
        go.user.words[6] = MACHINE;
        go.user.words[7] = LEFT;
        snapshot
    }

    fn of_go() -> RuntimeEntry {
        RuntimeEntry {
            go: GoRuntime {
                g: ThreadLocal {
                    kind: ThreadLocal::STATIC,
                    offset: -8,
                    ..ThreadLocal::default()
                },
                g_m: 48,
                g_stack_hi: 8,
                g_sched_sp: 56,
                m_curg: 184,
                ..GoRuntime::default()
            },
            ..RuntimeEntry::default()
        }
    }

    /// As `Functions`, with `systemstack` at 0x4000.
    struct Go;

    impl Code for Go {
        fn lookup(&self, address: u64) -> Lookup {
            match (address >> 12, Functions.lookup(address)) {
                (4, _) => match pushed(16) {
                    Lookup::Rule(rule) => Lookup::Rule(Rule {
                        switch: StackSwitch::SystemStack as u16,
                        ..rule
                    }),
                    other => other,
                },
                (_, other) => other,
            }
        }
    }

    fn walk_go(snapshot: &StackSnapshot) -> (Vec<u64>, Outcome) {
        let mask = AddressMask::from_bits(u64::MAX);
        let walked = walk_snapshot::<X86_64, _>(snapshot, &Go, Some(&of_go()), mask);
        let pcs = walked.frames.iter().map(|frame| frame.pc()).collect();
        (pcs, walked.outcome)
    }

    const WHOLE: [u64; 4] = [0x1010, 0x4010, 0x1010, 0x3010];

    #[test]
    fn the_user_goroutine_s_stack_is_walked_after_the_scheduler_s() {
        let mut snapshot = on_scheduler_stack();
        snapshot.goroutine = Goroutine {
            machine: MACHINE,
            user: USER,
            inconsistent: 0,
        };
        assert_eq!(walk_go(&snapshot), (WHOLE.to_vec(), Outcome::Root));
        snapshot.stacks.pop();
        assert_eq!(
            walk_go(&snapshot),
            (WHOLE[..2].to_vec(), Outcome::TablePending)
        );
        snapshot.go = GoThread::default();
        assert_eq!(
            walk_go(&snapshot),
            (WHOLE[..2].to_vec(), Outcome::TablePending)
        );
    }

    #[test]
    fn a_goroutine_that_nobody_knew_of_then_is_found_where_it_was_noted() {
        let mut snapshot = on_scheduler_stack();
        snapshot.go.running = SCHEDULER;
        snapshot.go.user_offset = 184;
        assert_eq!(walk_go(&snapshot), (WHOLE.to_vec(), Outcome::Root));
        // Found where this version of Go does not have it.
        snapshot.go.user_offset = 192;
        assert_eq!(
            walk_go(&snapshot),
            (WHOLE[..2].to_vec(), Outcome::TablePending)
        );
    }
}

//! A walk over the top of a stack that a sample brought along: by the step and the rows of the kernel side, once the
//! tables are there that it lacked.

use profiler_common::layout::RuntimeEntry;
use profiler_common::unwind::{
    AddressMask, Architecture, Goroutine, Memory, Outcome, Registers, Slot,
};

use super::walk::{Code, Walked, walk_goroutine};
use crate::profile::StackSnapshot;

/// The machine that the agent runs on.
#[cfg(target_arch = "aarch64")]
pub type Machine = profiler_common::unwind::Aarch64;
/// The machine that the agent runs on.
#[cfg(not(target_arch = "aarch64"))]
pub type Machine = profiler_common::unwind::X86_64;

/// Walks from where the thread was interrupted to the root, or as far as the snapshot goes. `entry` is what is known
/// of the process's runtime. A stack that leaves the snapshot ends in `TablePending`, and so does one that needs the
/// goroutine, of which nothing was known either: with the table in time, it would have been walked where all of it is.
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
    };
    let registers = registers::<A>(snapshot);
    let mut walked =
        walk_goroutine::<A, C, _>(registers, code, entry, snapshot.goroutine, &mut memory);
    let unknown = snapshot.goroutine == Goroutine::default();
    if walked.outcome == Outcome::MemoryUnreadable
        || walked.outcome == Outcome::GoroutineUnknown && unknown
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
}

impl Memory for SnapshotMemory<'_> {
    fn address_mask(&self) -> AddressMask {
        self.address_mask
    }

    fn read_word(&mut self, address: u64) -> Option<u64> {
        let from = usize::try_from(address.checked_sub(self.snapshot.start.0)?).ok()?;
        let word = self.snapshot.stack.get(from..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*word))
    }

    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        self.snapshot.general.get(usize::from(number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::layout::snapshot::GENERAL_REGISTERS;
    use profiler_common::unwind::{CfaKind, Rule, SavedKind, X86_64};

    use super::*;
    use crate::profile::{BootTime, VirtualAddress};
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
            start: VirtualAddress(0x7000),
            stack: words.iter().flat_map(|word| word.to_ne_bytes()).collect(),
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
}

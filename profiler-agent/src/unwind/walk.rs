//! A whole stack on the host, by the policy of the kernel side:
//!
//! | where the pc is | step | outcome when that leads nowhere |
//! |---|---|---|
//! | in no mapping of a file | frame pointer | `UnknownCode` |
//! | in a file whose table is not there | frame pointer | `TablePending` |
//! | where the table has no rule | frame pointer | `NoRule` |
//! | elsewhere | where the rule's switch leads, then the rule | as they say |
//!
//! On the kernel side a return probe's trampoline, which is in no mapping of a file, leads to the address that the kernel keeps.
//!
//! Code without a rule need not keep a frame pointer: what following it leads to is a frame only where it lies in a mapping
//! of a file.
//!
//! An interrupted pc is looked up as it is, a return address at the byte before. A signal trampoline was not called: its
//! address is told as it is (`Rule::is_trampoline`).

use std::ops::Range;
use std::sync::Arc;

use profiler_common::layout::{RawFrame, RuntimeEntry, sample::MAX_USER_FRAMES};
use profiler_common::unwind::table::rule_index;
use profiler_common::unwind::{
    Architecture, CfaKind, Goroutine, Memory, Outcome, Registers, Rule, Stacks, Step, cross,
    frame_pointer_step, step,
};

use crate::profile::UnwindTable;

/// What is known about the code at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It lies in no mapping of a file.
    UnknownCode,
    /// It lies in a file whose table is not there.
    TablePending,
    /// Its rule; `Rule::NONE` where the table has none.
    Rule(Rule),
    /// Its table is inconsistent.
    TableCorrupt,
}

/// Finds rules by address.
pub trait Code {
    /// What is known about the code at `address`.
    fn lookup(&self, address: u64) -> Lookup;
}

/// A walked stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The frames, leaf first; at most `MAX_USER_FRAMES`.
    pub frames: Vec<RawFrame>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Walks from `registers` to the root, or as far as it goes, in a process without Go.
pub fn walk<A: Architecture, C: Code + ?Sized, M: Memory>(
    registers: Registers,
    code: &C,
    memory: &mut M,
) -> Walked {
    walk_goroutine::<A, C, M>(registers, code, None, Goroutine::default(), memory)
}

/// Walks from `registers` to the root, or as far as it goes, in a thread that runs `goroutine` of the
/// runtime `entry`.
pub fn walk_goroutine<A: Architecture, C: Code + ?Sized, M: Memory>(
    mut registers: Registers,
    code: &C,
    entry: Option<&RuntimeEntry>,
    goroutine: Goroutine,
    memory: &mut M,
) -> Walked {
    let mut stacks = Stacks::of(goroutine);
    let mut frames = Vec::new();
    let mut found_by = 0;
    let mut replaced = 0;
    let mut guessed = false;
    loop {
        let called = registers.interrupted == Registers::CALLED;
        let interrupted = if called { 0 } else { RawFrame::INTERRUPTED };
        if frames.len() + replaced == MAX_USER_FRAMES {
            return Walked {
                frames,
                outcome: Outcome::Truncated,
            };
        }
        frames.push(RawFrame::new(registers.pc, interrupted | found_by));
        let address = registers.pc.wrapping_sub(u64::from(called));
        let found = code.lookup(address);
        if let (Lookup::Rule(rule), Some(frame)) = (&found, frames.last_mut())
            && rule.is_trampoline()
        {
            *frame = RawFrame(frame.0 | RawFrame::INTERRUPTED);
        }
        let otherwise = match found {
            Lookup::UnknownCode if guessed => {
                frames.pop();
                return Walked {
                    frames,
                    outcome: Outcome::NoRule,
                };
            }
            Lookup::UnknownCode => Outcome::UnknownCode,
            Lookup::TablePending => Outcome::TablePending,
            Lookup::Rule(rule) if rule.cfa == CfaKind::None as u8 => Outcome::NoRule,
            Lookup::Rule(rule) => {
                found_by = 0;
                guessed = false;
                let crossed = cross::<A, M>(&mut registers, &rule, &mut stacks, entry, memory);
                match crossed.unwrap_or_else(|| step::<A, M>(&mut registers, &rule, memory)) {
                    Step::Caller => continue,
                    Step::Replaced => {
                        frames.pop();
                        replaced += 1;
                        continue;
                    }
                    Step::End(outcome) => return Walked { frames, outcome },
                }
            }
            Lookup::TableCorrupt => {
                return Walked {
                    frames,
                    outcome: Outcome::TableCorrupt,
                };
            }
        };
        found_by = RawFrame::BY_FRAME_POINTER;
        guessed = otherwise == Outcome::NoRule;
        match frame_pointer_step::<A, M>(&mut registers, otherwise, memory) {
            Step::Caller | Step::Replaced => {}
            Step::End(outcome) => return Walked { frames, outcome },
        }
    }
}

/// A mapping of a file's code.
#[derive(Clone, Debug)]
pub struct MappedTable {
    /// Its addresses.
    pub range: Range<u64>,
    /// What [`bias`](super::bias) says.
    pub bias: u64,
    /// The file's table.
    pub table: Option<Arc<UnwindTable>>,
}

/// The mappings of a process.
#[derive(Clone, Debug, Default)]
pub struct AddressSpace {
    mappings: Vec<MappedTable>,
}

impl AddressSpace {
    /// An address space of `mappings`, which do not overlap.
    #[must_use]
    pub fn new(mut mappings: Vec<MappedTable>) -> Self {
        mappings.sort_by_key(|mapping| mapping.range.start);
        Self { mappings }
    }
}

impl Code for AddressSpace {
    fn lookup(&self, address: u64) -> Lookup {
        let behind = self
            .mappings
            .partition_point(|mapping| mapping.range.start <= address);
        let mapping = behind
            .checked_sub(1)
            .and_then(|index| self.mappings.get(index))
            .filter(|mapping| mapping.range.contains(&address));
        let Some(mapping) = mapping else {
            return Lookup::UnknownCode;
        };
        let Some(table) = &mapping.table else {
            return Lookup::TablePending;
        };
        let offset = address.wrapping_add(mapping.bias);
        rule_index(table.words.as_slice(), table.buckets, offset)
            .and_then(|index| table.rules.get(usize::from(index)))
            .map_or(Lookup::TableCorrupt, |rule| Lookup::Rule(*rule))
    }
}

//! The paths through a function, whatever its instructions.

use std::collections::BTreeMap;

use super::frame::Frame;
use crate::unwind::elf::Machine;
use crate::unwind::supplement::Supplement;

/// Times that an instruction is looked at, on average: what is known there only becomes less, in a few steps.
pub(super) const VISITS_PER_BYTE: usize = 8;

/// What following found.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Rules in ascending order; `None` when it is no function as compilers make them.
    pub(super) rows: Option<Vec<Supplement>>,
    /// Addresses elsewhere that it jumps to with a frame in place.
    pub(super) entered: Vec<u64>,
}

/// The paths through one function.
pub(super) struct Paths {
    machine: Machine,
    /// What is known before each instruction, and its length.
    known: BTreeMap<u64, (Frame, u32)>,
    open: Vec<(u64, Frame)>,
    start: u64,
    end: u64,
}

impl Paths {
    /// The one path into the function `code` at `address`.
    pub(super) fn new(machine: Machine, code: &[u8], address: u64) -> Self {
        Self {
            machine,
            known: BTreeMap::new(),
            open: vec![(address, Frame::entered(machine))],
            end: address.saturating_add(code.len() as u64),
            start: address,
        }
    }

    /// A path that was not followed yet.
    pub(super) fn next(&mut self) -> Option<(u64, Frame)> {
        self.open.pop()
    }

    /// Notes what is known before the instruction at `address`.
    pub(super) fn know(&mut self, address: u64, frame: Frame, length: u32) {
        self.known.insert(address, (frame, length));
    }

    /// Goes on at `address`, if it lies in the function.
    pub(super) fn open(&mut self, address: u64, frame: Frame) -> bool {
        let inside = (self.start..self.end).contains(&address);
        if inside {
            self.open.push((address, frame));
        }
        inside
    }

    /// What is known at `address` with another path to it; `None` when that is nothing new.
    pub(super) fn arrive(&self, address: u64, frame: Frame) -> Option<Frame> {
        match self.known.get(&address) {
            None => Some(frame),
            Some((known, _)) => {
                let joined = known.join(frame);
                (joined != *known).then_some(joined)
            }
        }
    }

    /// Rules in ascending order.
    pub(super) fn rows(&self) -> Vec<Supplement> {
        let mut rows: Vec<Supplement> = Vec::new();
        let mut end = 0;
        for (address, (frame, length)) in &self.known {
            // Within an instruction that another path skips into: bytes with two readings.
            if *address < end {
                continue;
            }
            let rule = frame.rule(self.machine);
            match rows.last_mut() {
                Some(last) if last.rule == rule && end == *address => last.length += length,
                _ => rows.push(Supplement {
                    address: *address,
                    length: *length,
                    rule,
                }),
            }
            end = address + u64::from(*length);
        }
        rows
    }
}

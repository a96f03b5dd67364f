//! The paths through a function, whatever its instructions.

use std::collections::{BTreeMap, BTreeSet};

use profiler_common::unwind::Rule;

use super::frame::Frame;
use super::jump_table::Read;
use crate::unwind::elf::Machine;
use crate::unwind::supplement::Supplement;

/// What is known beside a function's own code.
pub(super) struct Surroundings<'a> {
    /// The file's bytes by address.
    pub(super) read: &'a Read<'a>,
    /// Does the function at this address return? `None` where nobody knows.
    pub(super) returns: &'a dyn Fn(u64) -> Option<bool>,
    /// Is it known where the function ends?
    pub(super) is_bounded: bool,
}

/// Times that an instruction is looked at, on average: what is known there only becomes less, in a few steps.
pub(super) const VISITS_PER_BYTE: usize = 8;

/// What following found.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Rules in ascending order; `None` when it is no function as compilers make them.
    pub(super) rows: Option<Vec<Supplement>>,
    /// Addresses elsewhere that it goes on at with a frame in place, and the rule of that frame.
    pub(super) entered: Vec<(u64, Rule)>,
    /// Addresses that it calls.
    pub(super) called: Vec<u64>,
    /// Addresses elsewhere that it jumps to as it was entered itself.
    pub(super) left_to: Vec<u64>,
    /// Addresses that it takes.
    pub(super) taken: Vec<u64>,
    /// Does it return as it was entered?
    pub(super) returns: bool,
    /// May it go on where nothing was followed: by a register, or behind its end?
    pub(super) leaves: bool,
}

impl Followed {
    /// What is known where too much was looked at.
    pub(super) fn given_up(self) -> Self {
        Self {
            rows: None,
            leaves: true,
            ..self
        }
    }
}

/// From an instruction to the next one.
#[derive(Clone, Copy)]
struct Step {
    from: u64,
    to: u64,
    frame: Frame,
}

/// The paths through one function.
pub(super) struct Paths {
    machine: Machine,
    /// What is known before each instruction, and its length.
    known: BTreeMap<u64, (Frame, u32)>,
    open: Vec<Step>,
    /// What is followed once everything else was: behind a call of what may never return another function may begin.
    doubtful: Vec<Step>,
    /// What is reached without doubt.
    certain: BTreeSet<u64>,
    start: u64,
    end: u64,
    /// Is it known where the function ends?
    is_bounded: bool,
    /// From where to where it goes on.
    steps: Vec<(u64, u64)>,
    /// From where each instruction was reached first.
    reached: BTreeMap<u64, u64>,
    /// Where it ends as a function does.
    exits: Vec<u64>,
    /// Where it does what no compiled function does.
    contradictions: Vec<u64>,
    /// Where it goes on elsewhere with a frame in place, and there.
    entered: Vec<(u64, u64, Rule)>,
}

impl Paths {
    /// The one path into the function `code` at `address`.
    pub(super) fn new(machine: Machine, code: &[u8], address: u64, is_bounded: bool) -> Self {
        Self {
            machine,
            known: BTreeMap::new(),
            open: vec![Step {
                from: address,
                to: address,
                frame: Frame::entered(machine),
            }],
            doubtful: Vec::new(),
            certain: BTreeSet::from([address]),
            start: address,
            end: address.saturating_add(code.len() as u64),
            is_bounded,
            steps: Vec::new(),
            reached: BTreeMap::new(),
            exits: Vec::new(),
            contradictions: Vec::new(),
            entered: Vec::new(),
        }
    }

    /// What is to be looked at, for the first time or again: an address, and what is known there.
    pub(super) fn next(&mut self) -> Option<(u64, Frame)> {
        loop {
            let (step, is_sure) = match self.open.pop() {
                Some(step) => (step, self.certain.contains(&step.from)),
                None => (self.doubtful.pop()?, false),
            };
            let Step { from, to, frame } = step;
            self.reached.entry(to).or_insert(from);
            let known = self.known.get(&to).map(|(known, _)| *known);
            let joined = known.map_or(frame, |known| known.join(frame));
            if self.is_bounded {
                if known != Some(joined) {
                    return Some((to, joined));
                }
                continue;
            }
            if let Some(known) = known
                && joined.depth != known.depth
                && (!is_sure || known.depth.is_some() && frame.depth.is_some())
            {
                self.contradict(from);
                continue;
            }
            self.steps.push((from, to));
            let surer = is_sure && self.certain.insert(to);
            if known != Some(joined) || surer {
                return Some((to, joined));
            }
        }
    }

    /// Goes on from `from` at `address`, if that lies in the function.
    pub(super) fn open(&mut self, from: u64, address: u64, frame: Frame) -> bool {
        self.go_on(from, address, frame, true)
    }

    /// Goes on from `from` at `address`, if that lies in the function; is it certain that it does?
    pub(super) fn go_on(&mut self, from: u64, address: u64, frame: Frame, is_sure: bool) -> bool {
        let inside = self.is_inside(address);
        let step = Step {
            from,
            to: address,
            frame,
        };
        if inside && (is_sure || self.is_bounded) {
            self.open.push(step);
        } else if inside {
            self.doubtful.push(step);
        }
        inside
    }

    /// Does `address` lie in the function?
    pub(super) fn is_inside(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Notes what is known before the instruction at `address`.
    pub(super) fn know(&mut self, address: u64, frame: Frame, length: u32) {
        self.known.insert(address, (frame, length));
    }

    /// It ends at `from` as a function does.
    pub(super) fn exit(&mut self, from: u64) {
        self.exits.push(from);
    }

    /// No compiled function does what is done at `from`.
    pub(super) fn contradict(&mut self, from: u64) {
        self.contradictions.push(from);
    }

    /// It goes on at `target` elsewhere, with `frame` in place.
    pub(super) fn enter(&mut self, from: u64, target: u64, frame: &Frame) {
        self.entered.push((from, target, frame.rule(self.machine)));
    }

    /// Addresses of the instructions that lie one behind the other up to `address`, the last one first.
    pub(super) fn before(&self, address: u64) -> impl Iterator<Item = u64> + '_ {
        let mut end = address;
        let known = self.known.range(..address).rev();
        known.map_while(move |(at, (_, length))| {
            let follows = at.saturating_add(u64::from(*length)) == end;
            end = *at;
            follows.then_some(*at)
        })
    }

    /// Addresses of the instructions on one way to `address`, the last one first.
    pub(super) fn way_to(&self, address: u64) -> impl Iterator<Item = u64> + '_ {
        let before = |at: &u64| self.reached.get(at).copied().filter(|_| *at != self.start);
        std::iter::successors(before(&address), move |at| before(at))
    }

    /// What the paths tell, once all were followed. Where nobody knows where the function ends, what is only reached behind
    /// calls that may never return counts where it leads to an exit: in another function none would be one.
    pub(super) fn finish(&self, followed: &mut Followed) {
        let is_whole = |at: &u64| self.is_bounded || self.certain.contains(at);
        if self.contradictions.iter().any(is_whole) {
            return;
        }
        let leading = self.leading_out();
        let counts = |at: &u64| is_whole(at) || leading.contains(at);
        followed.rows = Some(self.rows(&counts));
        let entered = self.entered.iter().filter(|(from, ..)| counts(from));
        followed.entered = entered.map(|(_, target, rule)| (*target, *rule)).collect();
    }

    /// Addresses of the instructions that lead to an exit.
    fn leading_out(&self) -> BTreeSet<u64> {
        let mut before: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (from, to) in &self.steps {
            before.entry(*to).or_default().push(*from);
        }
        let mut leading = BTreeSet::new();
        let mut open = self.exits.clone();
        while let Some(at) = open.pop() {
            if leading.insert(at) {
                open.extend(before.get(&at).into_iter().flatten());
            }
        }
        leading
    }

    /// Rules of the instructions that count, in ascending order.
    fn rows(&self, counts: &dyn Fn(&u64) -> bool) -> Vec<Supplement> {
        let mut rows: Vec<Supplement> = Vec::new();
        let mut end = 0;
        for (address, (frame, length)) in &self.known {
            // Within an instruction that another path skips into: bytes with two readings.
            if *address < end || !counts(address) {
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
            end = address.saturating_add(u64::from(*length));
        }
        rows
    }
}

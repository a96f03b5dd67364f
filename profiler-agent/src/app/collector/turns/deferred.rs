//! Samples whose stacks wait for unwind tables.
//!
//! Where the kernel side lacks a table, a sample brings along the top of its stack. It is walked here, by the rows that
//! the kernel side has by then: at once if what lacked was only known late, else when the table that it
//! needs is there. A sample that has waited for too long keeps the stack that the kernel side walked.

use std::cell::Cell;
use std::sync::Arc;

use profiler_common::layout::{Frame, SampleFlags};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::PAGE_BITS;

use super::Running;
use crate::collect::publish::{Publisher, RuleNumber};
use crate::process::{MappingSet, frames_of};
use crate::profile::{
    BootTime, ElfAddress, Executable, LocatedSample, MappingKind, RawSample, StackSnapshot,
    VirtualAddress, mapping_bias,
};
use crate::unwind::snapshot::{Machine, walk_snapshot};
use crate::unwind::walk::{Code, Lookup, Walked};

/// Pages that are asked for at once because the words of one stack point to them.
const MAX_GUESSES: u32 = 128;

/// The samples that wait.
pub(super) struct Deferred {
    waiting: Vec<Waiting>,
    bytes: usize,
    /// Bytes of stacks that may wait.
    most: usize,
}

/// A sample that waits.
struct Waiting {
    raw: RawSample,
    snapshot: Box<StackSnapshot>,
    /// What it is with the stack that the kernel side walked.
    located: LocatedSample,
    mappings: Arc<MappingSet>,
    missing: Missing,
}

/// Code whose table is not loaded.
#[derive(Clone)]
struct Missing {
    executable: Arc<Executable>,
    address: ElfAddress,
}

impl Waiting {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.snapshot.stack_bytes() + 8 * self.raw.user.len()
    }
}

/// A sample with the stack that was walked here.
fn finished(
    mut raw: RawSample,
    mut located: LocatedSample,
    mappings: &MappingSet,
    walked: Walked,
) -> LocatedSample {
    raw.user = walked.frames;
    raw.outcome = walked.outcome;
    raw.flags = SampleFlags(raw.flags.0 & !SampleFlags::TABLE_PENDING);
    located.outcome = raw.outcome;
    located.flags = raw.flags;
    located.frames = frames_of(&raw, mappings, located.process.key);
    located
}

impl Deferred {
    /// For stacks of so many bytes at a time.
    pub(super) const fn of(most: usize) -> Self {
        Self {
            waiting: Vec::new(),
            bytes: 0,
            most,
        }
    }

    /// Does none wait?
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Running {
    /// Adds a sample that was located to the window; one that brought its stack along when that is walked.
    pub(super) fn add(&mut self, mut raw: RawSample, located: LocatedSample) {
        let Some(snapshot) = raw.snapshot.take() else {
            if raw.flags.has(SampleFlags::TABLE_PENDING) {
                self.need_frames(&raw);
            }
            return self.add_finished(located);
        };
        let Some(mappings) = self.processes.mappings_at(raw.pid, raw.time) else {
            return self.add_finished(located);
        };
        match self.walk(&snapshot, &mappings, raw.time) {
            Ok(walked) => self.add_finished(finished(raw, located, &mappings, walked)),
            Err(missing) => {
                self.need_stack(&snapshot, &mappings);
                self.defer(Waiting {
                    raw,
                    snapshot,
                    located,
                    mappings,
                    missing,
                });
            }
        }
    }

    /// Asks for the pages that a stack was found to go through without its bytes.
    fn need_frames(&mut self, raw: &RawSample) {
        let Some(mappings) = self.processes.mappings_at(raw.pid, raw.time) else {
            return;
        };
        for frame in raw.user_frames() {
            if let Frame::Code(frame) = frame {
                self.need_address(frame.pc(), &mappings, raw.time);
            }
        }
    }

    /// Asks for the pages that the words of a stack point to: most are return addresses, and so what its walk needs next is
    /// there when it goes on.
    fn need_stack(&mut self, snapshot: &StackSnapshot, mappings: &MappingSet) {
        let mut last = None;
        let mut asked = 0;
        for word in snapshot.words() {
            if last == Some(word >> PAGE_BITS) || word >> PAGE_BITS == 0 {
                continue;
            }
            if self.need_address(word, mappings, snapshot.time) {
                last = Some(word >> PAGE_BITS);
                asked += 1;
                if asked == MAX_GUESSES {
                    return;
                }
            }
        }
    }

    /// Asks for the table of the code at an address, if that is of a file and not loaded.
    fn need_address(&mut self, address: u64, mappings: &MappingSet, time: BootTime) -> bool {
        let publisher = &self.kernel.publisher;
        let Some((executable, own)) = file_at(mappings, address, time) else {
            return false;
        };
        let loaded = publisher.rule_number(executable.id, own);
        if matches!(loaded, RuleNumber::NoTable | RuleNumber::NoPage(_)) {
            return self.demand.need(executable, own, publisher);
        }
        false
    }

    /// Keeps a sample until the table that it needs is there, if there is room for it.
    fn defer(&mut self, waiting: Waiting) {
        let bytes = waiting.bytes();
        if self.deferred.bytes + bytes <= self.deferred.most && self.needs(&waiting.missing) {
            self.deferred.bytes += bytes;
            self.deferred.waiting.push(waiting);
        } else {
            self.add_finished(waiting.located);
        }
    }

    fn needs(&mut self, missing: &Missing) -> bool {
        let publisher = &self.kernel.publisher;
        self.demand
            .need(&missing.executable, missing.address, publisher)
    }

    /// Walks the stacks again whose tables are there now, or will not come.
    pub(super) fn resume(&mut self) {
        let waiting = std::mem::take(&mut self.deferred.waiting);
        self.deferred.bytes = 0;
        for mut sample in waiting {
            if self
                .demand
                .is_asked(sample.missing.executable.id, sample.missing.address)
            {
                self.deferred.bytes += sample.bytes();
                self.deferred.waiting.push(sample);
                continue;
            }
            let time = sample.raw.time;
            match self.walk(&sample.snapshot, &sample.mappings, time) {
                Ok(walked) => {
                    let Waiting {
                        raw,
                        located,
                        mappings,
                        ..
                    } = sample;
                    self.add_finished(finished(raw, located, &mappings, walked));
                }
                Err(missing) => {
                    sample.missing = missing;
                    self.defer(sample);
                }
            }
        }
        self.kernel.publisher.rest();
    }

    /// Adds the samples that wait with the stacks that the kernel side walked.
    pub(super) fn give_up(&mut self) {
        self.deferred.bytes = 0;
        for waiting in std::mem::take(&mut self.deferred.waiting) {
            self.add_finished(waiting.located);
        }
    }

    /// Walks a stack by the tables that are loaded.
    ///
    /// # Errors
    /// The first code without one.
    fn walk(
        &self,
        snapshot: &StackSnapshot,
        mappings: &MappingSet,
        time: BootTime,
    ) -> Result<Walked, Missing> {
        let publisher = &self.kernel.publisher;
        let code = LoadedCode {
            mappings,
            time,
            publisher,
            rules: self.demand.rules(),
            missing: Cell::new(None),
        };
        let runtime = self.runtimes.go_of(mappings.current());
        let mask = self.kernel.address_mask();
        let walked = walk_snapshot::<Machine, _>(snapshot, &code, runtime.as_ref(), mask);
        code.missing.into_inner().map_or(Ok(walked), Err)
    }
}

/// The file that is mapped at an address, and the address as the file states it.
fn file_at(
    mappings: &MappingSet,
    address: u64,
    time: BootTime,
) -> Option<(&Arc<Executable>, ElfAddress)> {
    let mapping = mappings.at(VirtualAddress(address), time)?;
    let MappingKind::File { executable, offset } = &mapping.kind else {
        return None;
    };
    let bias = mapping_bias(&executable.segments, &mapping.range, *offset)?;
    Some((executable, ElfAddress(address.wrapping_add(bias))))
}

/// What a process mapped at a time, and the tables that are loaded now.
struct LoadedCode<'a> {
    mappings: &'a MappingSet,
    time: BootTime,
    publisher: &'a Publisher,
    rules: &'a [Rule],
    /// The first code that was looked up and has no table.
    missing: Cell<Option<Missing>>,
}

impl Code for LoadedCode<'_> {
    fn lookup(&self, address: u64) -> Lookup {
        let Some((executable, own)) = file_at(self.mappings, address, self.time) else {
            return Lookup::UnknownCode;
        };
        match self.publisher.rule_number(executable.id, own) {
            RuleNumber::NoTable | RuleNumber::NoPage(_) => {
                let first = self.missing.take();
                self.missing.set(first.or_else(|| {
                    Some(Missing {
                        executable: Arc::clone(executable),
                        address: own,
                    })
                }));
                Lookup::TablePending
            }
            RuleNumber::Is(number) => {
                let rule = self.rules.get(usize::from(number));
                rule.map_or(Lookup::TableCorrupt, |rule| Lookup::Rule(*rule))
            }
            RuleNumber::Corrupt => Lookup::TableCorrupt,
        }
    }
}

//! Samples of which a label's text is still being read.

use std::sync::Arc;

use super::Running;
use crate::process::MappingSet;
use crate::profile::{
    BootTime, Executable, FileOffset, LocatedSample, RawContext, RawSample, UnreadText,
};

/// The samples that wait.
pub(super) struct Unlabelled {
    waiting: Vec<Waiting>,
    bytes: usize,
    /// Bytes of samples that may wait, with the stacks that they brought along.
    most: usize,
}

/// A sample that waits.
struct Waiting {
    raw: RawSample,
    context: RawContext,
    located: LocatedSample,
    mappings: Arc<MappingSet>,
}

/// Where a text is a constant of a file, by what is mapped at a time.
fn constant<'a>(
    mappings: &'a MappingSet,
    time: BootTime,
) -> impl Fn(&UnreadText) -> Option<(&'a Arc<Executable>, FileOffset)> {
    move |text| mappings.constant_at(text.address, u64::from(text.length), time)
}

impl Waiting {
    fn bytes(&self) -> usize {
        let stack = self.raw.snapshot.as_ref();
        size_of::<Self>() + stack.map_or(0, |stack| stack.stack_bytes()) + 8 * self.raw.user.len()
    }
}

impl Unlabelled {
    /// For samples of so many bytes at a time.
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

    /// Keeps a sample if there is room; else gives it back.
    fn keep(&mut self, sample: Waiting) -> Option<Waiting> {
        let bytes = self.bytes + sample.bytes();
        if bytes > self.most {
            return Some(sample);
        }
        self.bytes = bytes;
        self.waiting.push(sample);
        None
    }

    /// All of them; none waits any more.
    fn take(&mut self) -> Vec<Waiting> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl Running {
    /// Adds a sample that was located once it has its labels.
    pub(super) fn label(&mut self, mut raw: RawSample, located: LocatedSample) {
        let Some(context) = raw.context.take() else {
            return self.add(raw, located);
        };
        let mut context = *context;
        if context.unread.is_empty() {
            return self.add_labelled(raw, context, located);
        }
        let mappings = self.processes.mappings_at(raw.pid, raw.time);
        match mappings {
            Some(mappings)
                if !self
                    .constants
                    .fill(&mut context, constant(&mappings, raw.time)) =>
            {
                self.wait_for_labels(Waiting {
                    raw,
                    context,
                    located,
                    mappings,
                });
            }
            _ => self.add_labelled(raw, context, located),
        }
    }

    /// Keeps a sample until its labels are read, if there is room for it.
    fn wait_for_labels(&mut self, sample: Waiting) {
        if let Some(sample) = self.unlabelled.keep(sample) {
            self.add_labelled(sample.raw, sample.context, sample.located);
        }
    }

    fn add_labelled(
        &mut self,
        raw: RawSample,
        mut context: RawContext,
        mut located: LocatedSample,
    ) {
        context.give_up_unread();
        located.context = self.correlator.context(&located.process, context);
        self.add(raw, located);
    }

    /// Takes the texts that were read, and goes on with the samples that have all of theirs now.
    pub(super) fn take_constants(&mut self) {
        if !self.constants.take() {
            return;
        }
        for mut sample in self.unlabelled.take() {
            let time = sample.raw.time;
            if self
                .constants
                .fill(&mut sample.context, constant(&sample.mappings, time))
            {
                self.add_labelled(sample.raw, sample.context, sample.located);
            } else {
                self.wait_for_labels(sample);
            }
        }
    }

    /// Adds the samples that wait without the labels that were not read.
    pub(super) fn give_up_labels(&mut self) {
        for sample in self.unlabelled.take() {
            self.add_labelled(sample.raw, sample.context, sample.located);
        }
    }
}

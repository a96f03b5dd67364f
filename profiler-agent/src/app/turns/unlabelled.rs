//! Samples of which a label's text is still being read.

use std::sync::Arc;

use super::Running;
use crate::process::MappingSet;
use crate::profile::{LocatedSample, RawContext, RawSample};

/// Samples that may wait.
const MAX_SAMPLES: usize = 4_096;

/// The samples that wait.
#[derive(Default)]
pub(super) struct Unlabelled(Vec<Waiting>);

/// A sample that waits.
struct Waiting {
    raw: RawSample,
    context: RawContext,
    located: LocatedSample,
    mappings: Arc<MappingSet>,
}

impl Unlabelled {
    /// Does none wait?
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Running {
    /// Adds a sample that was located once it has its labels.
    pub(super) fn label(&mut self, mut raw: RawSample, located: LocatedSample) {
        let Some(context) = raw.context.take() else {
            return self.add(raw, located);
        };
        let mut context = *context;
        if !context.unread.is_empty() {
            let mappings = self.processes.mappings_at(raw.pid, raw.time);
            if let Some(mappings) = mappings
                && !self.constants.fill(&mut context, &mappings, raw.time)
                && self.unlabelled.0.len() < MAX_SAMPLES
            {
                return self.unlabelled.0.push(Waiting {
                    raw,
                    context,
                    located,
                    mappings,
                });
            }
        }
        self.add_labelled(raw, context, located);
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
        for mut sample in std::mem::take(&mut self.unlabelled.0) {
            let time = sample.raw.time;
            if self
                .constants
                .fill(&mut sample.context, &sample.mappings, time)
            {
                self.add_labelled(sample.raw, sample.context, sample.located);
            } else {
                self.unlabelled.0.push(sample);
            }
        }
    }

    /// Adds the samples that wait without the labels that were not read.
    pub(super) fn give_up_labels(&mut self) {
        for sample in std::mem::take(&mut self.unlabelled.0) {
            self.add_labelled(sample.raw, sample.context, sample.located);
        }
    }
}

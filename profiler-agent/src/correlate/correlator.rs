//! The correlator.

use std::borrow::Cow;
use std::sync::Arc;

use super::ids::{self, Ids};
use super::keys::Keys;
use super::memory::{Degraded, Derived, Memory, Remembered};
use crate::profile::{
    Degradation, Label, LabelSet, Link, LinkSource, Losses, Process, RawContext, SampleContext,
};

/// What is kept of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Labels with these keys.
    pub keys: Keys,
    /// Distinct values per process image and key.
    pub max_values: usize,
    /// Goroutine ids too: they make a sample of every goroutine.
    pub goroutine_ids: bool,
}

impl Default for Config {
    /// All keys, 200 values, no goroutine ids.
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            max_values: 200,
            goroutine_ids: false,
        }
    }
}

/// Gives samples their contexts.
#[derive(Debug)]
pub struct Correlator {
    config: Config,
    memory: Memory,
    losses: Losses,
}

impl Correlator {
    /// A correlator that knows no process yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            memory: Memory::default(),
            losses: Losses::default(),
        }
    }

    /// The context of a sample of `process`; `None` where nothing is to be kept of it.
    pub fn context(
        &mut self,
        process: &Process,
        mut raw: RawContext,
    ) -> Option<Arc<SampleContext>> {
        if !self.config.goroutine_ids {
            raw.goroutine = None;
        }
        if raw == RawContext::default() {
            return None;
        }
        let config = &self.config;
        let (context, degraded) = self.memory.with(process.key, |remembered| {
            if let Some(known) = remembered.derived(&raw) {
                return (known.context.clone(), known.degraded);
            }
            let derived = derive(config, remembered, &raw);
            let result = (derived.context.clone(), derived.degraded);
            remembered.remember(raw, derived);
            result
        });
        if degraded != Degraded::default() {
            let Degraded {
                cut,
                values,
                malformed,
            } = degraded;
            self.losses.add(Degradation::LabelCut, cut.into());
            self.losses.add(Degradation::LabelValues, values.into());
            self.losses
                .add(Degradation::LinkMalformed, malformed.into());
        }
        context
    }

    /// What was lost since this was last asked.
    #[must_use]
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }

    /// Processes and bytes that are remembered.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        self.memory.size()
    }
}

fn derive(config: &Config, remembered: &mut Remembered, raw: &RawContext) -> Derived {
    let mut degraded = Degraded {
        cut: u32::from(raw.incomplete),
        ..Degraded::default()
    };
    let mut ids = Ids::default();
    let mut labels: Vec<Label> = Vec::with_capacity(raw.labels.len());
    for label in &raw.labels {
        if label.key.is_empty() || ids.take(&label.key, &label.value) {
            continue;
        }
        let key = text(&label.key, label.cut);
        let known = labels.iter().any(|other| *other.key == *key);
        if key.is_empty() || known || !config.keys.wants(&key) {
            continue;
        }
        degraded.cut += u32::from(label.cut);
        let value = text(&label.value, label.cut);
        let (label, kept) = match remembered.label(&key, &value, config.max_values) {
            Some((label, kept)) => (Some(label), kept),
            None => (None, false),
        };
        degraded.values += u32::from(!kept);
        labels.extend(label);
    }
    labels.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let link = link(raw, &ids, &mut degraded);
    degraded.malformed += ids.malformed;
    let context = SampleContext {
        labels: LabelSet {
            labels: labels.into(),
            goroutine: raw.goroutine,
        },
        link,
    };
    let says_something = context.link.is_some() || !context.labels.is_empty();
    Derived {
        context: says_something.then(|| Arc::new(context)),
        degraded,
    }
}

/// The link of the source that is believed first.
fn link(raw: &RawContext, ids: &Ids, degraded: &mut Degraded) -> Option<Link> {
    let of_labels = ids.link();
    let mut records: Vec<_> = raw.links.iter().collect();
    records.sort_by_key(|(source, _)| *source);
    for (source, bytes) in records {
        if *source > LinkSource::Labels && of_labels.is_some() {
            break;
        }
        match ids::of_record(bytes) {
            Some(link) => return Some(link),
            None => degraded.malformed += 1,
        }
    }
    of_labels
}

/// Bytes as text; a character that was cut in two at the end is left out.
fn text(bytes: &[u8], cut: bool) -> Cow<'_, str> {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if cut && error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    String::from_utf8_lossy(whole)
}

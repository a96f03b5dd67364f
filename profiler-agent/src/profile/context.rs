//! What samples know of the request that caused them: labels and a link to a trace.

use std::sync::Arc;

use super::VirtualAddress;

/// Index into `Window::contexts`; 0 is the empty context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextIndex(pub u32);

/// Index into `Profile::label_sets`; 0 is the empty set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSetIndex(pub u32);

/// The request that a sample belongs to; at least one of the ids is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// W3C trace id; all zero where only the span is known.
    pub trace_id: [u8; 16],
    /// Span id; all zero where only the trace is known.
    pub span_id: [u8; 8],
}

/// Where a link was found, the one that is believed first.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkSource {
    /// The OpenTelemetry thread context (OTEP 4947).
    ThreadContext = 1,
    /// Labels of the goroutine.
    Labels = 2,
    /// Elastic's correlation record.
    Elastic = 3,
    /// The map that OpenTelemetry's eBPF instrumentation pins.
    Instrumentation = 4,
}

/// A label of the code that was sampled. Untrusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Key.
    pub key: Arc<str>,
    /// Value.
    pub value: Arc<str>,
}

/// The labels of a sample: part of its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSet {
    /// Sorted by key, each key once.
    pub labels: Box<[Label]>,
    /// The goroutine's id, where it is asked for.
    pub goroutine: Option<u64>,
}

impl LabelSet {
    /// Is there nothing in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.goroutine.is_none()
    }
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.labels.binary_search_by(|label| (*label.key).cmp(key));
        found.ok().map(|index| &*self.labels[index].value)
    }
}

/// All that a sample knows of its request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleContext {
    /// Its labels.
    pub labels: LabelSet,
    /// The request's trace and span.
    pub link: Option<Link>,
}

/// A label as the kernel side read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawLabel {
    /// Key, any bytes, at most `profiler_common::layout::context::MAX_KEY`.
    pub key: Box<[u8]>,
    /// Value, any bytes, at most `profiler_common::layout::context::MAX_VALUE`.
    pub value: Box<[u8]>,
    /// Was one of them longer, and cut?
    pub cut: bool,
}

/// A part of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LabelPart {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

/// A text that the kernel side could not read: the page that it lies on is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnreadText {
    /// Index into `RawContext::labels`; the part is empty there.
    pub label: usize,
    /// Which part of the label it is.
    pub part: LabelPart,
    /// Where it begins.
    pub address: VirtualAddress,
    /// Bytes of it that are kept.
    pub length: u16,
}

/// What the kernel side read of a sample's request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RawContext {
    /// The goroutine's id.
    pub goroutine: Option<u64>,
    /// Labels of the goroutine, in the order in which they lie in memory.
    pub labels: Vec<RawLabel>,
    /// Trace and span ids (16 and 8 bytes), each with where it was found.
    pub links: Vec<(LinkSource, [u8; 24])>,
    /// Texts of labels that are still to be read.
    pub unread: Vec<UnreadText>,
    /// There were more labels than are read, or memory of one could not be read.
    pub incomplete: bool,
}

impl RawContext {
    /// Puts a text that was read later where it belongs.
    pub fn set(&mut self, text: UnreadText, bytes: &[u8]) {
        if let Some(label) = self.labels.get_mut(text.label) {
            match text.part {
                LabelPart::Key => label.key = bytes.into(),
                LabelPart::Value => label.value = bytes.into(),
            }
        }
    }

    /// Leaves out the labels that have texts that were never read.
    pub fn give_up_unread(&mut self) {
        let mut unread = std::mem::take(&mut self.unread);
        if unread.is_empty() {
            return;
        }
        self.incomplete = true;
        // From behind, so that indices stay right.
        unread.sort_unstable_by_key(|text| std::cmp::Reverse(text.label));
        unread.dedup_by_key(|text| text.label);
        for text in unread {
            if text.label < self.labels.len() {
                self.labels.remove(text.label);
            }
        }
    }
}

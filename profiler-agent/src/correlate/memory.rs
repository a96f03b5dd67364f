//! What is remembered of processes: contexts that were derived, and the values of their labels.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::profile::{Label, ProcessKey, RawContext, SampleContext};

/// What stands for a value beyond the distinct ones that are kept.
pub const OTHER: &str = "other";

/// Processes that are remembered.
pub(super) const MAX_PROCESSES: usize = 1024;
/// Bytes of all processes together.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// Bytes of derived contexts of one process; then they are derived anew.
const MAX_DERIVED_BYTES: usize = 256 << 10;
/// Bytes of keys and values of one process.
const MAX_VALUE_BYTES: usize = 1 << 20;
/// Distinct keys of one process.
pub(super) const MAX_KEYS: usize = 64;
/// What an entry of a table takes beside its texts.
const ENTRY_BYTES: usize = 64;

/// How much less a sample's context says than its program did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Degraded {
    /// Labels that were cut or left out by the kernel side.
    pub(super) cut: u32,
    /// Labels with too many distinct values.
    pub(super) values: u32,
    /// Ids that are none.
    pub(super) malformed: u32,
}

/// A context that was derived before.
#[derive(Clone, Debug)]
pub(super) struct Derived {
    pub(super) context: Option<Arc<SampleContext>>,
    pub(super) degraded: Degraded,
}

/// What is remembered of one process image.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    derived: HashMap<RawContext, Derived>,
    derived_bytes: usize,
    values: HashMap<Arc<str>, HashSet<Arc<str>>>,
    value_bytes: usize,
    used: u64,
}

impl Remembered {
    pub(super) fn derived(&self, raw: &RawContext) -> Option<&Derived> {
        self.derived.get(raw)
    }

    pub(super) fn remember(&mut self, raw: RawContext, derived: Derived) {
        if self.derived_bytes > MAX_DERIVED_BYTES {
            self.derived.clear();
            self.derived_bytes = 0;
        }
        let labels = raw.labels.iter();
        let texts: usize = labels
            .map(|label| ENTRY_BYTES + label.key.len() + label.value.len())
            .sum();
        self.derived_bytes += 2 * ENTRY_BYTES + texts;
        self.derived.insert(raw, derived);
    }

    /// The label as it is kept, and whether its value is. `None` where there are too many keys.
    pub(super) fn label(&mut self, key: &str, value: &str, most: usize) -> Option<(Label, bool)> {
        let known = self.values.get_key_value(key);
        if let Some((key, values)) = known
            && let Some(value) = values.get(value)
        {
            let label = Label {
                key: Arc::clone(key),
                value: Arc::clone(value),
            };
            return Some((label, true));
        }
        let key: Arc<str> = match known {
            Some((key, _)) => Arc::clone(key),
            None if self.values.len() < MAX_KEYS => key.into(),
            None => return None,
        };
        let bytes = self.value_bytes + ENTRY_BYTES + value.len();
        let values = self.values.entry(Arc::clone(&key)).or_default();
        let kept = values.len() < most && bytes <= MAX_VALUE_BYTES;
        let value: Arc<str> = if kept { value } else { OTHER }.into();
        if kept {
            self.value_bytes = bytes + if values.is_empty() { key.len() } else { 0 };
            values.insert(Arc::clone(&value));
        }
        Some((Label { key, value }, kept))
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.derived_bytes + self.value_bytes
    }
}

/// The processes that are remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    processes: HashMap<ProcessKey, Remembered>,
    /// Uses so far: tells which process was used longest ago.
    uses: u64,
    bytes: usize,
}

impl Memory {
    /// Does `work` with what is remembered of a process; then forgets what is too much.
    pub(super) fn with<T>(
        &mut self,
        process: ProcessKey,
        work: impl FnOnce(&mut Remembered) -> T,
    ) -> T {
        self.uses += 1;
        let remembered = self.processes.entry(process).or_insert_with(|| {
            self.bytes += ENTRY_BYTES;
            Remembered::default()
        });
        remembered.used = self.uses;
        let before = remembered.bytes();
        let result = work(remembered);
        self.bytes = self.bytes - before + remembered.bytes();
        while self.bytes > MAX_BYTES || self.processes.len() > MAX_PROCESSES {
            self.forget_one();
        }
        result
    }

    fn forget_one(&mut self) {
        let oldest = self.processes.iter().min_by_key(|(_, found)| found.used);
        let Some(key) = oldest.map(|(key, _)| *key) else {
            self.bytes = 0;
            return;
        };
        if let Some(forgotten) = self.processes.remove(&key) {
            self.bytes -= forgotten.bytes();
        }
    }

    /// Processes and bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let counted: usize = self.processes.values().map(Remembered::bytes).sum();
        assert_eq!(counted, self.bytes);
        (self.processes.len(), self.bytes)
    }
}

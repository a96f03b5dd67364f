//! The parts of a pprof file that its samples refer to.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;

use super::generated as proto;
use crate::export::read::{
    Budget, Fields, LongTexts, MAX_COUNT, ReadError, ReadLimits, Value, message, numbers,
};
use crate::profile::{ProfileKind, SampleKind, SamplePeriod};

/// Period of a profile that states none: 100 Hz, the default of other profilers.
const DEFAULT_PERIOD_NANOSECONDS: u64 = 10_000_000;

/// All of a file but its samples.
#[derive(Default)]
pub(super) struct Tables<'a> {
    pub(super) sample_types: Vec<proto::ValueType>,
    pub(super) mappings: Vec<proto::Mapping>,
    pub(super) locations: Vec<proto::Location>,
    pub(super) functions: Vec<proto::Function>,
    pub(super) strings: Vec<&'a [u8]>,
    pub(super) comments: Vec<i64>,
    pub(super) time_nanos: i64,
    pub(super) duration_nanos: i64,
    period_type: Option<proto::ValueType>,
    period: i64,
}

impl<'a> Tables<'a> {
    pub(super) fn read(bytes: &'a [u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        let mut tables = Self::default();
        let mut entries = Budget::new("entries", limits.entries);
        let mut samples = Budget::new("samples", limits.entries);
        let mut lines = Budget::new("lines", limits.elements);
        for field in Fields::new(bytes, "profile") {
            let (number, value) = field?;
            match (number, value) {
                (2, _) => samples.take(1)?,
                (1 | 3..=6 | 13, _) => entries.take(1)?,
                _ => {}
            }
            match (number, value) {
                (1, _) => tables.sample_types.push(message(value, "sample type")?),
                (3, _) => tables.mappings.push(message(value, "mapping")?),
                (4, _) => {
                    let location: proto::Location = message(value, "location")?;
                    lines.take(location.line.len())?;
                    tables.locations.push(location);
                }
                (5, _) => tables.functions.push(message(value, "function")?),
                (6, Value::Bytes(text)) => tables.strings.push(text),
                (9, Value::Number(number)) => tables.time_nanos = number as i64,
                (10, Value::Number(number)) => tables.duration_nanos = number as i64,
                (11, _) => tables.period_type = Some(message(value, "period type")?),
                (12, Value::Number(number)) => tables.period = number as i64,
                (13, _) => numbers(value, "comment", |number| {
                    entries.take(1)?;
                    tables.comments.push(number as i64);
                    Ok(())
                })?,
                _ => {}
            }
        }
        if tables.strings.is_empty() {
            return Err(ReadError::malformed("pprof file: it has no strings"));
        }
        Ok(tables)
    }

    fn is(&self, value: &proto::ValueType, wanted: (&str, &str)) -> bool {
        let string = |index: i64| {
            let index = usize::try_from(index).ok()?;
            self.strings.get(index).copied()
        };
        string(value.r#type) == Some(wanted.0.as_bytes())
            && string(value.unit) == Some(wanted.1.as_bytes())
    }

    /// Which of a sample's values mean what. Where several kinds are measured, it is the first in order of declaration.
    pub(super) fn values(&self) -> Result<Values, ReadError> {
        let of = |wanted| {
            self.sample_types
                .iter()
                .position(|value| self.is(value, wanted))
        };
        let count = of(("samples", "count"));
        let mut measured = ProfileKind::ALL
            .into_iter()
            .filter_map(|kind| Some((kind, of((kind.name(), kind.unit()))?)));
        let (kind, value) = match measured.next() {
            Some((kind, place)) => (kind, Some(place)),
            // A number of samples alone is of samples of CPU time.
            None if count.is_some() => (ProfileKind::OnCpu, None),
            None => return Err(self.not_time()),
        };
        let kind = match kind {
            ProfileKind::OnCpu => SampleKind::on_cpu(self.period()),
            ProfileKind::OffCpu | ProfileKind::Wall => SampleKind::by_events(kind),
        };
        Ok(Values { kind, count, value })
    }

    fn not_time(&self) -> ReadError {
        let strings = Strings::new(&self.strings, &ReadLimits::default());
        let show = |value: &proto::ValueType| {
            let kind = strings.text(value.r#type).unwrap_or_default();
            format!("{kind}/{}", strings.text(value.unit).unwrap_or_default())
        };
        let shown: Vec<_> = self.sample_types.iter().take(8).map(show).collect();
        ReadError::NotTime {
            types: shown.join(", "),
        }
    }

    fn period(&self) -> SamplePeriod {
        let cpu = ("cpu", "nanoseconds");
        SamplePeriod::from_nanoseconds(match (&self.period_type, u64::try_from(self.period)) {
            (Some(period_type), Ok(period)) if period > 0 && self.is(period_type, cpu) => period,
            _ => DEFAULT_PERIOD_NANOSECONDS,
        })
    }
}

/// Positions in a sample's values.
pub(super) struct Values {
    pub(super) kind: SampleKind,
    count: Option<usize>,
    value: Option<usize>,
}

impl Values {
    /// How many samples one entry is, and what they stand for. Of CPU time one of the two is enough.
    pub(super) fn of(&self, sample: &proto::Sample) -> (u64, u64) {
        let value = |position: Option<usize>| {
            let value = sample.value.get(position?).copied()?;
            u64::try_from(value).ok()
        };
        let quantum = self.kind.quantum();
        let most = MAX_COUNT.saturating_mul(quantum);
        let (count, value) = match (self.kind.kind, value(self.count), value(self.value)) {
            (ProfileKind::OnCpu, Some(count), None | Some(0)) => {
                (count, count.saturating_mul(quantum))
            }
            (ProfileKind::OnCpu, None, Some(time)) => (time.div_ceil(quantum), time),
            (_, count, Some(time)) => (count.unwrap_or(u64::from(time > 0)), time),
            (_, _, None) => (0, 0),
        };
        (count.min(MAX_COUNT), value.min(most))
    }
}

/// The string table; each string is made once, and the long ones are counted.
pub(super) struct Strings<'a> {
    bytes: &'a [&'a [u8]],
    made: HashMap<i64, Arc<str>>,
    long: LongTexts,
}

impl<'a> Strings<'a> {
    pub(super) fn new(bytes: &'a [&'a [u8]], limits: &ReadLimits) -> Self {
        Self {
            bytes,
            made: HashMap::new(),
            long: LongTexts::new(limits),
        }
    }
    /// Counts a use of a text that was made.
    pub(super) fn used(&self, text: &str) -> Result<(), ReadError> {
        self.long.used(text.as_bytes())
    }
    pub(super) fn text(&self, index: i64) -> Result<Cow<'a, str>, ReadError> {
        let position = usize::try_from(index).ok();
        let bytes = position.and_then(|position| self.bytes.get(position));
        let bytes = bytes.ok_or(ReadError::dangling("string", index))?;
        self.long.used(bytes)?;
        Ok(String::from_utf8_lossy(bytes))
    }
    pub(super) fn get(&mut self, index: i64) -> Result<Arc<str>, ReadError> {
        if let Some(made) = self.made.get(&index) {
            self.used(made)?;
            return Ok(Arc::clone(made));
        }
        let text: Arc<str> = self.text(index)?.into();
        self.made.insert(index, Arc::clone(&text));
        Ok(text)
    }
}

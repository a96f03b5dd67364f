//! A profile from an OTLP request (or `ProfilesData`, which has the same bytes): ours, and those of
//! other profilers and collectors.

use std::sync::Arc;

use hashbrown::HashMap;
use opentelemetry_proto::tonic::profiles::v1development as proto;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::facts::Facts;
use super::tables::Tables;
use crate::export::read::{
    Budget, Fields, MAX_COUNT, ReadError, ReadLimits, Value, fixed64s, message, numbers,
};
use crate::profile::{
    LabelSetIndex, LocationIndex, Occurrences, Profile, ProfileBuilder, ProfileKind, SampleKey,
    SampleKind, SamplePeriod, StackIndex, ThreadIndex, UnixTime, merge,
};

/// Reads a request. All CPU profiles in it (samples/count with a period in cpu/nanoseconds) become one; where there is
/// none, all of off-CPU time (off_cpu/nanoseconds), or of wall-clock time (wall/nanoseconds). Others are left out.
///
/// # Errors
/// [`ReadError`]; also where there are profiles, and none of them is one of time.
pub fn decode(bytes: &[u8], limits: &ReadLimits) -> Result<Profile, ReadError> {
    Budget::new("bytes", limits.bytes).take(bytes.len())?;
    let tables = Tables::read(bytes, limits)?;
    let headers = headers(bytes, &tables, limits)?;
    let kinds = headers.iter().map(|header| header.kind);
    let first = kinds.clone().map(|kind| kind.kind).min();
    let mut kinds: Vec<SampleKind> = kinds.filter(|kind| Some(kind.kind) == first).collect();
    kinds.sort_unstable_by_key(|kind| kind.quantum());
    kinds.dedup();
    Budget::new("different periods", MAX_PERIODS).take(kinds.len())?;
    let profiles: Result<Vec<Profile>, ReadError> = kinds
        .into_iter()
        .map(|kind| {
            let of_kind = headers.iter().filter(|header| header.kind == kind);
            Reader::new(&tables, limits).read(of_kind, kind)
        })
        .collect();
    Ok(merge(&profiles?))
}

/// Each period is a profile of its own before they are merged.
const MAX_PERIODS: usize = 16;

/// A profile of time in the request, its samples not read yet.
struct Header<'a> {
    resource: Arc<Facts>,
    bytes: &'a [u8],
    start: u64,
    end: u64,
    kind: SampleKind,
}

fn headers<'a>(
    bytes: &'a [u8],
    tables: &Tables,
    limits: &ReadLimits,
) -> Result<Vec<Header<'a>>, ReadError> {
    let mut entries = Budget::new("profiles", limits.entries);
    let mut headers = Vec::new();
    let mut others = Vec::new();
    for resource_profiles in messages(bytes, 1, "request") {
        let resource_profiles = resource_profiles?;
        let mut facts = Facts::default();
        for resource in Fields::new(resource_profiles, "resource profiles") {
            if let (1, value) = resource? {
                let resource: Resource = message(value, "resource")?;
                for attribute in &resource.attributes {
                    tables.apply(attribute, &mut facts)?;
                }
            }
        }
        let facts = Arc::new(facts);
        for scope in messages(resource_profiles, 2, "resource profiles") {
            for profile in messages(scope?, 2, "scope profiles") {
                entries.take(1)?;
                match header(profile?, tables, &facts)? {
                    Ok(header) => headers.push(header),
                    Err(types) if others.len() < 8 => others.push(types),
                    Err(_) => {}
                }
            }
        }
    }
    if headers.is_empty() && !others.is_empty() {
        return Err(ReadError::NotTime {
            types: others.join(", "),
        });
    }
    Ok(headers)
}

/// The messages in field `number`.
fn messages<'a>(
    bytes: &'a [u8],
    number: u32,
    what: &'static str,
) -> impl Iterator<Item = Result<&'a [u8], ReadError>> {
    Fields::new(bytes, what).filter_map(move |field| match field {
        Ok((found, Value::Bytes(bytes))) if found == number => Some(Ok(bytes)),
        Ok((found, _)) if found == number => Some(Err(ReadError::malformed(what))),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// The header, or what the profile counts where that is no time.
fn header<'a>(
    bytes: &'a [u8],
    tables: &Tables,
    resource: &Arc<Facts>,
) -> Result<Result<Header<'a>, String>, ReadError> {
    let mut sample_type = proto::ValueType::default();
    let mut period_type = proto::ValueType::default();
    let (mut start, mut duration, mut period) = (0, 0, 0);
    for field in Fields::new(bytes, "profile") {
        match field? {
            (1, value) => sample_type = message(value, "sample type")?,
            (3, Value::Fixed64(time)) => start = time,
            (4, Value::Number(nanoseconds)) => duration = nanoseconds,
            (5, value) => period_type = message(value, "period type")?,
            (6, Value::Number(number)) => period = number,
            _ => {}
        }
    }
    let show = |value: &proto::ValueType| -> Result<String, ReadError> {
        let unit = tables.string(value.unit_strindex)?;
        Ok(format!("{}/{unit}", tables.string(value.type_strindex)?))
    };
    let (sample_type, period_type) = (show(&sample_type)?, show(&period_type)?);
    let by_events = [ProfileKind::OffCpu, ProfileKind::Wall].into_iter();
    let mut by_events =
        by_events.filter(|kind| sample_type == format!("{}/{}", kind.name(), kind.unit()));
    let kind = if let Some(kind) = by_events.next() {
        SampleKind::by_events(kind)
    } else if sample_type == "samples/count" && period_type == "cpu/nanoseconds" && period > 0 {
        SampleKind::on_cpu(SamplePeriod::from_nanoseconds(period))
    } else {
        return Ok(Err(format!("{sample_type} per {period_type}")));
    };
    Ok(Ok(Header {
        resource: Arc::clone(resource),
        bytes,
        start,
        end: start.saturating_add(duration.max(1)),
        kind,
    }))
}

/// A sample, as read.
#[derive(Default)]
struct Sample {
    stack: i32,
    link: i32,
    attributes: Vec<i32>,
    values: Vec<u64>,
    times: Vec<u64>,
}

impl Sample {
    /// How many samples it is, what they stand for, and each of them where that is known. A time without a value counts
    /// one; so the values of a kind without a period are each of a sample.
    fn measured(&self, kind: SampleKind) -> ((u64, u64), Occurrences<UnixTime>) {
        let values = self
            .values
            .iter()
            .fold(0u64, |sum, value| sum.saturating_add(*value));
        let times = self.times.iter().map(|time| UnixTime(*time));
        if kind.period.is_none() {
            let most = MAX_COUNT.saturating_mul(1_000_000_000);
            if self.times.len() == self.values.len() && values <= most {
                let taken: Occurrences<UnixTime> = times.zip(self.values.iter().copied()).collect();
                return ((taken.len() as u64, values), taken);
            }
            let count = self.values.iter().filter(|value| **value > 0).count() as u64;
            return ((count, values.min(most)), Occurrences::default());
        }
        let count = match values {
            0 => self.times.len() as u64,
            values => values.min(MAX_COUNT),
        };
        let taken = match self.times.len() as u64 == count {
            true => Occurrences::equal(kind.quantum(), times.collect()),
            false => Occurrences::default(),
        };
        ((count, count.saturating_mul(kind.quantum())), taken)
    }
}

struct Reader<'a> {
    tables: &'a Tables,
    builder: ProfileBuilder,
    entries: Budget,
    elements: Budget,
    locations: HashMap<i32, LocationIndex>,
    stacks: HashMap<i32, StackIndex>,
}

impl<'a> Reader<'a> {
    fn new(tables: &'a Tables, limits: &ReadLimits) -> Self {
        Self {
            tables,
            builder: ProfileBuilder::default(),
            entries: Budget::new("samples", limits.entries),
            elements: Budget::new("timestamps, frames and attributes", limits.elements),
            locations: HashMap::new(),
            stacks: HashMap::new(),
        }
    }

    fn read<'h>(
        mut self,
        headers: impl Iterator<Item = &'h Header<'h>>,
        kind: SampleKind,
    ) -> Result<Profile, ReadError> {
        let (mut start, mut end) = (u64::MAX, 0);
        for header in headers {
            (start, end) = (start.min(header.start), end.max(header.end));
            let mut threads = HashMap::new();
            for sample in messages(header.bytes, 2, "profile") {
                self.entries.take(1)?;
                let sample = self.parse(sample?)?;
                self.add(header, sample, &mut threads)?;
            }
        }
        Ok(self.builder.finish(UnixTime(start), UnixTime(end), kind))
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<Sample, ReadError> {
        const WHAT: &str = "sample";
        let mut sample = Sample::default();
        for field in Fields::new(bytes, WHAT) {
            match field? {
                (1, Value::Number(index)) => sample.stack = index as i32,
                (2, value) => numbers(value, WHAT, |index| {
                    self.elements.take(1)?;
                    sample.attributes.push(index as i32);
                    Ok(())
                })?,
                (3, Value::Number(index)) => sample.link = index as i32,
                (4, value) => numbers(value, WHAT, |value| {
                    self.elements.take(1)?;
                    sample.values.push(u64::try_from(value as i64).unwrap_or(0));
                    Ok(())
                })?,
                (5, value) => {
                    let before = sample.times.len();
                    fixed64s(value, WHAT, &mut sample.times)?;
                    self.elements.take(sample.times.len() - before)?;
                }
                _ => {}
            }
        }
        Ok(sample)
    }

    fn add(
        &mut self,
        header: &Header<'_>,
        sample: Sample,
        threads: &mut HashMap<Vec<i32>, (ThreadIndex, LabelSetIndex)>,
    ) -> Result<(), ReadError> {
        let (sums, taken) = sample.measured(header.kind);
        if sums.0 == 0 {
            return Ok(());
        }
        let stack = match self.stacks.get(&sample.stack) {
            Some(known) => *known,
            None => {
                let new = self.tables.stack(
                    sample.stack,
                    &mut self.builder,
                    &mut self.locations,
                    &mut self.elements,
                )?;
                self.stacks.insert(sample.stack, new);
                new
            }
        };
        let link = self.tables.link(sample.link)?;
        let (thread, labels) = match threads.get(&sample.attributes) {
            Some(known) => *known,
            None => {
                let mut facts = Facts::clone(&header.resource);
                for index in &sample.attributes {
                    self.tables.apply_indexed(*index, &mut facts)?;
                }
                self.tables.copied(&facts)?;
                let process = self.builder.process(Arc::new(facts.process()));
                let thread = self.builder.thread(facts.thread(process));
                let new = (thread, self.builder.labels(facts.labels()));
                threads.insert(sample.attributes, new);
                new
            }
        };
        let key = SampleKey {
            thread,
            stack,
            labels,
            link,
        };
        self.builder.sample(key, sums, &taken);
        Ok(())
    }
}

//! A profile from pprof: ours, and those of other CPU profilers.

use std::io::Read;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use hashbrown::HashMap;

use super::generated as proto;
use super::tables::{Strings, Tables};
use super::{
    KERNEL_EXECUTABLE, LABEL_COMM, LABEL_CONTAINER, LABEL_EXECUTABLE, LABEL_GOROUTINE,
    LABEL_OFFSET, LABEL_PID, LABEL_SPAN_ID, LABEL_THREAD, LABEL_TID, LABEL_TRACE_ID,
    LOSSES_COMMENT, OWN_PREFIX,
};
use crate::export::read::{
    Budget, Fields, ReadError, ReadLimits, bytes_of, frame_type_of, location_kind_of, made_up_name,
    message,
};
use crate::profile::{
    BootTime, BuildId, ContainerId, Function, FunctionIndex, Label, LabelSet, LineEntry, Link,
    Location, LocationIndex, LocationKind, Losses, Mapping, MappingIndex, Occurrences, Process,
    ProcessKey, Profile, ProfileBuilder, SampleKey, Thread, ThreadIndex, UnixTime,
};

/// Reads a pprof file of CPU time, off-CPU or wall-clock time, compressed or not. What it does not say is inferred: samples without labels belong to
/// one process that is named after the first mapping; the kind of code follows from the names of
/// mappings and source files. A location without a function gets a name of file and address.
///
/// # Errors
/// [`ReadError`]; also where the samples count no time.
pub fn decode(bytes: &[u8], limits: &ReadLimits) -> Result<Profile, ReadError> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    if !bytes.starts_with(&GZIP) {
        return decode_message(bytes, limits);
    }
    let mut message = Vec::new();
    let most = limits.bytes as u64;
    MultiGzDecoder::new(bytes)
        .take(most.saturating_add(1))
        .read_to_end(&mut message)?;
    decode_message(&message, limits)
}

fn decode_message(bytes: &[u8], limits: &ReadLimits) -> Result<Profile, ReadError> {
    Budget::new("bytes", limits.bytes).take(bytes.len())?;
    let tables = Tables::read(bytes, limits)?;
    let values = tables.values()?;
    let mut reader = Reader {
        strings: Strings::new(&tables.strings, limits),
        builder: ProfileBuilder::default(),
        locations: HashMap::new(),
        threads: HashMap::new(),
        main_file: "".into(),
        start: u64::try_from(tables.time_nanos).unwrap_or(0),
        duration: u64::try_from(tables.duration_nanos).unwrap_or(0).max(1),
    };
    reader.locations(&tables)?;
    let mut frames = Budget::new("frames", limits.elements);
    let mut stack = Vec::new();
    for field in Fields::new(bytes, "profile") {
        if let (2, value) = field? {
            let sample: proto::Sample = message(value, "sample")?;
            frames.take(sample.location_id.len())?;
            let sums = values.of(&sample);
            if sums.0 > 0 {
                reader.sample(&sample, sums, &mut stack)?;
            }
        }
    }
    let losses = reader.losses(&tables.comments)?;
    reader.builder.losses(&losses);
    Ok(reader.builder.finish(
        UnixTime(reader.start),
        UnixTime(reader.start.saturating_add(reader.duration)),
        values.kind,
    ))
}

/// What the labels of a sample say of its thread; strings by index, 0 where there is none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct ThreadLabels {
    pid: u32,
    tid: u32,
    comm: i64,
    thread: i64,
    executable: i64,
    container: i64,
}

struct Reader<'a> {
    strings: Strings<'a>,
    builder: ProfileBuilder,
    locations: HashMap<u64, LocationIndex>,
    threads: HashMap<ThreadLabels, ThreadIndex>,
    /// File of the first mapping: the program, by convention.
    main_file: Arc<str>,
    /// In ns since 1970.
    start: u64,
    /// In ns.
    duration: u64,
}

/// What the labels of a sample say.
#[derive(Default)]
struct SampleLabels {
    thread: ThreadLabels,
    own: LabelSet,
    link: Option<Link>,
    /// In ns since the profile's start.
    offsets: Vec<u64>,
}

impl Reader<'_> {
    fn locations(&mut self, tables: &Tables<'_>) -> Result<(), ReadError> {
        let mut mappings = HashMap::new();
        for (index, mapping) in tables.mappings.iter().enumerate() {
            let file = self.strings.get(mapping.filename)?;
            if index == 0 {
                self.main_file = Arc::clone(&file);
            }
            let new = self.mapping(mapping, Arc::clone(&file))?;
            mappings.insert(mapping.id, (new, file));
        }
        let mut functions = HashMap::new();
        for function in &tables.functions {
            let file = self.strings.get(function.filename)?;
            let new = self.builder.function(Function {
                name: self.strings.get(function.name)?,
                system_name: self.strings.get(function.system_name)?,
                file: Arc::clone(&file),
                start_line: u32::try_from(function.start_line).unwrap_or(0),
            });
            let name = self.strings.get(function.name)?;
            functions.insert(function.id, (new, name, file));
        }
        for location in &tables.locations {
            let mapping = match location.mapping_id {
                0 => None,
                id => Some(
                    mappings
                        .get(&id)
                        .ok_or(ReadError::dangling("mapping", id))?,
                ),
            };
            let new = self.location(location, mapping, &functions)?;
            self.locations.insert(location.id, new);
        }
        Ok(())
    }

    fn mapping(
        &mut self,
        mapping: &proto::Mapping,
        file: Arc<str>,
    ) -> Result<MappingIndex, ReadError> {
        let build_id = self.strings.text(mapping.build_id)?;
        Ok(self.builder.mapping(Mapping {
            file,
            memory_start: mapping.memory_start,
            memory_limit: mapping.memory_limit,
            file_offset: mapping.file_offset,
            build_id: bytes_of(&build_id).and_then(|bytes| BuildId::new(&bytes)),
            htl_hash: None,
        }))
    }

    fn location(
        &mut self,
        location: &proto::Location,
        mapping: Option<&(MappingIndex, Arc<str>)>,
        functions: &HashMap<u64, (FunctionIndex, Arc<str>, Arc<str>)>,
    ) -> Result<LocationIndex, ReadError> {
        let file = mapping.map(|(_, file)| &**file);
        self.strings.used(file.unwrap_or(""))?;
        let mut lines = Vec::with_capacity(location.line.len().max(1));
        let mut source: &str = "";
        let mut kind = LocationKind::Unnamed;
        for line in &location.line {
            let (function, name, file_of_source) = functions
                .get(&line.function_id)
                .ok_or(ReadError::dangling("function", line.function_id))?;
            source = file_of_source;
            self.strings.used(name)?;
            self.strings.used(file.unwrap_or(""))?;
            kind = location_kind_of(name, file);
            lines.push(LineEntry {
                function: *function,
                line: u32::try_from(line.line).unwrap_or(0),
                column: u32::try_from(line.column).unwrap_or(0),
            });
        }
        let frame_type = frame_type_of(file, source);
        if lines.is_empty() {
            let name: Arc<str> = made_up_name(file, location.address).into();
            lines.push(LineEntry {
                function: self.builder.function(Function {
                    system_name: Arc::clone(&name),
                    name,
                    file: "".into(),
                    start_line: 0,
                }),
                line: 0,
                column: 0,
            });
        }
        Ok(self.builder.location(Location {
            mapping: mapping.map(|(index, _)| *index),
            address: location.address,
            lines: lines.into(),
            frame_type,
            kind,
        }))
    }

    fn sample(
        &mut self,
        sample: &proto::Sample,
        (count, value): (u64, u64),
        stack: &mut Vec<LocationIndex>,
    ) -> Result<(), ReadError> {
        stack.clear();
        for id in &sample.location_id {
            let location = self.locations.get(id);
            stack.push(*location.ok_or(ReadError::dangling("location", *id))?);
        }
        let stack = self.builder.stack(stack);
        let labels = self.labels(&sample.label)?;
        let key = SampleKey {
            thread: self.thread(labels.thread)?,
            stack,
            labels: self.builder.labels(labels.own),
            link: labels.link,
        };
        let offsets = &labels.offsets;
        let mut taken = Occurrences::default();
        if offsets.len() as u64 == count
            && offsets.iter().all(|offset| *offset < self.duration)
            && value.is_multiple_of(count)
        {
            let time = |offset: &u64| UnixTime(self.start.saturating_add(*offset));
            taken = Occurrences::equal(value / count, offsets.iter().map(time).collect());
        }
        self.builder.sample(key, (count, value), &taken);
        Ok(())
    }

    fn labels(&mut self, labels: &[proto::Label]) -> Result<SampleLabels, ReadError> {
        let mut found = ThreadLabels::default();
        let (mut trace_id, mut span_id) = (None, None);
        let mut offsets = Vec::new();
        let mut goroutine = None;
        let mut own = Vec::new();
        for label in labels {
            let number = u32::try_from(label.num).unwrap_or(0);
            match &*self.strings.text(label.key)? {
                LABEL_PID => found.pid = number,
                LABEL_TID => found.tid = number,
                LABEL_COMM => found.comm = label.str,
                LABEL_THREAD => found.thread = label.str,
                LABEL_EXECUTABLE => found.executable = label.str,
                LABEL_CONTAINER => found.container = label.str,
                LABEL_TRACE_ID => trace_id = bytes_of(&self.strings.text(label.str)?),
                LABEL_SPAN_ID => span_id = bytes_of(&self.strings.text(label.str)?),
                LABEL_GOROUTINE => goroutine = u64::try_from(label.num).ok(),
                LABEL_OFFSET => offsets.extend(u64::try_from(label.num)),
                "" => {}
                key if label.num != 0 => own.push(Label {
                    key: key.into(),
                    value: label.num.to_string().into(),
                }),
                key => own.push(Label {
                    key: key.strip_prefix(OWN_PREFIX).unwrap_or(key).into(),
                    value: self.strings.get(label.str)?,
                }),
            }
        }
        let link = link(trace_id, span_id);
        own.sort_unstable();
        own.dedup_by(|next, kept| next.key == kept.key);
        let own = LabelSet {
            labels: own.into(),
            goroutine,
        };
        Ok(SampleLabels {
            thread: found,
            own,
            link,
            offsets,
        })
    }

    fn thread(&mut self, labels: ThreadLabels) -> Result<ThreadIndex, ReadError> {
        if let Some(known) = self.threads.get(&labels) {
            return Ok(*known);
        }
        let executable = self.strings.get(labels.executable)?;
        let kernel = &*executable == KERNEL_EXECUTABLE;
        let executable = match &*executable {
            KERNEL_EXECUTABLE => "",
            "" if labels.comm == 0 => &self.main_file,
            executable => executable,
        };
        self.strings.used(executable)?;
        let comm = self.strings.get(labels.comm)?;
        let comm = match &*comm {
            "" => executable.rsplit('/').next().unwrap_or(""),
            comm => comm,
        };
        let container = self.strings.get(labels.container)?;
        let process = self.builder.process(Arc::new(Process {
            key: ProcessKey {
                pid: labels.pid,
                started: BootTime(0),
            },
            parent: 0,
            comm: comm.into(),
            executable: executable.into(),
            cgroup: "".into(),
            container: (!container.is_empty()).then(|| ContainerId((*container).into())),
            kernel,
            resource: Arc::default(),
        }));
        let thread = self.builder.thread(Thread {
            process,
            tid: labels.tid,
            name: self.strings.get(labels.thread)?,
        });
        self.threads.insert(labels, thread);
        Ok(thread)
    }

    /// The losses that a comment of ours tells.
    fn losses(&self, comments: &[i64]) -> Result<Losses, ReadError> {
        let mut losses = Losses::default();
        for comment in comments {
            let text = self.strings.text(*comment)?;
            let Some(counts) = text.strip_prefix(LOSSES_COMMENT) else {
                continue;
            };
            for entry in counts.split_whitespace() {
                if let Some((name, count)) = entry.split_once('=')
                    && let Ok(count) = count.parse::<u32>()
                {
                    losses.add_named(name, count.into());
                }
            }
        }
        Ok(losses)
    }
}

/// The link of the ids that there are; none where one is not as long as ids are.
fn link(trace_id: Option<Vec<u8>>, span_id: Option<Vec<u8>>) -> Option<Link> {
    if trace_id.is_none() && span_id.is_none() {
        return None;
    }
    Some(Link {
        trace_id: trace_id.map_or(Ok([0; 16]), TryInto::try_into).ok()?,
        span_id: span_id.map_or(Ok([0; 8]), TryInto::try_into).ok()?,
    })
}

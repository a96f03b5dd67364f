//! A profile as pprof.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use profiler_common::unwind::Outcome;
use prost::Message;

use super::generated as proto;
use super::{
    KERNEL_EXECUTABLE, LABEL_COMM, LABEL_CONTAINER, LABEL_EXECUTABLE, LABEL_GOROUTINE, LABEL_PID,
    LABEL_SPAN_ID, LABEL_THREAD, LABEL_TID, LABEL_TRACE_ID, LOSSES_COMMENT, OURS, OUTCOMES_COMMENT,
    OWN_PREFIX,
};
use crate::export::compress::compressed as gzip;
use crate::profile::distinct::Distinct;
use crate::profile::hexadecimal::text_of;
use crate::profile::window::OutcomeCounts;
use crate::profile::{Coding, Label, LabelSet, Link, Location, Profile, Thread};

/// The profile as a gzip stream of a pprof message.
///
/// # Errors
/// Those of compression into memory.
pub fn encode(profile: &Profile) -> std::io::Result<Vec<u8>> {
    compressed(&message(profile, Form::Plain))
}

/// The same as [`encode`], with its length before compression. Of samples that no period makes there are the values alone:
/// Pyroscope takes no second type beside one without a period.
pub(in crate::export) fn encode_measured(profile: &Profile) -> (Vec<u8>, usize) {
    let message = message(profile, Form::OneType).encode_to_vec();
    let length = message.len();
    (gzip(message, Coding::Gzip), length)
}

fn compressed(message: &proto::Profile) -> std::io::Result<Vec<u8>> {
    let message = message.encode_to_vec();
    let mut stream = GzEncoder::new(Vec::new(), Compression::default());
    stream.write_all(&message)?;
    stream.finish()
}

/// What a message has beside stacks and labels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The number of samples and what they stand for.
    Plain,
    /// What they stand for, and their number only where they have a period.
    OneType,
}

fn message(profile: &Profile, form: Form) -> proto::Profile {
    let mut strings = Strings::new();
    let samples = proto::ValueType {
        r#type: strings.index("samples"),
        unit: strings.index("count"),
    };
    let kind = profile.kind.kind;
    let measured = proto::ValueType {
        r#type: strings.index(kind.name()),
        unit: strings.index(kind.unit()),
    };
    let counted = form != Form::OneType || profile.kind.period.is_some();
    let sample_type = match counted {
        true => vec![samples, measured],
        false => vec![measured],
    };
    let mapping = mappings(profile, &mut strings);
    let function = functions(profile, &mut strings);
    let sample = sample_list(profile, counted, &mut strings);
    let comment = comments(profile)
        .iter()
        .map(|comment| strings.index(comment))
        .collect();
    proto::Profile {
        sample_type,
        sample,
        mapping,
        location: profile.locations.iter().enumerate().map(location).collect(),
        function,
        string_table: strings
            .0
            .into_values()
            .into_iter()
            .map(String::from)
            .collect(),
        drop_frames: 0,
        keep_frames: 0,
        time_nanos: signed(profile.start.0),
        duration_nanos: signed(profile.end.0.saturating_sub(profile.start.0)),
        period_type: profile.kind.period.map(|_| measured),
        period: profile
            .kind
            .period
            .map_or(0, |period| signed(period.nanoseconds())),
        comment,
        default_sample_type: measured.r#type,
        doc_url: 0,
    }
}

struct Strings(Distinct<Box<str>>);

impl Strings {
    fn new() -> Self {
        let mut table = Distinct::default();
        table.intern_str("");
        Self(table)
    }
    fn index(&mut self, text: &str) -> i64 {
        i64::from(self.0.intern_str(text))
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Ids count from 1: 0 means none.
fn id(index: usize) -> u64 {
    index as u64 + 1
}

fn mappings(profile: &Profile, strings: &mut Strings) -> Vec<proto::Mapping> {
    let mut mappings: Vec<_> = profile
        .mappings
        .iter()
        .enumerate()
        .map(|(index, mapping)| proto::Mapping {
            id: id(index),
            memory_start: mapping.memory_start,
            memory_limit: mapping.memory_limit,
            file_offset: mapping.file_offset,
            filename: strings.index(&mapping.file),
            build_id: mapping
                .build_id
                .map_or(0, |build_id| strings.index(&build_id.to_string())),
            has_functions: true,
            ..Default::default()
        })
        .collect();
    for location in &profile.locations {
        if let Some(index) = location.mapping {
            let mapping = &mut mappings[index.0 as usize];
            mapping.has_filenames |= location
                .lines
                .iter()
                .any(|line| !profile.functions[line.function.0 as usize].file.is_empty());
            mapping.has_line_numbers |= location.lines.iter().any(|line| line.line > 0);
            mapping.has_inline_frames |= location.lines.len() > 1;
        }
    }
    mappings
}

fn functions(profile: &Profile, strings: &mut Strings) -> Vec<proto::Function> {
    let function = |(index, function): (usize, &crate::profile::Function)| proto::Function {
        id: id(index),
        name: strings.index(&function.name),
        system_name: strings.index(&function.system_name),
        filename: strings.index(&function.file),
        start_line: i64::from(function.start_line),
    };
    profile.functions.iter().enumerate().map(function).collect()
}

fn location((index, location): (usize, &Location)) -> proto::Location {
    proto::Location {
        id: id(index),
        mapping_id: location.mapping.map_or(0, |index| id(index.0 as usize)),
        address: location.address,
        line: location
            .lines
            .iter()
            .map(|line| proto::Line {
                function_id: id(line.function.0 as usize),
                line: i64::from(line.line),
                column: i64::from(line.column),
            })
            .collect(),
        is_folded: false,
    }
}

fn sample_list(profile: &Profile, counted: bool, strings: &mut Strings) -> Vec<proto::Sample> {
    let thread_labels: Vec<_> = profile
        .threads
        .iter()
        .map(|thread| labels(profile, thread, strings))
        .collect();
    let own_labels: Vec<_> = profile
        .label_sets
        .iter()
        .map(|labels| own_labels(labels, strings))
        .collect();
    let mut list = Vec::with_capacity(profile.samples.len());
    for sample in &profile.samples {
        let mut label = thread_labels[sample.thread.0 as usize].clone();
        if let Some(Link { trace_id, span_id }) = &sample.link {
            for (key, id) in [(LABEL_TRACE_ID, &trace_id[..]), (LABEL_SPAN_ID, span_id)] {
                if id.iter().any(|byte| *byte != 0) {
                    label.push(text(strings, key, &text_of(id)));
                }
            }
        }
        label.extend_from_slice(&own_labels[sample.labels.0 as usize]);
        let stack = profile.stacks.get(sample.stack);
        list.push(proto::Sample {
            location_id: stack.iter().map(|index| id(index.0 as usize)).collect(),
            value: match counted {
                true => vec![signed(sample.count), signed(sample.value)],
                false => vec![signed(sample.value)],
            },
            label,
        });
    }
    list
}

fn labels(profile: &Profile, thread: &Thread, strings: &mut Strings) -> Vec<proto::Label> {
    let process = &profile.processes[thread.process as usize];
    let executable = if process.kernel {
        KERNEL_EXECUTABLE
    } else {
        &process.executable
    };
    let container = process.container.as_ref().map_or("", |id| &id.0);
    let mut labels = Vec::with_capacity(6);
    for (key, value) in [(LABEL_PID, process.key.pid), (LABEL_TID, thread.tid)] {
        if value != 0 {
            labels.push(proto::Label {
                key: strings.index(key),
                num: i64::from(value),
                ..Default::default()
            });
        }
    }
    for (key, value) in [
        (LABEL_COMM, &*process.comm),
        (LABEL_THREAD, &*thread.name),
        (LABEL_EXECUTABLE, executable),
        (LABEL_CONTAINER, container),
    ] {
        if !value.is_empty() {
            labels.push(text(strings, key, value));
        }
    }
    labels
}

/// The labels that the sampled code gave itself.
fn own_labels(set: &LabelSet, strings: &mut Strings) -> Vec<proto::Label> {
    let mut labels: Vec<_> = set
        .labels
        .iter()
        .map(|Label { key, value }| {
            if OURS.contains(&&**key) || key.starts_with(OWN_PREFIX) {
                text(strings, &format!("{OWN_PREFIX}{key}"), value)
            } else {
                text(strings, key, value)
            }
        })
        .collect();
    if let Some(goroutine) = set.goroutine {
        labels.push(proto::Label {
            key: strings.index(LABEL_GOROUTINE),
            num: signed(goroutine),
            ..Default::default()
        });
    }
    labels
}

fn text(strings: &mut Strings, key: &str, value: &str) -> proto::Label {
    proto::Label {
        key: strings.index(key),
        str: strings.index(value),
        ..Default::default()
    }
}

fn comments(profile: &Profile) -> Vec<String> {
    let mut comments = Vec::new();
    if !profile.losses.is_empty() {
        let causes = profile.losses.named();
        comments.push(
            causes.fold(LOSSES_COMMENT.to_owned(), |text, (name, count)| {
                text + &format!(" {name}={count}")
            }),
        );
    }
    let mut outcomes = OutcomeCounts::default();
    for counts in &profile.outcomes {
        outcomes.merge(counts);
    }
    if outcomes.total() > 0 {
        let counts = Outcome::ALL
            .into_iter()
            .map(|outcome| (outcome.name(), outcomes.of(outcome)))
            .filter(|(_, count)| *count > 0);
        comments.push(
            counts.fold(OUTCOMES_COMMENT.to_owned(), |text, (name, count)| {
                text + &format!(" {name}={count}")
            }),
        );
    }
    comments
}

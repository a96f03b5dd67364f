//! Stacks from texts: what collapsed stacks and `perf script` have in common.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Budget, ReadError, ReadLimits, frame_type_of, location_kind_of, made_up_name};
use crate::profile::{
    BootTime, FrameType, Function, LineEntry, Location, LocationIndex, LocationKind, Mapping,
    Occurrences, Process, ProcessKey, Profile, ProfileBuilder, SampleKey, SampleKind, SamplePeriod,
    Thread, ThreadIndex, UnixTime,
};

/// Most frames of one stack.
const MAX_DEPTH: usize = 16_384;
/// Longest line that is read, in bytes.
pub(super) const MAX_LINE: usize = 1 << 20;
/// What a sample is taken to stand for where a file does not say it: 100 samples a second.
const ASSUMED_PERIOD: SamplePeriod = SamplePeriod::from_nanoseconds(10_000_000);
/// Where that is so, this is said.
pub(super) const ASSUMED_NOTE: &str =
    "it does not say how often samples were taken: each is shown as 10 ms of CPU time";

/// Whose a sample is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner<'a> {
    /// Name of the process, or of its thread.
    pub(super) comm: &'a str,
    /// Process; 0 where it is not told.
    pub(super) pid: u32,
    /// Thread; 0 where it is not told.
    pub(super) tid: u32,
}

/// A frame of a text: `names` are the names of inlined functions, innermost first, and that of the function last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) names: &'a [&'a str],
    /// The file; empty where it is not told.
    pub(super) file: &'a str,
    pub(super) address: u64,
    pub(super) is_kernel: bool,
}

/// Collects samples within limits.
pub(super) struct Stacks {
    builder: ProfileBuilder,
    samples: Budget,
    frames: Budget,
    /// Texts that repeat.
    texts: HashMap<Box<str>, Arc<str>>,
    threads: HashMap<(u32, u32, Arc<str>), ThreadIndex>,
    stack: Vec<LocationIndex>,
    kind: SampleKind,
    span: Option<(u64, u64)>,
}

impl Stacks {
    pub(super) fn new(limits: &ReadLimits) -> Self {
        Self {
            builder: ProfileBuilder::default(),
            samples: Budget::new("samples", limits.entries),
            frames: Budget::new("frames", limits.elements),
            texts: HashMap::new(),
            threads: HashMap::new(),
            stack: Vec::new(),
            kind: SampleKind::on_cpu(ASSUMED_PERIOD),
            span: None,
        }
    }

    /// The period of the samples, where the file says it.
    pub(super) fn set_period(&mut self, period: SamplePeriod) {
        self.kind = SampleKind::on_cpu(period);
    }

    pub(super) fn period(&self) -> u64 {
        self.kind.quantum()
    }

    /// Appends a frame to the stack that is being read, leaf first.
    pub(super) fn frame(&mut self, frame: Frame<'_>) -> Result<(), ReadError> {
        self.frames.take(frame.names.len())?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(ReadError::TooLarge {
                what: "frames in one stack",
                limit: MAX_DEPTH,
            });
        }
        let file = self.text(frame.file);
        let mapping = (!file.is_empty()).then(|| {
            self.builder.mapping(Mapping {
                file: Arc::clone(&file),
                memory_start: 0,
                memory_limit: 0,
                file_offset: 0,
                build_id: None,
                htl_hash: None,
            })
        });
        // Texts tell no source files.
        let sources = self.text("");
        let in_file = Some(frame.file).filter(|file| !file.is_empty());
        let mut kind = LocationKind::Unnamed;
        let mut lines = Vec::with_capacity(frame.names.len());
        for name in frame.names {
            let name = match name.is_empty() {
                true => self.text(&made_up_name(in_file, frame.address)),
                false => self.text(name),
            };
            kind = location_kind_of(&name, in_file);
            lines.push(LineEntry {
                function: self.builder.function(Function {
                    system_name: Arc::clone(&name),
                    name,
                    file: Arc::clone(&sources),
                    start_line: 0,
                }),
                line: 0,
                column: 0,
            });
        }
        let frame_type = match frame.is_kernel {
            true => FrameType::Kernel,
            false => frame_type_of(Some(&file), ""),
        };
        self.stack.push(self.builder.location(Location {
            mapping,
            address: frame.address,
            lines: lines.into(),
            frame_type,
            kind,
        }));
        Ok(())
    }

    /// Turns the stack that is being read, where its root came first.
    pub(super) fn reverse(&mut self) {
        self.stack.reverse();
    }

    /// Ends the stack that is being read: it was seen `count` times, which stand for `value` ns; `time` is in ns.
    pub(super) fn sample(
        &mut self,
        owner: Owner<'_>,
        (count, value): (u64, u64),
        time: Option<u64>,
    ) -> Result<(), ReadError> {
        self.samples.take(1)?;
        let stack = self.builder.stack(&self.stack);
        self.stack.clear();
        if count == 0 {
            return Ok(());
        }
        let thread = self.thread(owner);
        let taken = time.map_or_else(Occurrences::default, |time| {
            let (start, end) = self.span.unwrap_or((time, time));
            self.span = Some((start.min(time), end.max(time)));
            Occurrences::equal(value, vec![UnixTime(time)])
        });
        let key = SampleKey::new(thread, stack);
        self.builder.sample(key, (count, value), &taken);
        Ok(())
    }

    fn thread(&mut self, owner: Owner<'_>) -> ThreadIndex {
        let comm = self.text(owner.comm);
        let key = (owner.pid, owner.tid, Arc::clone(&comm));
        if let Some(known) = self.threads.get(&key) {
            return *known;
        }
        let process = self.builder.process(Arc::new(Process {
            key: ProcessKey {
                pid: owner.pid,
                // Where no process is told, names tell them apart.
                started: BootTime(match owner.pid {
                    0 => self.threads.len() as u64,
                    _ => 0,
                }),
            },
            parent: 0,
            comm: (*comm).into(),
            executable: "".into(),
            cgroup: "".into(),
            container: None,
            kernel: false,
            resource: Arc::default(),
        }));
        let thread = self.builder.thread(Thread {
            process,
            tid: owner.tid,
            name: comm,
        });
        self.threads.insert(key, thread);
        thread
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(text.into(), Arc::clone(&new));
        new
    }

    pub(super) fn finish(self) -> Profile {
        let (start, end) = self.span.unwrap_or((0, 0));
        let end = end.saturating_add(self.kind.quantum());
        self.builder
            .finish(UnixTime(start), UnixTime(end), self.kind)
    }
}

/// The lines of a text without their ends, each with its number from 1; an error for one that is too long.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, Result<&[u8], ReadError>)> {
    bytes
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(index, line)| {
            let line = match line.len() > MAX_LINE {
                true => Err(ReadError::TooLarge {
                    what: "bytes in one line",
                    limit: MAX_LINE,
                }),
                false => Ok(line.strip_suffix(b"\r").unwrap_or(line)),
            };
            (index + 1, line)
        })
}

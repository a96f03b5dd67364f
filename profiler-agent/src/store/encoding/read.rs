//! A body as a profile. Untrusted: every index is checked against its table, a table has no more rows than bytes, and what
//! all of it takes in memory is taken of the [`Room`] that there is before it is allocated.

use std::sync::Arc;

use hashbrown::HashSet;
use profiler_common::unwind::Outcome;

use super::columns::{Near, Next, ReadTexts, column, read_signed, rows};
use super::size::{self, Room};
use super::write::Form;
use crate::profile::window::OutcomeCounts;
use crate::profile::{
    AttributeValue, BootTime, BuildId, ContainerId, FrameType, Function, FunctionIndex, HtlHash,
    Label, LabelSet, LabelSetIndex, LineEntry, Link, Location, LocationIndex, LocationKind, Losses,
    Mapping, MappingIndex, Occurrences, Process, ProcessKey, Profile, ProfileKind, ProfileSample,
    ResourceAttribute, SampleKind, SamplePeriod, StackIndex, Stacks, Thread, ThreadIndex, UnixTime,
};
use crate::store::leb128::Reader;

/// The profile of a body; `None` where it is malformed, or takes more memory than there is room.
pub(super) fn profile(body: &[u8], mut room: Room) -> Option<Profile> {
    room.take_texts(body)?;
    let mut reader = Reader(body);
    let texts = ReadTexts::new(&mut reader)?;
    let mut body = Body {
        reader,
        texts,
        room,
    };
    let start = body.number()?;
    let end = start.wrapping_add(body.number()?);
    let kind = ProfileKind::from_name(&body.text()?)?;
    let period = Some(body.number()?).filter(|period| *period > 0);
    let kind = SampleKind {
        kind,
        period: period.map(SamplePeriod::from_nanoseconds),
    };
    let processes = body.processes()?;
    let threads = body.threads(processes.len())?;
    let functions = body.functions()?;
    let mappings = body.mappings()?;
    let locations = body.locations(mappings.len(), &functions)?;
    let label_sets = body.label_sets()?;
    let stacks = body.stacks(locations.len())?;
    let lengths = (threads.len(), stacks.len(), label_sets.len());
    let samples = body.samples(kind, lengths)?;
    let outcomes = body.outcomes(processes.len())?;
    let losses = body.losses()?;
    body.reader.0.is_empty().then_some(Profile {
        start: UnixTime(start),
        end: UnixTime(end),
        kind,
        processes,
        threads,
        functions,
        mappings,
        locations,
        stacks,
        label_sets,
        samples,
        outcomes,
        losses,
    })
}

struct Body<'a> {
    reader: Reader<'a>,
    texts: ReadTexts,
    room: Room,
}

impl Body<'_> {
    fn number(&mut self) -> Option<u64> {
        self.reader.number()
    }
    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.reader.number()?).ok()
    }
    /// A number of samples, or of what was lost.
    fn count(&mut self) -> Option<u64> {
        self.reader.count(super::MAX_COUNT)
    }
    fn truth(&mut self) -> Option<bool> {
        Some(self.reader.count(1)? == 1)
    }
    fn text(&mut self) -> Option<Arc<str>> {
        self.texts.read(&mut self.reader)
    }
    /// A text that was not among these yet.
    fn new_text(&mut self, seen: &mut HashSet<Arc<str>>) -> Option<Arc<str>> {
        let text = self.text()?;
        seen.insert(Arc::clone(&text)).then_some(text)
    }
    /// A copy of a text.
    fn boxed(&mut self) -> Option<Box<str>> {
        let text = self.text()?;
        self.room.take(1, size::copy(&text))?;
        Some((*text).into())
    }
    /// An index into a table of this length.
    fn index(&mut self, length: usize) -> Option<u32> {
        let index = self.reader.number()?;
        (index < length as u64).then_some(index as u32)
    }
    fn array<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        self.reader.bytes(BYTES)?.try_into().ok()
    }
    /// The number of rows of a table that has at least so many bytes in each, and takes so much memory for each.
    fn rows(&mut self, bytes: usize, memory: usize) -> Option<usize> {
        let rows = rows(&mut self.reader, bytes)?;
        self.room.take(rows, memory)?;
        Some(rows)
    }
    fn column<T>(
        &mut self,
        rows: usize,
        mut value: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<std::vec::IntoIter<T>> {
        Some(column(rows, || value(self))?.into_iter())
    }
    /// How many parts each row has, and how many all have together, where each takes a byte, and so much memory.
    fn parts(&mut self, rows: usize, memory: usize) -> Option<(std::vec::IntoIter<usize>, usize)> {
        let lengths = self.column(rows, |body| usize::try_from(body.number()?).ok())?;
        let all = self.sum(lengths.as_slice())?;
        self.room.take(all, memory)?;
        Some((lengths, all))
    }
    /// How many parts all rows have together, where each takes a byte.
    fn sum(&self, lengths: &[usize]) -> Option<usize> {
        let mut all = lengths.iter();
        let all = all.try_fold(0usize, |sum, length| sum.checked_add(*length))?;
        (all <= self.reader.0.len()).then_some(all)
    }

    fn processes(&mut self) -> Option<Vec<Arc<Process>>> {
        let count = self.rows(9, size::PROCESS)?;
        let mut pids = self.column(count, Self::small)?;
        let mut near = Near::default();
        let mut started = self.column(count, |body| near.read(&mut body.reader))?;
        let mut parents = self.column(count, Self::small)?;
        let mut comms = self.column(count, Self::boxed)?;
        let mut executables = self.column(count, Self::boxed)?;
        let mut cgroups = self.column(count, Self::boxed)?;
        let mut kernel = self.column(count, Self::truth)?;
        let contained = self.column(count, Self::truth)?;
        let mut containers = contained
            .map(|has| match has {
                true => Some(Some(ContainerId(self.boxed()?))),
                false => Some(None),
            })
            .collect::<Option<Vec<_>>>()?
            .into_iter();
        let (mut lengths, _) = self.parts(count, size::ATTRIBUTE)?;
        column(count, || {
            Some(Arc::new(Process {
                key: ProcessKey {
                    pid: pids.next()?,
                    started: BootTime(started.next()?),
                },
                parent: parents.next()?,
                comm: comms.next()?,
                executable: executables.next()?,
                cgroup: cgroups.next()?,
                container: containers.next()?,
                kernel: kernel.next()?,
                resource: self.column(lengths.next()?, Self::attribute)?.collect(),
            }))
        })
    }

    fn attribute(&mut self) -> Option<ResourceAttribute> {
        Some(ResourceAttribute {
            key: self.text()?,
            value: match self.number()? {
                0 => AttributeValue::Text(self.text()?),
                1 => AttributeValue::Integer(read_signed(&mut self.reader, 0)?.cast_signed()),
                2 => AttributeValue::Truth(false),
                3 => AttributeValue::Truth(true),
                _ => return None,
            },
        })
    }

    fn threads(&mut self, processes: usize) -> Option<Vec<Thread>> {
        let count = self.rows(3, size::THREAD)?;
        let mut next = Next::default();
        let mut of = self.column(count, |body| next.read(&mut body.reader, processes))?;
        let mut near = Near::default();
        let mut tids = self.column(count, |body| {
            u32::try_from(near.read(&mut body.reader)?).ok()
        })?;
        column(count, || {
            Some(Thread {
                process: of.next()?,
                tid: tids.next()?,
                name: self.text()?,
            })
        })
    }

    fn functions(&mut self) -> Option<Vec<Function>> {
        let count = self.rows(4, size::FUNCTION)?;
        let mut names = self.column(count, Self::text)?;
        let mut usual = names.clone();
        let mut system_names = self.column(count, |body| {
            body.texts.read_unless(&mut body.reader, &usual.next()?)
        })?;
        let mut files = self.column(count, Self::text)?;
        column(count, || {
            Some(Function {
                name: names.next()?,
                system_name: system_names.next()?,
                file: files.next()?,
                start_line: self.small()?,
            })
        })
    }

    fn mappings(&mut self) -> Option<Vec<Mapping>> {
        let count = self.rows(6, size::MAPPING)?;
        let mut files = self.column(count, Self::text)?;
        let mut starts = self.column(count, Self::number)?;
        let mut lengths = self.column(count, Self::number)?;
        let mut offsets = self.column(count, Self::number)?;
        let mut build_ids = self.column(count, |body| {
            let length = usize::try_from(body.number()?).ok()?;
            Some(BuildId::new(body.reader.bytes(length)?))
        })?;
        column(count, || {
            let start = starts.next()?;
            Some(Mapping {
                file: files.next()?,
                memory_start: start,
                memory_limit: start.wrapping_add(lengths.next()?),
                file_offset: offsets.next()?,
                build_id: build_ids.next()?,
                htl_hash: match self.truth()? {
                    true => Some(HtlHash(self.array()?)),
                    false => None,
                },
            })
        })
    }

    fn locations(&mut self, mappings: usize, functions: &[Function]) -> Option<Vec<Location>> {
        let count = self.rows(5, size::LOCATION)?;
        let mut of = self.column(count, |body| body.index(mappings + 1))?;
        let mut near: Vec<Near> = Vec::new();
        near.resize_with(mappings + 1, Near::default);
        let mut mapping = of.clone();
        let mut addresses = self.column(count, |body| {
            near[mapping.next()? as usize].read(&mut body.reader)
        })?;
        let mut frame_types = self.column(count, |body| Some(frame_type(&body.text()?)))?;
        let mut kinds = self.column(count, |body| Some(kind(&body.text()?)))?;
        let (mut lengths, all) = self.parts(count, size::LINE)?;
        let mut next = Next::default();
        let mut function_of =
            self.column(all, |body| next.read(&mut body.reader, functions.len()))?;
        let mut function = function_of.clone();
        let mut lines = self.column(all, |body| {
            let first = functions[function.next()? as usize].start_line;
            u32::try_from(read_signed(&mut body.reader, first.into())?).ok()
        })?;
        let mut columns = self.column(all, Self::small)?;
        column(count, || {
            let lines = column(lengths.next()?, || {
                Some(LineEntry {
                    function: FunctionIndex(function_of.next()?),
                    line: lines.next()?,
                    column: columns.next()?,
                })
            })?;
            Some(Location {
                mapping: of.next()?.checked_sub(1).map(MappingIndex),
                address: addresses.next()?,
                lines: lines.into(),
                frame_type: frame_types.next()?,
                kind: kinds.next()?,
            })
        })
    }

    fn label_sets(&mut self) -> Option<Vec<LabelSet>> {
        let count = self.rows(2, size::LABEL_SET)?;
        let has = self.column(count, Self::truth)?;
        let mut near = Near::default();
        let mut goroutines = has
            .map(|has| match has {
                true => near.read(&mut self.reader).map(Some),
                false => Some(None),
            })
            .collect::<Option<Vec<_>>>()?
            .into_iter();
        let (mut lengths, all) = self.parts(count, size::LABEL)?;
        let mut keys = self.column(all, Self::text)?;
        let mut values = self.column(all, Self::text)?;
        column(count, || {
            let labels = column(lengths.next()?, || {
                Some(Label {
                    key: keys.next()?,
                    value: values.next()?,
                })
            })?;
            Some(LabelSet {
                labels: labels.into(),
                goroutine: goroutines.next()?,
            })
        })
    }

    fn stacks(&mut self, locations: usize) -> Option<Stacks> {
        let count = self.rows(2, size::STACK)?;
        let shared = self.column(count, Self::small)?;
        let added = self.column(count, Self::small)?;
        let mut next = Next::default();
        let mut stacks = Stacks::default();
        let mut outermost_first: Vec<LocationIndex> = Vec::new();
        let mut leaf_first = Vec::new();
        for (shared, added) in shared.zip(added) {
            if shared as usize > outermost_first.len() {
                return None;
            }
            // What is shared takes no bytes: all stacks together stay within a bound.
            let length = shared as usize + added as usize;
            if stacks.frame_count() + length > super::MAX_FRAMES {
                return None;
            }
            self.room.take(length, size::FRAME)?;
            outermost_first.truncate(shared as usize);
            for _ in 0..added {
                let location = next.read(&mut self.reader, locations)?;
                outermost_first.push(LocationIndex(location));
            }
            leaf_first.clear();
            leaf_first.extend(outermost_first.iter().rev());
            stacks.push(&leaf_first);
        }
        Some(stacks)
    }

    fn links(&mut self) -> Option<Vec<Link>> {
        let count = self.rows(24, 0)?;
        let mut traces = self.column(count, Self::array)?;
        column(count, || {
            Some(Link {
                trace_id: traces.next()?,
                span_id: self.array()?,
            })
        })
    }

    fn samples(
        &mut self,
        kind: SampleKind,
        (threads, stacks, label_sets): (usize, usize, usize),
    ) -> Option<Vec<ProfileSample>> {
        let links = self.links()?;
        let count = self.rows(8, size::SAMPLE)?;
        let mut thread = self.column(count, |body| body.index(threads))?;
        let mut next = Next::default();
        let mut stack = self.column(count, |body| next.read(&mut body.reader, stacks))?;
        let mut labels = self.column(count, |body| body.index(label_sets))?;
        let mut link = self.column(count, |body| body.index(links.len() + 1))?;
        let mut counts = self.column(count, Self::count)?;
        let quantum = kind.quantum();
        let mut number = counts.clone();
        let mut values = self.column(count, |body| {
            let expected = number.next()?.wrapping_mul(quantum);
            read_signed(&mut body.reader, expected)
        })?;
        let mut number = counts.clone();
        let lengths = self.column(count, |body| {
            usize::try_from(read_signed(&mut body.reader, number.next()?)?).ok()
        })?;
        let mut forms = self.column(count, Self::form)?;
        let mut times = self.times(lengths.as_slice())?.into_iter();
        column(count, || {
            let (value, times) = (values.next()?, times.next()?);
            let occurrences = match forms.next()? {
                Form::Share => Occurrences::equal(super::share(value, times.len())?, times),
                Form::Equal => Occurrences::equal(self.number()?, times),
                Form::Own => times
                    .into_iter()
                    .map(|time| Some((time, self.number()?)))
                    .collect::<Option<_>>()?,
            };
            Some(ProfileSample {
                thread: ThreadIndex(thread.next()?),
                stack: StackIndex(stack.next()?),
                labels: LabelSetIndex(labels.next()?),
                link: match link.next()? {
                    0 => None,
                    index => Some(links[index as usize - 1]),
                },
                count: counts.next()?,
                value,
                occurrences,
            })
        })
    }

    fn form(&mut self) -> Option<Form> {
        Some(match self.number()? {
            0 => Form::Share,
            1 => Form::Equal,
            2 => Form::Own,
            _ => return None,
        })
    }

    /// The times of each sample, given how many it has.
    fn times(&mut self, lengths: &[usize]) -> Option<Vec<Vec<UnixTime>>> {
        let all = self.sum(lengths)?;
        self.room.take(all, size::TIME)?;
        let mut first = Near::default();
        let mut lengths = lengths.iter();
        column(lengths.len(), || {
            let mut before = None;
            column(*lengths.next()?, || {
                let time = match before {
                    None => first.read(&mut self.reader)?,
                    Some(before) => read_signed(&mut self.reader, before)?,
                };
                before = Some(time);
                Some(UnixTime(time))
            })
        })
    }

    fn outcomes(&mut self, processes: usize) -> Option<Vec<OutcomeCounts>> {
        let count = usize::try_from(self.reader.count(processes as u64)?).ok()?;
        self.room.take(count, size::OUTCOMES)?;
        let mut outcomes = vec![OutcomeCounts::default(); count];
        let mut seen = HashSet::new();
        for _ in 0..self.rows(1, 0)? {
            let name = self.new_text(&mut seen)?;
            let outcome = Outcome::ALL
                .into_iter()
                .find(|known| known.name() == &*name);
            for row in &mut outcomes {
                let count = self.count()?;
                if let Some(outcome) = outcome {
                    row.add_many(outcome, count);
                }
            }
        }
        Some(outcomes)
    }

    fn losses(&mut self) -> Option<Losses> {
        let mut losses = Losses::default();
        let mut seen = HashSet::new();
        for _ in 0..self.rows(2, 0)? {
            let name = self.new_text(&mut seen)?;
            losses.add_named(&name, self.count()?);
        }
        Some(losses)
    }
}

fn frame_type(name: &str) -> FrameType {
    FrameType::from_name(name).unwrap_or(FrameType::Native)
}

fn kind(name: &str) -> LocationKind {
    if name == super::NAMED {
        return LocationKind::Named;
    }
    let mut ends = Outcome::ALL.into_iter();
    let end = ends.find(|outcome| outcome.name() == name);
    end.map_or(LocationKind::Unnamed, LocationKind::StackEnd)
}

//! A profile as a body, table by table.

use profiler_common::unwind::Outcome;

use super::columns::{Near, Next, Texts, signed};
use crate::profile::distinct::Distinct;
use crate::profile::{
    AttributeValue, BuildId, Link, Location, LocationIndex, LocationKind, Profile, ProfileSample,
    SamplePeriod, StackIndex,
};
use crate::store::leb128::number;

/// The body before compression.
pub(super) fn body(profile: &Profile) -> Vec<u8> {
    let mut writer = Writer {
        profile,
        texts: Texts::default(),
        out: Vec::new(),
    };
    writer.head();
    writer.processes();
    writer.threads();
    writer.functions();
    writer.mappings();
    writer.locations();
    writer.label_sets();
    writer.stacks();
    writer.samples();
    writer.outcomes();
    writer.losses();
    let Writer { texts, out, .. } = writer;
    let mut body = Vec::new();
    texts.finish(&mut body);
    body.reserve_exact(out.len());
    body.extend(out);
    body
}

struct Writer<'a> {
    profile: &'a Profile,
    texts: Texts,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn number(&mut self, value: impl Into<u64>) {
        number(&mut self.out, value.into());
    }
    fn length(&mut self, length: usize) {
        number(&mut self.out, length as u64);
    }
    fn text(&mut self, text: &str) {
        self.texts.write(&mut self.out, text);
    }
    fn column<T>(&mut self, rows: &[T], mut write: impl FnMut(&mut Self, &T)) {
        for row in rows {
            write(self, row);
        }
    }

    fn head(&mut self) {
        let Profile {
            start, end, kind, ..
        } = self.profile;
        self.number(start.0);
        self.number(end.0.wrapping_sub(start.0));
        self.text(kind.kind.name());
        self.number(kind.period.map_or(0, SamplePeriod::nanoseconds));
    }

    fn processes(&mut self) {
        let rows = &self.profile.processes;
        self.length(rows.len());
        self.column(rows, |w, row| w.number(row.key.pid));
        let mut started = Near::default();
        self.column(rows, |w, row| started.write(&mut w.out, row.key.started.0));
        self.column(rows, |w, row| w.number(row.parent));
        self.column(rows, |w, row| w.text(&row.comm));
        self.column(rows, |w, row| w.text(&row.executable));
        self.column(rows, |w, row| w.text(&row.cgroup));
        self.column(rows, |w, row| w.number(row.kernel));
        self.column(rows, |w, row| w.number(row.container.is_some()));
        for id in rows.iter().filter_map(|row| row.container.as_ref()) {
            self.text(&id.0);
        }
        self.column(rows, |w, row| w.length(row.resource.len()));
        for attribute in rows.iter().flat_map(|row| &*row.resource) {
            self.text(&attribute.key);
            match &attribute.value {
                AttributeValue::Text(text) => {
                    self.number(0u8);
                    self.text(text);
                }
                AttributeValue::Integer(integer) => {
                    self.number(1u8);
                    signed(&mut self.out, integer.cast_unsigned(), 0);
                }
                AttributeValue::Truth(truth) => self.number(2 + u8::from(*truth)),
            }
        }
    }

    fn threads(&mut self) {
        let rows = &self.profile.threads;
        self.length(rows.len());
        let mut next = Next::default();
        self.column(rows, |w, row| next.write(&mut w.out, row.process));
        let mut tid = Near::default();
        self.column(rows, |w, row| tid.write(&mut w.out, row.tid.into()));
        self.column(rows, |w, row| w.text(&row.name));
    }

    fn functions(&mut self) {
        let rows = &self.profile.functions;
        self.length(rows.len());
        self.column(rows, |w, row| w.text(&row.name));
        self.column(rows, |w, row| {
            w.texts
                .write_unless(&mut w.out, &row.system_name, &row.name);
        });
        self.column(rows, |w, row| w.text(&row.file));
        self.column(rows, |w, row| w.number(row.start_line));
    }

    fn mappings(&mut self) {
        let rows = &self.profile.mappings;
        self.length(rows.len());
        self.column(rows, |w, row| w.text(&row.file));
        self.column(rows, |w, row| w.number(row.memory_start));
        self.column(rows, |w, row| {
            w.number(row.memory_limit.wrapping_sub(row.memory_start));
        });
        self.column(rows, |w, row| w.number(row.file_offset));
        self.column(rows, |w, row| {
            let bytes = row.build_id.as_ref().map_or(&[][..], BuildId::as_bytes);
            w.length(bytes.len());
            w.out.extend_from_slice(bytes);
        });
        self.column(rows, |w, row| {
            w.number(row.htl_hash.is_some());
            w.out.extend(row.htl_hash.iter().flat_map(|hash| hash.0));
        });
    }

    fn locations(&mut self) {
        let Profile {
            functions,
            mappings,
            locations: rows,
            ..
        } = self.profile;
        self.length(rows.len());
        self.column(rows, |w, row| {
            w.number(row.mapping.map_or(0, |index| u64::from(index.0) + 1));
        });
        let mut near: Vec<Near> = Vec::new();
        near.resize_with(mappings.len() + 1, Near::default);
        self.column(rows, |w, row| {
            let mapping = row.mapping.map_or(0, |index| index.0 as usize + 1);
            near[mapping].write(&mut w.out, row.address);
        });
        self.column(rows, |w, row| w.text(row.frame_type.name()));
        self.column(rows, |w, row| w.text(kind_name(row)));
        self.column(rows, |w, row| w.length(row.lines.len()));
        let lines = || rows.iter().flat_map(|row| &row.lines);
        let mut next = Next::default();
        for line in lines() {
            next.write(&mut self.out, line.function.0);
        }
        for line in lines() {
            let first = functions[line.function.0 as usize].start_line;
            signed(&mut self.out, line.line.into(), first.into());
        }
        for line in lines() {
            self.number(line.column);
        }
    }

    fn label_sets(&mut self) {
        let rows = &self.profile.label_sets;
        self.length(rows.len());
        self.column(rows, |w, row| w.number(row.goroutine.is_some()));
        let mut near = Near::default();
        for goroutine in rows.iter().filter_map(|row| row.goroutine) {
            near.write(&mut self.out, goroutine);
        }
        self.column(rows, |w, row| w.length(row.labels.len()));
        let labels = || rows.iter().flat_map(|row| &row.labels);
        for label in labels() {
            self.text(&label.key);
        }
        for label in labels() {
            self.text(&label.value);
        }
    }

    fn stacks(&mut self) {
        let stacks = &self.profile.stacks;
        self.length(stacks.len());
        let (mut added, mut locations) = (Vec::new(), Vec::new());
        let mut next = Next::default();
        let mut before: &[LocationIndex] = &[];
        for index in 0..stacks.len() {
            let stack = stacks.get(StackIndex(index as u32));
            let outermost = stack.iter().rev().zip(before.iter().rev());
            let shared = outermost.take_while(|(frame, other)| frame == other);
            let shared = shared.count();
            self.length(shared);
            number(&mut added, (stack.len() - shared) as u64);
            for location in stack.iter().rev().skip(shared) {
                next.write(&mut locations, location.0);
            }
            before = stack;
        }
        self.out.extend(added);
        self.out.extend(locations);
    }

    fn samples(&mut self) {
        let Profile {
            samples: rows,
            kind,
            ..
        } = self.profile;
        let links = self.links();
        self.length(rows.len());
        self.column(rows, |w, row| w.number(row.thread.0));
        let mut next = Next::default();
        self.column(rows, |w, row| next.write(&mut w.out, row.stack.0));
        self.column(rows, |w, row| w.number(row.labels.0));
        for link in links {
            self.number(link);
        }
        self.column(rows, |w, row| w.number(row.count));
        let quantum = kind.quantum();
        self.column(rows, |w, row| {
            signed(&mut w.out, row.value, row.count.wrapping_mul(quantum));
        });
        self.column(rows, |w, row| {
            signed(&mut w.out, row.occurrences.len() as u64, row.count);
        });
        self.column(rows, |w, row| w.number(form(row) as u8));
        let mut first = Near::default();
        self.column(rows, |w, row| {
            let Some((time, others)) = row.occurrences.times().split_first() else {
                return;
            };
            first.write(&mut w.out, time.0);
            let mut before = time.0;
            for time in others {
                signed(&mut w.out, time.0, before);
                before = time.0;
            }
        });
        self.column(rows, |w, row| match (form(row), row.occurrences.each()) {
            (Form::Share, _) => {}
            (_, Some(each)) => w.number(each),
            (_, None) => {
                for (_, value) in row.occurrences.iter() {
                    w.number(value);
                }
            }
        });
    }

    /// Writes the distinct links; that of each sample, plus one.
    fn links(&mut self) -> Vec<u64> {
        let mut links: Distinct<Link> = Distinct::default();
        let samples = self.profile.samples.iter();
        let of_samples = samples
            .map(|sample| {
                sample
                    .link
                    .map_or(0, |link| u64::from(links.intern(link)) + 1)
            })
            .collect();
        let links = links.into_values();
        self.length(links.len());
        self.column(&links, |w, link| w.out.extend(link.trace_id));
        self.column(&links, |w, link| w.out.extend(link.span_id));
        of_samples
    }

    fn outcomes(&mut self) {
        let rows = &self.profile.outcomes;
        self.length(rows.len());
        let occurs = |outcome: &Outcome| rows.iter().any(|row| row.of(*outcome) > 0);
        let outcomes: Vec<Outcome> = Outcome::ALL.into_iter().filter(occurs).collect();
        self.length(outcomes.len());
        for outcome in outcomes {
            self.text(outcome.name());
            self.column(rows, |w, row| w.number(row.of(outcome)));
        }
    }

    fn losses(&mut self) {
        let losses = &self.profile.losses;
        self.length(losses.named().count());
        for (name, count) in losses.named() {
            self.text(name);
            self.number(count);
        }
    }
}

fn kind_name(location: &Location) -> &'static str {
    match location.kind {
        LocationKind::Named => super::NAMED,
        LocationKind::Unnamed => super::UNNAMED,
        LocationKind::StackEnd(outcome) => outcome.name(),
    }
}

/// How the values of a sample's occurrences are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Each has its share of the sample's value; none where there are no occurrences.
    Share = 0,
    /// One number for all.
    Equal = 1,
    /// One for each.
    Own = 2,
}

fn form(sample: &ProfileSample) -> Form {
    let Some(each) = sample.occurrences.each() else {
        return Form::Own;
    };
    match super::share(sample.value, sample.occurrences.len()) == Some(each) {
        true => Form::Share,
        false => Form::Equal,
    }
}

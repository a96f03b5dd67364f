//! Summaries of windows as a list of services with time lines.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::Serialize;

use super::narrowed::NarrowedSpan;
use super::query::Selection;
use crate::profile::{ArchivedWindow, ProcessTotal, ProfileKind, WindowSummary, samples_of};

/// Services of an answer.
const MAX_SERVICES: usize = 500;
/// Processes that are listed of a service.
const MAX_PROCESSES: usize = 100;
/// Processes that are told apart while windows are added; later ones count as the rest.
const MAX_DISTINCT: usize = 20_000;

/// The list. Numbers are samples.
#[derive(Debug, Serialize)]
pub(super) struct ServiceList {
    from: u64,
    until: u64,
    /// CPU time that one sample stands for, in ns.
    period_ns: u64,
    /// What is measured.
    r#type: &'static str,
    windows: u64,
    /// Length of all windows together, in seconds.
    window_seconds: f64,
    samples: u64,
    /// Samples per part of the range; null where no window lies.
    timeline: Vec<Option<f64>>,
    services: Vec<ServiceRow>,
    /// Samples of processes that are not listed.
    rest_samples: u64,
    /// How stacks ended.
    outcomes: BTreeMap<String, u64>,
    /// What was lost.
    losses: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct ServiceRow {
    name: String,
    samples: u64,
    timeline: Vec<f64>,
    process_count: usize,
    processes: Vec<ProcessRow>,
}

#[derive(Debug, Serialize)]
struct ProcessRow {
    pid: u32,
    comm: String,
    samples: u64,
}

/// The points of a time line.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLine {
    /// ns since 1970.
    from: u64,
    /// Length of the range between two points in ns.
    width: f64,
    points: usize,
}

impl TimeLine {
    /// As many points over the selection's range.
    pub(super) fn new(selection: &Selection, points: usize) -> Self {
        let from = selection.from.0;
        Self {
            from,
            width: (selection.until.0 - from) as f64 / points as f64,
            points,
        }
    }

    /// The point that a window lies at, if it is one.
    pub(super) fn point(&self, window: &ArchivedWindow) -> Option<usize> {
        match *self.parts(window) {
            [(point, part)] if (part - 1.0).abs() < f64::EPSILON => Some(point),
            _ => None,
        }
    }

    /// The points that a window lies at, each with the part of the window that does.
    fn parts(&self, window: &ArchivedWindow) -> Vec<(usize, f64)> {
        let place = |time: u64| (i128::from(time) - i128::from(self.from)) as f64 / self.width;
        let (start, end) = (place(window.start.0), place(window.end.0));
        let last = self.points - 1;
        let first = (start.max(0.0) as usize).min(last);
        if end - start < 1e-9 {
            return vec![(first, 1.0)];
        }
        (first..=(end.max(0.0) as usize).min(last))
            .filter_map(|point| {
                let overlap = end.min(point as f64 + 1.0) - start.max(point as f64);
                (overlap > 0.0).then_some((point, overlap / (end - start)))
            })
            .collect()
    }
}

/// The list while windows are added.
pub(super) struct ServiceListBuilder<'a> {
    selection: &'a Selection,
    line: TimeLine,
    /// Time that one sample stands for, in ns.
    quantum: Option<u64>,
    /// Windows of each kind, and their lengths added up, in seconds: those of several kinds are of the same time.
    windows: [(u64, f64); ProfileKind::ALL.len()],
    /// Time, in ns, as all that follows: windows may be of different rates.
    time: u64,
    timeline: Vec<Option<f64>>,
    services: HashMap<Box<str>, Service>,
    distinct: usize,
    rest: u64,
    outcomes: BTreeMap<String, u64>,
    losses: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Service {
    time: u64,
    timeline: Vec<f64>,
    processes: HashMap<(u32, Box<str>), u64>,
}

impl<'a> ServiceListBuilder<'a> {
    /// The empty list over the selection's range, with this time line.
    pub(super) fn new(selection: &'a Selection, line: TimeLine) -> Self {
        Self {
            selection,
            line,
            quantum: None,
            windows: Default::default(),
            time: 0,
            timeline: vec![None; line.points],
            services: HashMap::new(),
            distinct: 0,
            rest: 0,
            outcomes: BTreeMap::new(),
            losses: BTreeMap::new(),
        }
    }

    /// Adds a window.
    pub(super) fn add(&mut self, window: &ArchivedWindow) {
        let summary = &window.summary;
        let quantum = summary.kind.quantum();
        // Samples of CPU time are those of the first window; of time off a CPU each nanosecond is one.
        self.quantum.get_or_insert(match self.selection.kind {
            ProfileKind::OnCpu => quantum,
            ProfileKind::OffCpu | ProfileKind::Wall => 1,
        });
        let parts = self.line.parts(window);
        let (windows, seconds) = &mut self.windows[summary.kind.kind as usize];
        *windows += 1;
        *seconds += window.end.since(window.start).as_secs_f64();
        self.samples(summary, quantum, &parts);
        for (counts, sums) in [
            (&summary.outcomes, &mut self.outcomes),
            (&summary.losses, &mut self.losses),
        ] {
            for count in counts {
                let sum = sums.entry(count.name.to_string()).or_insert(0u64);
                *sum = sum.saturating_add(count.count);
            }
        }
    }

    /// Adds samples of windows that were added without any: all of them lie at one point.
    pub(super) fn add_span(&mut self, span: &NarrowedSpan) {
        self.samples(&span.summary, 1, &[(span.point, 1.0)]);
    }

    /// Adds the samples of a summary, each of which stands for `quantum` ns.
    fn samples(&mut self, summary: &WindowSummary, quantum: u64, parts: &[(usize, f64)]) {
        let mut shown = 0u64;
        for process in &summary.processes {
            if !self.keeps(process) {
                continue;
            }
            let time = process.samples.saturating_mul(quantum);
            shown = shown.saturating_add(time);
            self.process(process, time, parts);
        }
        if self.selection.filter.is_every_process() {
            let time = summary.rest_samples.saturating_mul(quantum);
            shown = shown.saturating_add(time);
            self.rest = self.rest.saturating_add(time);
        }
        self.time = self.time.saturating_add(shown);
        for (point, part) in parts {
            *self.timeline[*point].get_or_insert(0.0) += shown as f64 * part;
        }
    }

    fn keeps(&self, process: &ProcessTotal) -> bool {
        let filter = &self.selection.filter;
        filter
            .service
            .as_deref()
            .is_none_or(|name| *name == *process.service)
            && filter.pid.is_none_or(|pid| pid == process.pid)
            && filter
                .comm
                .as_deref()
                .is_none_or(|comm| *comm == *process.comm)
    }

    fn process(&mut self, process: &ProcessTotal, time: u64, parts: &[(usize, f64)]) {
        if self.distinct >= MAX_DISTINCT && !self.services.contains_key(&process.service) {
            self.rest = self.rest.saturating_add(time);
            return;
        }
        let service = self.services.entry(process.service.clone()).or_default();
        service.timeline.resize(self.line.points, 0.0);
        service.time = service.time.saturating_add(time);
        for (point, part) in parts {
            service.timeline[*point] += time as f64 * part;
        }
        let key = (process.pid, process.comm.clone());
        if let Some(sum) = service.processes.get_mut(&key) {
            *sum = sum.saturating_add(time);
        } else if self.distinct < MAX_DISTINCT {
            self.distinct += 1;
            service.processes.insert(key, time);
        }
    }

    /// The list: most samples first.
    pub(super) fn finish(self) -> ServiceList {
        let quantum = self.quantum.unwrap_or(1_000_000_000);
        let samples = |time: u64| samples_of(time, quantum);
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let point = |time: f64| rounded(time / quantum as f64);
        let mut services: Vec<ServiceRow> = self
            .services
            .into_iter()
            .map(|(name, service)| {
                let mut processes: Vec<ProcessRow> = service
                    .processes
                    .into_iter()
                    .map(|((pid, comm), time)| ProcessRow {
                        pid,
                        comm: comm.into(),
                        samples: samples(time),
                    })
                    .collect();
                processes.sort_by(|a, b| {
                    let more = b.samples.cmp(&a.samples);
                    more.then_with(|| (a.pid, &a.comm).cmp(&(b.pid, &b.comm)))
                });
                let process_count = processes.len();
                processes.truncate(MAX_PROCESSES);
                ServiceRow {
                    name: name.into(),
                    samples: samples(service.time),
                    timeline: service.timeline.into_iter().map(point).collect(),
                    process_count,
                    processes,
                }
            })
            .collect();
        services.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.name.cmp(&b.name)));
        let cut = services.split_off(services.len().min(MAX_SERVICES));
        let rest = cut.iter().map(|service| service.samples);
        let rest = rest.fold(samples(self.rest), u64::saturating_add);
        ServiceList {
            from: self.selection.from.0 / 1_000_000,
            until: self.selection.until.0 / 1_000_000,
            r#type: self.selection.kind.name(),
            period_ns: quantum,
            windows: self
                .windows
                .iter()
                .map(|(windows, _)| *windows)
                .max()
                .unwrap_or(0),
            window_seconds: rounded(
                self.windows
                    .iter()
                    .fold(0.0, |most, (_, seconds)| most.max(*seconds)),
            ),
            samples: samples(self.time),
            timeline: self
                .timeline
                .into_iter()
                .map(|time| time.map(point))
                .collect(),
            services,
            rest_samples: rest,
            outcomes: self.outcomes,
            losses: self.losses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::filter::Filter;
    use crate::profile::{NamedCount, SampleKind, UnixTime, WindowId};

    #[test]
    fn sums_end_at_the_largest_number() {
        let selection = Selection {
            kind: ProfileKind::OffCpu,
            from: UnixTime(0),
            until: UnixTime(10),
            window: None,
            filter: Filter::default(),
        };
        let line = TimeLine::new(&selection, 1);
        let mut list = ServiceListBuilder::new(&selection, line);
        let process = |pid: u32| ProcessTotal {
            pid,
            service: format!("service{pid}").into(),
            comm: "comm".into(),
            samples: u64::MAX - 1,
        };
        for id in 0..2 {
            list.add(&ArchivedWindow {
                id: WindowId(id),
                start: UnixTime(0),
                end: UnixTime(10),
                bytes: 1,
                summary: WindowSummary {
                    kind: SampleKind::OFF_CPU,
                    samples: u64::MAX,
                    // Two more than are listed.
                    processes: (0..MAX_SERVICES as u32 + 2).map(process).collect(),
                    rest_processes: 1,
                    rest_samples: 5,
                    outcomes: Vec::new(),
                    losses: vec![NamedCount {
                        name: "ring_full".into(),
                        count: u64::MAX - 1,
                    }],
                },
            });
        }
        let list = list.finish();
        assert_eq!(list.losses["ring_full"], u64::MAX);
        assert_eq!((list.samples, list.rest_samples), (u64::MAX, u64::MAX));
    }
}

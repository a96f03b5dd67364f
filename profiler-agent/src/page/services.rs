//! Summaries of windows as a list of services with time lines.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::Serialize;

use super::narrowed::NarrowedSpan;
use super::query::Selection;
use crate::profile::{ArchivedWindow, ProcessTotal, ProfileKind, WindowSummary};

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
    samples: u64,
    timeline: Vec<Option<f64>>,
    services: HashMap<Box<str>, Service>,
    distinct: usize,
    rest_samples: u64,
    outcomes: BTreeMap<String, u64>,
    losses: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Service {
    samples: u64,
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
            samples: 0,
            timeline: vec![None; line.points],
            services: HashMap::new(),
            distinct: 0,
            rest_samples: 0,
            outcomes: BTreeMap::new(),
            losses: BTreeMap::new(),
        }
    }

    /// Adds a window.
    pub(super) fn add(&mut self, window: &ArchivedWindow) {
        let summary = &window.summary;
        let scale = self.scale(summary);
        let parts = self.line.parts(window);
        let (windows, seconds) = &mut self.windows[summary.kind.kind as usize];
        *windows += 1;
        *seconds += window.end.since(window.start).as_secs_f64();
        self.samples(summary, scale, &parts);
        for (counts, sums) in [
            (&summary.outcomes, &mut self.outcomes),
            (&summary.losses, &mut self.losses),
        ] {
            for count in counts {
                *sums.entry(count.name.to_string()).or_default() += count.count;
            }
        }
    }

    /// Adds samples of windows that were added without any: all of them lie at one point.
    pub(super) fn add_span(&mut self, span: &NarrowedSpan) {
        let scale = self.scale(&span.summary);
        self.samples(&span.summary, scale, &[(span.point, 1.0)]);
    }

    /// How many samples of the list one of a summary is. Samples of CPU time are those of the first window, of time off a
    /// CPU each nanosecond is one.
    fn scale(&mut self, summary: &WindowSummary) -> f64 {
        let quantum = summary.kind.quantum();
        let of_list = *self.quantum.get_or_insert(match self.selection.kind {
            ProfileKind::OnCpu => quantum,
            ProfileKind::OffCpu | ProfileKind::Wall => 1,
        });
        quantum as f64 / of_list as f64
    }

    fn samples(&mut self, summary: &WindowSummary, scale: f64, parts: &[(usize, f64)]) {
        let scaled = |samples: u64| (samples as f64 * scale).round() as u64;
        let mut shown = 0.0;
        for process in &summary.processes {
            if !self.keeps(process) {
                continue;
            }
            shown += process.samples as f64 * scale;
            self.process(process, scaled(process.samples), parts);
        }
        if self.selection.filter.is_every_process() {
            shown += summary.rest_samples as f64 * scale;
            self.rest_samples += scaled(summary.rest_samples);
        }
        self.samples += shown.round() as u64;
        for (point, part) in parts {
            *self.timeline[*point].get_or_insert(0.0) += shown * part;
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

    fn process(&mut self, process: &ProcessTotal, samples: u64, parts: &[(usize, f64)]) {
        if self.distinct >= MAX_DISTINCT && !self.services.contains_key(&process.service) {
            self.rest_samples += samples;
            return;
        }
        let service = self.services.entry(process.service.clone()).or_default();
        service.timeline.resize(self.line.points, 0.0);
        service.samples += samples;
        for (point, part) in parts {
            service.timeline[*point] += samples as f64 * part;
        }
        let key = (process.pid, process.comm.clone());
        if let Some(sum) = service.processes.get_mut(&key) {
            *sum += samples;
        } else if self.distinct < MAX_DISTINCT {
            self.distinct += 1;
            service.processes.insert(key, samples);
        }
    }

    /// The list: most samples first.
    pub(super) fn finish(self) -> ServiceList {
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let mut services: Vec<ServiceRow> = self
            .services
            .into_iter()
            .map(|(name, service)| {
                let mut processes: Vec<ProcessRow> = service
                    .processes
                    .into_iter()
                    .map(|((pid, comm), samples)| ProcessRow {
                        pid,
                        comm: comm.into(),
                        samples,
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
                    samples: service.samples,
                    timeline: service.timeline.into_iter().map(rounded).collect(),
                    process_count,
                    processes,
                }
            })
            .collect();
        services.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.name.cmp(&b.name)));
        let cut = services.split_off(services.len().min(MAX_SERVICES));
        let rest: u64 = cut.iter().map(|service| service.samples).sum();
        ServiceList {
            from: self.selection.from.0 / 1_000_000,
            until: self.selection.until.0 / 1_000_000,
            r#type: self.selection.kind.name(),
            period_ns: self.quantum.unwrap_or(1_000_000_000),
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
            samples: self.samples,
            timeline: self
                .timeline
                .into_iter()
                .map(|point| point.map(rounded))
                .collect(),
            services,
            rest_samples: self.rest_samples + rest,
            outcomes: self.outcomes,
            losses: self.losses,
        }
    }
}

//! One trace, or one span: the services that it touched, its spans, and when its samples were taken.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use serde::Serialize;

use super::filter::Filter;
use crate::profile::hexadecimal::text_of;
use crate::profile::{Link, Profile, ProfileKind, ProfileSample, THREAD_STATE, UnixTime};

/// The label that names a sample's span.
const SPAN_NAME: &str = "span_name";
/// Services that are told apart.
const MAX_SERVICES: usize = 200;
/// Spans that are told apart.
const MAX_SPANS: usize = 2_000;
/// Times of samples that are told.
const MAX_TIMES: usize = 20_000;
/// Traces that are named where a span is asked for.
const MAX_TRACES: usize = 100;

/// The answer. Times are ms since 1970, with fractions.
#[derive(Debug, Serialize)]
pub(super) struct TraceAnswer {
    /// The traces that the samples belong to.
    traces: Vec<String>,
    /// First and last known time of a sample, or the windows' where no time is known; none without samples.
    from: Option<f64>,
    until: Option<f64>,
    samples: u64,
    #[serde(flatten)]
    time: Time,
    /// Windows that have samples of it.
    windows: usize,
    services: Vec<ServiceRow>,
    spans: Vec<SpanRow>,
    times: Vec<TimeRow>,
    /// Samples of services or spans that are not listed, or whose time is not.
    rest_samples: u64,
}

#[derive(Debug, Serialize)]
struct ServiceRow {
    name: String,
    samples: u64,
    #[serde(flatten)]
    time: Time,
    processes: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct SpanRow {
    span_id: String,
    trace_id: String,
    /// The label `span_name`; empty where there is none.
    name: String,
    services: Vec<usize>,
    samples: u64,
    #[serde(flatten)]
    time: Time,
    from: Option<f64>,
    until: Option<f64>,
}

#[derive(Debug, Serialize)]
struct TimeRow {
    time: f64,
    /// How long the thread was off a CPU from then on; 0: it ran.
    off_cpu_ns: u64,
    service: usize,
    span: usize,
}

/// Time on CPUs and off them, in ns.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Time {
    cpu_ns: u64,
    off_cpu_ns: u64,
}

impl Time {
    const fn of(is_off_cpu: bool, nanoseconds: u64) -> Self {
        let (cpu_ns, off_cpu_ns) = match is_off_cpu {
            true => (0, nanoseconds),
            false => (nanoseconds, 0),
        };
        Self { cpu_ns, off_cpu_ns }
    }

    const fn add(&mut self, other: Self) {
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.off_cpu_ns = self.off_cpu_ns.saturating_add(other.off_cpu_ns);
    }
}

/// The answer while profiles are added.
#[derive(Debug, Default)]
pub(super) struct TraceBuilder {
    services: Vec<Service>,
    by_service: HashMap<Box<str>, usize>,
    spans: Vec<Span>,
    by_span: HashMap<Link, usize>,
    /// When each sample begins, how long it is off a CPU, service and span.
    times: Vec<(UnixTime, u64, usize, usize)>,
    windows: usize,
    /// Of the windows that have samples.
    extent: Option<(UnixTime, UnixTime)>,
    samples: u64,
    time: Time,
    rest_samples: u64,
}

#[derive(Debug)]
struct Service {
    name: Box<str>,
    samples: u64,
    time: Time,
    processes: HashSet<u32>,
}

#[derive(Debug)]
struct Span {
    link: Link,
    name: Arc<str>,
    services: Vec<usize>,
    samples: u64,
    time: Time,
    extent: Option<(UnixTime, UnixTime)>,
}

fn widen(extent: &mut Option<(UnixTime, UnixTime)>, from: UnixTime, until: UnixTime) {
    let (first, last) = extent.unwrap_or((from, until));
    *extent = Some((first.min(from), last.max(until)));
}

impl TraceBuilder {
    /// Adds the samples of a window that `filter` keeps and that belong to a request.
    pub(super) fn add(&mut self, profile: &Profile, filter: &Filter) {
        let wanted = filter.over(profile);
        let before = self.samples;
        for sample in &profile.samples {
            if let Some(link) = sample.link.filter(|_| wanted.keeps(sample)) {
                self.sample(profile, sample, link);
            }
        }
        if self.samples > before {
            self.windows += 1;
            widen(&mut self.extent, profile.start, profile.end);
        }
    }

    fn sample(&mut self, profile: &Profile, sample: &ProfileSample, link: Link) {
        let set = profile.label_sets.get(sample.labels.0 as usize);
        let is_off_cpu = match profile.kind.kind {
            ProfileKind::OnCpu => false,
            ProfileKind::OffCpu => true,
            ProfileKind::Wall => set.is_some_and(|set| set.get(THREAD_STATE).is_some()),
        };
        let time = Time::of(is_off_cpu, sample.value);
        self.samples = self.samples.saturating_add(sample.count);
        self.time.add(time);
        let thread = &profile.threads[sample.thread.0 as usize];
        let process = &profile.processes[thread.process as usize];
        let name = set.and_then(|set| set.get(SPAN_NAME)).unwrap_or_default();
        let places = self
            .service(process.service())
            .and_then(|service| Some((service, self.span(link, name)?)));
        let Some((service, span)) = places else {
            self.rest_samples = self.rest_samples.saturating_add(sample.count);
            return;
        };
        let of_service = &mut self.services[service];
        of_service.samples = of_service.samples.saturating_add(sample.count);
        of_service.time.add(time);
        of_service.processes.insert(process.key.pid);
        let of_span = &mut self.spans[span];
        of_span.samples = of_span.samples.saturating_add(sample.count);
        of_span.time.add(time);
        if !of_span.services.contains(&service) {
            of_span.services.push(service);
        }
        let room = MAX_TIMES - self.times.len();
        let occurrences = &sample.occurrences;
        let untold = sample.count - (occurrences.len().min(room) as u64).min(sample.count);
        self.rest_samples = self.rest_samples.saturating_add(untold);
        for (end, value) in occurrences.iter().take(room) {
            // Off a CPU the thread was until then.
            let off_cpu_ns = if is_off_cpu { value } else { 0 };
            let begin = UnixTime(end.0.saturating_sub(off_cpu_ns));
            widen(&mut of_span.extent, begin, end);
            self.times.push((begin, off_cpu_ns, service, span));
        }
    }

    fn service(&mut self, name: &str) -> Option<usize> {
        if let Some(known) = self.by_service.get(name) {
            return Some(*known);
        }
        let next = self.services.len();
        if next >= MAX_SERVICES {
            return None;
        }
        self.by_service.insert(name.into(), next);
        self.services.push(Service {
            name: name.into(),
            samples: 0,
            time: Time::default(),
            processes: HashSet::new(),
        });
        Some(next)
    }

    fn span(&mut self, link: Link, name: &str) -> Option<usize> {
        let next = self.spans.len();
        match self.by_span.get(&link) {
            Some(known) => {
                let known = *known;
                if self.spans[known].name.is_empty() {
                    self.spans[known].name = name.into();
                }
                Some(known)
            }
            None if next >= MAX_SPANS => None,
            None => {
                self.by_span.insert(link, next);
                self.spans.push(Span {
                    link,
                    name: name.into(),
                    services: Vec::new(),
                    samples: 0,
                    time: Time::default(),
                    extent: None,
                });
                Some(next)
            }
        }
    }

    /// The answer: services and spans by samples, the most first, times in their order.
    pub(super) fn finish(mut self) -> TraceAnswer {
        let services = order(&self.services, |a, b| {
            b.samples.cmp(&a.samples).then_with(|| a.name.cmp(&b.name))
        });
        let spans = order(&self.spans, |a, b| {
            let first = |span: &Span| span.extent.map(|(first, _)| first);
            let by_time = first(a).cmp(&first(b));
            b.samples.cmp(&a.samples).then(by_time)
        });
        self.times.sort_unstable();
        let ends = self.times.iter();
        let last = ends
            .map(|(begin, off_cpu_ns, ..)| UnixTime(begin.0 + off_cpu_ns))
            .max();
        let told = self
            .times
            .first()
            .map(|(first, ..)| *first)
            .zip(last)
            .or(self.extent);
        let mut traces: Vec<[u8; 16]> = self.spans.iter().map(|span| span.link.trace_id).collect();
        traces.retain(|id| *id != [0; 16]);
        traces.sort_unstable();
        traces.dedup();
        TraceAnswer {
            traces: traces
                .iter()
                .take(MAX_TRACES)
                .map(|id| text_of(id))
                .collect(),
            from: told.map(|(from, _)| milliseconds(from)),
            until: told.map(|(_, until)| milliseconds(until)),
            samples: self.samples,
            time: self.time,
            windows: self.windows,
            services: services
                .sorted
                .iter()
                .map(|index| service_row(&self.services[*index]))
                .collect(),
            spans: spans
                .sorted
                .iter()
                .map(|index| span_row(&self.spans[*index], &services.places))
                .collect(),
            times: self
                .times
                .iter()
                .map(|(time, off_cpu_ns, service, span)| TimeRow {
                    time: milliseconds(*time),
                    off_cpu_ns: *off_cpu_ns,
                    service: services.places[*service],
                    span: spans.places[*span],
                })
                .collect(),
            rest_samples: self.rest_samples,
        }
    }
}

/// Indices in their new order, and the new place of each.
struct Order {
    sorted: Vec<usize>,
    places: Vec<usize>,
}

fn order<T>(values: &[T], compare: impl Fn(&T, &T) -> std::cmp::Ordering) -> Order {
    let mut sorted: Vec<usize> = (0..values.len()).collect();
    sorted.sort_by(|a, b| compare(&values[*a], &values[*b]));
    let mut places = vec![0; values.len()];
    for (place, index) in sorted.iter().enumerate() {
        places[*index] = place;
    }
    Order { sorted, places }
}

fn service_row(service: &Service) -> ServiceRow {
    let mut processes: Vec<u32> = service.processes.iter().copied().collect();
    processes.sort_unstable();
    ServiceRow {
        name: service.name.to_string(),
        samples: service.samples,
        time: service.time,
        processes,
    }
}

fn span_row(span: &Span, places: &[usize]) -> SpanRow {
    let mut services: Vec<usize> = span.services.iter().map(|index| places[*index]).collect();
    services.sort_unstable();
    SpanRow {
        span_id: text_of(&span.link.span_id),
        trace_id: text_of(&span.link.trace_id),
        name: span.name.to_string(),
        services,
        samples: span.samples,
        time: span.time,
        from: span.extent.map(|(from, _)| milliseconds(from)),
        until: span.extent.map(|(_, until)| milliseconds(until)),
    }
}

fn milliseconds(time: UnixTime) -> f64 {
    (time.0 / 1_000) as f64 / 1_000.0
}

//! A [`Reading`] as the values of metrics: what every way to hand them out begins with.

use std::time::Duration;

use super::metric::Metric;
use super::otlp::Signal;
use super::reading::{KernelReading, Reading};
use crate::profile::delivery::{Attempts, BreakerState, Latencies};
use crate::profile::loss::Counts;
use crate::profile::{Degradation, DeliveryCause, SampleLoss};
use profiler_common::unwind::Outcome;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// A number.
    Amount(f64),
    /// A distribution.
    Latency(Latencies),
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The values of its labels, in the order of [`Metric::labels`].
    pub labels: Vec<String>,
    /// The value.
    pub value: Value,
}

/// A metric with its values: none where there is nothing to count.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Which one.
    pub metric: Metric,
    /// Its values; no two have the same labels.
    pub points: Vec<Point>,
}

fn point<const N: usize>(labels: [&str; N], value: Value) -> Point {
    Point {
        labels: labels.map(str::to_owned).to_vec(),
        value,
    }
}

/// The programs whose runs the kernel counts: name, runs, and how long they took.
fn programs(kernel: &KernelReading) -> impl Iterator<Item = (&'static str, u64, Duration)> {
    let named = [("sample", kernel.runs), ("off_cpu", kernel.off_cpu_runs)];
    let counted = named.into_iter();
    counted.filter_map(|(name, runs)| runs.map(|(runs, took)| (name, runs, took)))
}

/// The values of every metric, in the order of [`Metric::ALL`].
#[must_use]
pub fn families(reading: &Reading) -> Vec<Family> {
    Metric::ALL
        .iter()
        .map(|metric| Family {
            metric: *metric,
            points: points(*metric, reading),
        })
        .collect()
}

/// The values of one metric.
#[must_use]
pub fn points(metric: Metric, reading: &Reading) -> Vec<Point> {
    let one = |value| vec![point([], value)];
    let count = |count| one(Value::Count(count));
    let amount = |amount| one(Value::Amount(amount));
    match metric {
        Metric::BuildInfo => vec![point([&reading.version], Value::Count(1))],
        Metric::StartTime => amount(reading.started.as_secs_f64()),
        Metric::Ready => count(u64::from(reading.ready)),
        Metric::Healthy => count(u64::from(reading.healthy)),
        Metric::ConfigInEffect => count(u64::from(reading.config_in_effect)),
        Metric::Cpus => count(reading.cpus),
        Metric::CpusUnsampled => count(reading.cpus_unsampled),
        Metric::Processes => count(reading.processes),
        Metric::Samples => count(reading.samples),
        Metric::OpenSamples => count(reading.open_samples),
        Metric::SamplesLost => causes(SampleLoss::ALL, reading.losses.samples(), SampleLoss::name),
        Metric::Degradations => causes(
            Degradation::ALL,
            reading.losses.degradations(),
            Degradation::name,
        ),
        Metric::Windows => count(reading.windows),
        Metric::RingsReadAge => amount(reading.rings_read_age.as_secs_f64()),
        Metric::WindowCloseAge => amount(reading.window_close_age.as_secs_f64()),
        Metric::Stacks => Outcome::ALL
            .into_iter()
            .map(|outcome| {
                let count = reading.outcomes.of(outcome);
                point([outcome.name()], Value::Count(count))
            })
            .collect(),
        Metric::ExecutableStacks => executables(reading),
        Metric::SymbolLookups => vec![
            point(["hit"], Value::Count(reading.symbols.hits)),
            point(["miss"], Value::Count(reading.symbols.misses)),
        ],
        Metric::SymbolLocations => count(reading.symbols.locations),
        Metric::SymbolBytes => count(reading.symbols.name_bytes),
        Metric::SymbolIndexBytes => count(reading.symbols.index_bytes),
        Metric::TableBytes => count(reading.table_bytes),
        Metric::TablesPending => count(reading.tables_pending),
        Metric::BpfBytes => count(reading.kernel.bpf_bytes),
        Metric::RingBytes => count(reading.kernel.ring_bytes),
        Metric::KernelRuns => programs(&reading.kernel)
            .map(|(program, runs, _)| point([program], Value::Count(runs)))
            .collect(),
        Metric::KernelSeconds => programs(&reading.kernel)
            .map(|(program, _, took)| point([program], Value::Amount(took.as_secs_f64())))
            .collect(),
        Metric::StoreWindows => count(reading.store.windows),
        Metric::StoreUsed => count(reading.store.used_bytes),
        Metric::StoreSpans => count(reading.store.merged_spans),
        Metric::StoreSpanBytes => count(reading.store.merged_bytes),
        Metric::StoreMerges => {
            let merges = reading.store.merges.iter();
            merges
                .map(|(outcome, times)| point([*outcome], Value::Count(*times)))
                .collect()
        }
        Metric::StoreFile => count(reading.store.file_bytes),
        Metric::StoreLimit => count(reading.store.limit_bytes),
        Metric::StoreSamples => count(reading.store.stored_samples),
        Metric::StoreLostSamples => count(reading.store.lost_samples),
        Metric::Cpu => amount(reading.cpu.as_secs_f64()),
        Metric::Resident => count(reading.resident_bytes),
        Metric::Exports => Signal::ALL
            .into_iter()
            .zip(reading.exports)
            .flat_map(|(signal, counts)| {
                let name = signal.name();
                [
                    point([name, "delivered"], Value::Count(counts.delivered)),
                    point([name, "failed"], Value::Count(counts.failed)),
                ]
            })
            .collect(),
        Metric::SuppressedLines => count(reading.suppressed_lines),
        Metric::Delivered
        | Metric::DeliveredSamples
        | Metric::QueuedSamples
        | Metric::WaitingSamples
        | Metric::LostSamples
        | Metric::LostBytes
        | Metric::LeftSamples
        | Metric::DeliveryLosses
        | Metric::Attempts
        | Metric::AttemptSeconds
        | Metric::Waiting
        | Metric::WaitingMemory
        | Metric::WaitingAge
        | Metric::SpoolPayloads
        | Metric::SpoolBytes
        | Metric::SpoolRoom
        | Metric::SpoolAppends
        | Metric::SpoolRemovals
        | Metric::BreakerOpen => deliveries(metric, reading),
    }
}

/// Every cause, those that never occurred too: an alert needs their zero.
fn causes<C: Copy + Ord>(
    all: &[C],
    counts: &Counts<C>,
    name: impl Fn(C) -> &'static str,
) -> Vec<Point> {
    all.iter()
        .map(|cause| point([name(*cause)], Value::Count(counts.of(*cause))))
        .collect()
}

fn executables(reading: &Reading) -> Vec<Point> {
    let mut points = Vec::new();
    for executable in &reading.executables {
        let name = executable.name.as_str();
        points.push(point([name, "true"], Value::Count(executable.complete)));
        points.push(point([name, "false"], Value::Count(executable.incomplete)));
    }
    points
}

fn deliveries(metric: Metric, reading: &Reading) -> Vec<Point> {
    let mut points = Vec::new();
    for destination in &reading.destinations {
        let name = destination.name.as_str();
        let counts = &destination.counts;
        let mut add = |value| points.push(point([name], value));
        match metric {
            Metric::Delivered => add(Value::Count(counts.delivered)),
            Metric::DeliveredSamples => add(Value::Count(counts.samples)),
            Metric::WaitingSamples => add(Value::Count(counts.waiting_samples)),
            Metric::LeftSamples => add(Value::Count(counts.left)),
            Metric::Waiting => add(Value::Count(counts.waiting)),
            Metric::WaitingMemory => add(Value::Count(counts.memory.bytes)),
            Metric::WaitingAge => add(Value::Amount(destination.oldest_age.as_secs_f64())),
            Metric::SpoolPayloads => add(Value::Count(counts.disk.payloads)),
            Metric::SpoolBytes => add(Value::Count(counts.disk.bytes)),
            Metric::SpoolRoom => {
                if let Some(room) = counts.room {
                    add(Value::Count(room));
                }
            }
            Metric::SpoolAppends => add(Value::Count(counts.appended)),
            Metric::SpoolRemovals => add(Value::Count(counts.removed)),
            Metric::BreakerOpen => add(Value::Count(u64::from(
                counts.breaker == BreakerState::Open,
            ))),
            Metric::AttemptSeconds => add(Value::Latency(counts.latencies)),
            Metric::Attempts => {
                let Attempts {
                    accepted,
                    partly_rejected,
                    retry,
                    refused,
                } = counts.attempts;
                for (outcome, count) in [
                    ("accepted", accepted),
                    ("partly_rejected", partly_rejected),
                    ("retry", retry),
                    ("refused", refused),
                ] {
                    points.push(point([name, outcome], Value::Count(count)));
                }
            }
            Metric::QueuedSamples => {
                points.push(point([name, "window"], Value::Count(counts.taken)));
                points.push(point([name, "disk"], Value::Count(counts.found)));
            }
            _ => {
                for cause in DeliveryCause::ALL {
                    let loss = counts.losses.of(*cause);
                    let count = match metric {
                        Metric::LostSamples => loss.samples,
                        Metric::LostBytes => loss.bytes,
                        _ => loss.payloads,
                    };
                    points.push(point([name, cause.name()], Value::Count(count)));
                }
            }
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::example;
    use super::*;
    use crate::telemetry::metric::Kind;

    #[test]
    fn every_metric_has_values_that_fit_it() {
        for family in families(&example::reading()) {
            let name = family.metric.name();
            assert!(!family.points.is_empty(), "{name}");
            let mut seen = BTreeSet::new();
            for point in &family.points {
                assert_eq!(point.labels.len(), family.metric.labels().len(), "{name}");
                assert!(seen.insert(&point.labels), "{name}: {:?}", point.labels);
                let histogram = matches!(point.value, Value::Latency(_));
                assert_eq!(histogram, family.metric.kind() == Kind::Histogram, "{name}");
            }
        }
    }

    #[test]
    fn every_cause_is_counted_once() {
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for metric in [
            Metric::SamplesLost,
            Metric::Degradations,
            Metric::DeliveryLosses,
        ] {
            let causes: BTreeSet<String> = points(metric, &example::reading())
                .into_iter()
                .filter_map(|point| point.labels.into_iter().next_back())
                .collect();
            for cause in causes {
                *places.entry(cause).or_default() += 1;
            }
        }
        let samples = SampleLoss::ALL.iter().map(|cause| cause.name());
        let degradations = Degradation::ALL.iter().map(|cause| cause.name());
        let deliveries = DeliveryCause::ALL.iter().map(|cause| cause.name());
        for name in samples.chain(degradations).chain(deliveries) {
            assert_eq!(places.remove(name), Some(1), "{name}");
        }
        assert_eq!(places, BTreeMap::new());
    }
}

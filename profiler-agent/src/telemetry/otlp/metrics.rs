//! A [`Reading`] as instruments that are asked at each export.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

use crate::telemetry::endpoints::Subject;
use crate::telemetry::measure::{Value, points};
use crate::telemetry::metric::{Kind, Metric, Unit};
use crate::telemetry::reading::Reading;

/// Whose numbers are exported: nobody's before there is one. All instruments of an export take their values of one
/// reading.
#[derive(Clone, Default)]
pub(super) struct Observed(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    subject: Option<Arc<dyn Subject>>,
    last: Option<(Instant, Arc<Reading>)>,
}

/// Longer than an export asks, shorter than between two.
const ONE_EXPORT: Duration = Duration::from_millis(500);

impl std::fmt::Debug for Observed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl Observed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, subject: Arc<dyn Subject>) {
        *self.state() = State {
            subject: Some(subject),
            last: None,
        };
    }

    /// Lets go of what was observed.
    pub(super) fn clear(&self) {
        *self.state() = State::default();
    }

    fn now(&self) -> Option<Arc<Reading>> {
        let mut state = self.state();
        if let Some((at, reading)) = &state.last
            && at.elapsed() < ONE_EXPORT
        {
            return Some(Arc::clone(reading));
        }
        let reading = Arc::new(state.subject.as_ref()?.reading());
        state.last = Some((Instant::now(), Arc::clone(&reading)));
        Some(reading)
    }
}

/// Makes an instrument of every metric but histograms, which are recorded where they happen.
pub(super) fn observe(meter: &Meter, observed: &Observed) {
    for metric in Metric::ALL.iter().copied() {
        let readings = observed.clone();
        let name = metric.otlp_name();
        let unit = metric.unit().ucum();
        let help = metric.help();
        let whole = {
            let readings = readings.clone();
            move |instrument: &dyn AsyncInstrument<u64>| {
                for (labels, value) in values(metric, readings.now().as_deref()) {
                    instrument.observe(value as u64, &labels);
                }
            }
        };
        let real = move |instrument: &dyn AsyncInstrument<f64>| {
            for (labels, value) in values(metric, readings.now().as_deref()) {
                instrument.observe(value, &labels);
            }
        };
        match (metric.kind(), metric.unit()) {
            (Kind::Counter, Unit::Seconds) => {
                let builder = meter.f64_observable_counter(name);
                builder
                    .with_unit(unit)
                    .with_description(help)
                    .with_callback(real)
                    .build();
            }
            (Kind::Counter, _) => {
                let builder = meter.u64_observable_counter(name);
                builder
                    .with_unit(unit)
                    .with_description(help)
                    .with_callback(whole)
                    .build();
            }
            (Kind::Gauge, Unit::Seconds) => {
                let builder = meter.f64_observable_gauge(name);
                builder
                    .with_unit(unit)
                    .with_description(help)
                    .with_callback(real)
                    .build();
            }
            (Kind::Gauge, _) => {
                let builder = meter.u64_observable_gauge(name);
                builder
                    .with_unit(unit)
                    .with_description(help)
                    .with_callback(whole)
                    .build();
            }
            (Kind::Histogram, _) => {}
        }
    }
}

/// The values of a metric with their labels.
fn values(metric: Metric, reading: Option<&Reading>) -> Vec<(Vec<KeyValue>, f64)> {
    let points = reading.map(|reading| points(metric, reading));
    points
        .into_iter()
        .flatten()
        .filter_map(|point| {
            let value = match point.value {
                Value::Count(count) => count as f64,
                Value::Amount(amount) => amount,
                Value::Latency(_) => return None,
            };
            let labels = metric.labels().iter().zip(point.labels);
            let labels = labels.map(|(key, value)| KeyValue::new(*key, value));
            Some((labels.collect(), value))
        })
        .collect()
}

/// The instrument of a histogram: records nothing where metrics are not exported.
pub(in crate::telemetry) fn histogram(metric: Metric, bounds: Vec<f64>) -> Histogram<f64> {
    opentelemetry::global::meter(super::OWN)
        .f64_histogram(metric.otlp_name())
        .with_unit(metric.unit().ucum())
        .with_description(metric.help())
        .with_boundaries(bounds)
        .build()
}

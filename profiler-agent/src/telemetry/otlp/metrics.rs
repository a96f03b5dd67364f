//! A [`Reading`] as instruments that are asked at each export.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

use crate::telemetry::endpoints::Subject;
use crate::telemetry::measure::{Value, points};
use crate::telemetry::metric::{Kind, Metric, Unit};
use crate::telemetry::reading::Reading;

/// All instruments of an export take their values of one reading.
struct Readings {
    subject: Arc<dyn Subject>,
    last: Mutex<Option<(Instant, Arc<Reading>)>>,
}

/// Longer than an export asks, shorter than between two.
const ONE_EXPORT: Duration = Duration::from_millis(500);

impl Readings {
    fn now(&self) -> Arc<Reading> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, reading)) if at.elapsed() < ONE_EXPORT => Arc::clone(reading),
            _ => {
                let reading = Arc::new(self.subject.reading());
                *last = Some((Instant::now(), Arc::clone(&reading)));
                reading
            }
        }
    }
}

/// Makes an instrument of every metric but histograms, which are recorded where they happen.
pub(super) fn observe(meter: &Meter, subject: Arc<dyn Subject>) {
    let readings = Arc::new(Readings {
        subject,
        last: Mutex::new(None),
    });
    for metric in Metric::ALL.iter().copied() {
        let readings = Arc::clone(&readings);
        let name = metric.otlp_name();
        let unit = metric.unit().ucum();
        let help = metric.help();
        let whole = {
            let readings = Arc::clone(&readings);
            move |instrument: &dyn AsyncInstrument<u64>| {
                for (labels, value) in values(metric, &readings.now()) {
                    instrument.observe(value as u64, &labels);
                }
            }
        };
        let real = move |instrument: &dyn AsyncInstrument<f64>| {
            for (labels, value) in values(metric, &readings.now()) {
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
fn values(metric: Metric, reading: &Reading) -> Vec<(Vec<KeyValue>, f64)> {
    points(metric, reading)
        .into_iter()
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

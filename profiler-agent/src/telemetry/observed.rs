//! A destination whose attempts are counted, measured and traced.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tracing::Instrument as _;

use super::attempts::{AttemptOutcome, Attempts, LATENCY_BOUNDS_MS};
use super::metric::Metric;
use super::{otlp, trace};
use crate::profile::{Delivery, Destination, Payload};

/// Observes the attempts of the destination that it holds.
#[derive(Debug)]
pub struct Observed<D> {
    destination: D,
    name: String,
    attempts: Arc<Attempts>,
    seconds: Histogram<f64>,
    labels: [KeyValue; 1],
}

impl<D> Observed<D> {
    /// Counts into `attempts` from now on. Signals must have been started before.
    pub fn new(destination: D, name: &str, attempts: Arc<Attempts>) -> Self {
        let bounds = LATENCY_BOUNDS_MS.map(|bound| bound as f64 / 1000.0);
        Self {
            destination,
            name: name.to_owned(),
            attempts,
            seconds: otlp::histogram(Metric::AttemptSeconds, bounds.to_vec()),
            labels: [KeyValue::new("destination", name.to_owned())],
        }
    }
}

impl<D: Destination> Destination for Observed<D> {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        let span = trace::send(&self.name, &payload);
        let start = Instant::now();
        let attempt = self.destination.send(payload).instrument(span.clone());
        let delivery = attempt.await;
        let took = start.elapsed();
        let outcome = outcome(&delivery);
        span.record("outcome", outcome.name());
        self.attempts.add(outcome, took);
        self.seconds.record(took.as_secs_f64(), &self.labels);
        delivery
    }
}

const fn outcome(delivery: &Delivery) -> AttemptOutcome {
    match delivery {
        Delivery::Accepted => AttemptOutcome::Accepted,
        Delivery::PartlyRejected { .. } => AttemptOutcome::PartlyRejected,
        Delivery::Retry { .. } => AttemptOutcome::Retry,
        Delivery::Refused { .. } => AttemptOutcome::Refused,
    }
}

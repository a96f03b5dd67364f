//! A destination whose attempts are measured and traced.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tracing::Instrument as _;

use super::metric::Metric;
use super::{otlp, trace};
use crate::profile::delivery::Latencies;
use crate::profile::{Delivery, Destination, Payload};

/// Makes a span of every attempt of the destination that it holds, and says how long it took.
#[derive(Debug)]
pub struct Observed<D> {
    destination: D,
    name: String,
    seconds: Histogram<f64>,
    labels: [KeyValue; 1],
}

impl<D> Observed<D> {
    /// Observes from now on. Signals must have been started before.
    pub fn new(destination: D, name: &str) -> Self {
        let bounds = Latencies::BOUNDS.map(|bound| bound.as_secs_f64());
        Self {
            destination,
            name: name.to_owned(),
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
        let outcome = match &delivery {
            Delivery::Accepted => "accepted",
            Delivery::PartlyRejected { .. } => "partly_rejected",
            Delivery::Retry { .. } => "retry",
            Delivery::Refused { .. } => "refused",
        };
        span.record("outcome", outcome);
        let took = start.elapsed().as_secs_f64();
        self.seconds.record(took, &self.labels);
        delivery
    }
}

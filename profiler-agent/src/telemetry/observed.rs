//! A destination whose attempts are counted.

use std::sync::Arc;
use std::time::Instant;

use super::attempts::{AttemptOutcome, Attempts};
use crate::profile::{Delivery, Destination, Payload};

/// Counts the attempts of the destination that it holds.
#[derive(Debug)]
pub struct Observed<D> {
    destination: D,
    attempts: Arc<Attempts>,
}

impl<D> Observed<D> {
    /// Counts into `attempts` from now on.
    pub const fn new(destination: D, attempts: Arc<Attempts>) -> Self {
        Self {
            destination,
            attempts,
        }
    }
}

impl<D: Destination> Destination for Observed<D> {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        let start = Instant::now();
        let delivery = self.destination.send(payload).await;
        self.attempts.add(outcome(&delivery), start.elapsed());
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

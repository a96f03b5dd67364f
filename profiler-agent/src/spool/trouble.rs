//! Says when trouble with a destination starts and when it ends, not at each attempt.

use tokio::time::Instant;

use crate::profile::Delivery;

/// What was said.
#[derive(Debug)]
pub(super) struct Trouble {
    name: String,
    since: Option<Instant>,
}

impl Trouble {
    pub(super) fn new(name: String) -> Self {
        Self { name, since: None }
    }

    pub(super) fn note(&mut self, delivery: &Delivery) {
        let destination = &self.name;
        match delivery {
            Delivery::Accepted => {}
            Delivery::PartlyRejected { profiles, message } => {
                tracing::warn!(%destination, profiles, reason = message, "the receiver rejected profiles");
            }
            Delivery::Retry { message, .. } => {
                if self.since.is_none() {
                    tracing::warn!(%destination, reason = message, "not delivered, will be tried again");
                    self.since = Some(Instant::now());
                } else {
                    tracing::debug!(%destination, reason = message, "still not delivered");
                }
                return;
            }
            Delivery::Refused { message } => {
                tracing::warn!(%destination, reason = message, "the receiver refused a payload");
                self.since = None;
                return;
            }
        }
        if let Some(since) = self.since.take() {
            let outage = since.elapsed();
            tracing::info!(%destination, ?outage, "delivered again");
        }
    }
}

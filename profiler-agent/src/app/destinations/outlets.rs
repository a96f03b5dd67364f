//! Where the pipeline puts profiles: each destination's target and queue, as they are now.
//!
//! A destination keeps its numbers while its queue is exchanged for another one: what was handed over is delivered,
//! lost with a cause, waiting, or left on disk, in samples, at any moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::export::Target;
use crate::profile::delivery::{DeliveryCounts, Waiting};
use crate::profile::{DeliveryCause, Payload, Profile, WindowUuid};
use crate::spool;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::app) struct Outlets {
    outlets: Arc<Mutex<BTreeMap<String, Outlet>>>,
}

#[derive(Debug)]
struct Outlet {
    target: Arc<dyn Target>,
    queue: Queue,
    past: Past,
}

#[derive(Debug)]
enum Queue {
    Running(spool::Handle),
    /// The old one ends, the new one is to have what comes meanwhile.
    Changing(Held),
}

/// Payloads that wait for the queue that is to have them.
#[derive(Debug)]
struct Held {
    payloads: Vec<Payload>,
    bytes: u64,
    samples: u64,
    /// Bytes that may wait.
    limit: u64,
}

/// The queues that the destination had before.
#[derive(Debug, Default)]
struct Past {
    /// What those did that have ended.
    counts: DeliveryCounts,
    /// Those that may not have ended yet.
    ending: Vec<spool::Handle>,
}

impl Outlets {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Outlet>> {
        // No operation leaves the map inconsistent when it panics.
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes a profile for every destination and pushes it there; never waits for one.
    pub(in crate::app) fn deliver(&self, profile: &Profile, window: WindowUuid) {
        let targets: Vec<_> = self
            .lock()
            .iter()
            .map(|(name, outlet)| (name.clone(), Arc::clone(&outlet.target)))
            .collect();
        for (name, target) in targets {
            let encode = tracing::trace_span!("encode", destination = name);
            let payloads = encode.in_scope(|| target.encode(profile, window));
            // One that is not there was taken out of the configuration just now.
            if let Some(outlet) = self.lock().get_mut(&name) {
                outlet.push(payloads);
            }
        }
    }

    /// What each destination did so far.
    pub(in crate::app) fn counts(&self) -> Vec<(String, DeliveryCounts)> {
        let outlets = self.lock();
        let counts = |(name, outlet): (&String, &Outlet)| (name.clone(), outlet.counts());
        outlets.iter().map(counts).collect()
    }

    /// Holds what comes for these destinations until [`Self::run`], at most `limit` bytes of it each.
    pub(super) fn hold(&self, names: &[String], limit: u64) {
        let mut outlets = self.lock();
        for name in names {
            if let Some(outlet) = outlets.get_mut(name)
                && let Queue::Running(handle) = &outlet.queue
            {
                outlet.past.ending.push(handle.clone());
                outlet.queue = Queue::Changing(Held::new(limit));
            }
        }
    }

    /// Gives a destination this queue, and it what was held for it.
    pub(super) fn run(&self, name: &str, target: Arc<dyn Target>, handle: spool::Handle) {
        let mut outlets = self.lock();
        let mut past = Past::default();
        if let Some(before) = outlets.remove(name) {
            past = before.past;
            match before.queue {
                Queue::Running(old) => past.ending.push(old),
                Queue::Changing(held) => handle.push(held.payloads),
            }
        }
        past.fold();
        let queue = Queue::Running(handle);
        let outlet = Outlet {
            target,
            queue,
            past,
        };
        outlets.insert(name.to_owned(), outlet);
    }

    /// Takes a destination out.
    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }
}

impl Outlet {
    fn push(&mut self, payloads: Vec<Payload>) {
        match &mut self.queue {
            Queue::Running(handle) => handle.push(payloads),
            Queue::Changing(held) => {
                for payload in payloads {
                    held.push(payload, &mut self.past.counts);
                }
            }
        }
    }

    fn counts(&self) -> DeliveryCounts {
        let mut counts = match &self.queue {
            Queue::Running(handle) => handle.counts(),
            Queue::Changing(held) => held.counts(),
        };
        counts.add_past(&self.past.counts);
        for handle in &self.past.ending {
            counts.add_past(&handle.counts());
        }
        counts
    }
}

impl Held {
    const fn new(limit: u64) -> Self {
        Self {
            payloads: Vec::new(),
            bytes: 0,
            samples: 0,
            limit,
        }
    }

    /// Adds a payload, dropping the oldest ones that there is no room for then; the newest stays even if it alone is
    /// too large.
    fn push(&mut self, payload: Payload, past: &mut DeliveryCounts) {
        self.bytes += payload.bytes.len() as u64;
        self.samples += payload.samples;
        self.payloads.push(payload);
        while self.bytes > self.limit && self.payloads.len() > 1 {
            let oldest = self.payloads.remove(0);
            self.bytes -= oldest.bytes.len() as u64;
            self.samples -= oldest.samples;
            past.taken += oldest.samples;
            let bytes = oldest.bytes.len() as u64;
            past.losses
                .lose(DeliveryCause::QueueFull, oldest.samples, bytes);
        }
    }

    fn counts(&self) -> DeliveryCounts {
        DeliveryCounts {
            taken: self.samples,
            waiting_samples: self.samples,
            waiting: self.payloads.len() as u64,
            memory: Waiting {
                payloads: self.payloads.len() as u64,
                bytes: self.bytes,
            },
            oldest: self.payloads.first().map(|payload| payload.end),
            ..DeliveryCounts::default()
        }
    }
}

impl Past {
    /// Keeps of the queues that have ended what they did.
    fn fold(&mut self) {
        for ended in self.ending.extract_if(.., |handle| handle.has_ended()) {
            self.counts.add_past(&ended.counts());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Coding, DeliveryLoss, PayloadId, UnixTime};

    fn payload(samples: u64) -> Payload {
        Payload {
            id: PayloadId {
                window: WindowUuid([0; 16]),
                part: 0,
            },
            start: UnixTime(samples),
            end: UnixTime(samples + 1),
            samples,
            coding: Coding::Identity,
            raw_length: 100,
            bytes: vec![0; 100],
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_the_rest_counted() {
        let (mut held, mut past) = (Held::new(250), DeliveryCounts::default());
        for samples in 1..=4 {
            held.push(payload(samples), &mut past);
        }
        let mut counts = held.counts();
        counts.add_past(&past);
        assert_eq!(counts.taken, 1 + 2 + 3 + 4);
        assert_eq!(counts.waiting_samples, 3 + 4);
        let lost = DeliveryLoss {
            payloads: 2,
            samples: 1 + 2,
            bytes: 2 * 100,
        };
        assert_eq!(counts.losses.of(DeliveryCause::QueueFull), lost);
        assert_eq!(counts.oldest, Some(UnixTime(4)));
        assert!(counts.is_balanced());
        let mut large = Held::new(10);
        large.push(payload(7), &mut past);
        assert_eq!(large.counts().waiting_samples, 7);
    }
}

//! A queue with its payloads and its numbers, shared by whoever pushes, the disk's thread and the driver.

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::config::Config;
use super::disk::{Answer, FIRST_OF_RUN, Operation};
use super::machine::{Action, Event, Item, Moment, Outcome, Record, State};
use super::store::cost;
use crate::profile::payload::DeliveryCounts;
use crate::profile::{Delivery, DeliveryCause, Payload};

/// What the driver is to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) send: Vec<(Record, Arc<Payload>)>,
    pub(super) abandon: Vec<Record>,
    /// When to tick.
    pub(super) due: Option<Instant>,
    pub(super) ended: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
    /// There is work for the driver.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct Core {
    config: Config,
    state: State,
    /// The bytes that the state says are in memory.
    payloads: HashMap<Record, Arc<Payload>>,
    counts: DeliveryCounts,
    /// Of each payload that waits its samples and its bytes.
    samples: HashMap<Record, (u64, u64)>,
    next: Record,
    work: Work,
    /// The disk's thread; `None` before it is started and when the queue has ended.
    operations: Option<Sender<Operation>>,
    /// [`Core::base`] on the clock.
    start: Instant,
    /// The latest moment that an event happened at.
    latest: Moment,
}

impl Shared {
    pub(super) fn new(config: Config, spooled: bool) -> Self {
        let core = Core {
            state: State::new(spooled),
            payloads: HashMap::new(),
            counts: DeliveryCounts::default(),
            samples: HashMap::new(),
            next: FIRST_OF_RUN,
            work: Work::default(),
            operations: None,
            start: Instant::now(),
            latest: Moment::default(),
            config,
        };
        Self {
            core: Mutex::new(core),
            changed: Notify::new(),
        }
    }

    /// From now on the disk is asked by this way; from the end on nobody is.
    pub(super) fn ask(&self, operations: Option<Sender<Operation>>) {
        self.core().operations = operations;
    }

    pub(super) fn push(&self, payloads: impl IntoIterator<Item = Payload>) {
        for payload in payloads {
            self.core().push(payload);
        }
        self.changed.notify_one();
    }

    pub(super) fn event(&self, event: Event) {
        self.core().event(event);
        self.changed.notify_one();
    }

    /// The disk's thread said this.
    pub(super) fn answered(&self, answers: Vec<Answer>) {
        let mut core = self.core();
        for answer in answers {
            core.answered(answer);
        }
        drop(core);
        self.changed.notify_one();
    }

    /// An attempt ended.
    pub(super) fn finished(
        &self,
        record: Record,
        delivery: &Delivery,
        took: Duration,
        chance: f64,
    ) {
        self.core().finished(record, delivery, took, chance);
    }

    /// What the driver is to do, said once.
    pub(super) fn work(&self) -> Work {
        let mut core = self.core();
        let due = core.due();
        let ended = core.work.ended;
        Work {
            due,
            ended,
            ..std::mem::take(&mut core.work)
        }
    }

    pub(super) fn counts(&self) -> DeliveryCounts {
        self.core().counts()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.core().state.has_ended()
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        // The state is a value that is changed by steps that do not panic half way.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// The moment of the start: what an earlier run left can be that old.
    fn base(&self) -> Moment {
        Moment::default().plus(self.config.age)
    }

    fn push(&mut self, payload: Payload) {
        let item = Item {
            record: self.next,
            length: payload.bytes.len() as u64,
            stored: cost(payload.bytes.len() as u64),
            end: payload.end,
        };
        self.next = Record(self.next.0 + 1);
        self.counts.taken += payload.samples;
        self.waits(item.record, payload.samples, item.length);
        self.payloads.insert(item.record, Arc::new(payload));
        self.event(Event::Pushed(item));
    }

    /// These samples wait from now on, in so many bytes.
    fn waits(&mut self, record: Record, samples: u64, bytes: u64) {
        if self.samples.insert(record, (samples, bytes)).is_none() {
            self.counts.waiting_samples += samples;
        }
    }

    /// The payload does not wait any more; its samples and its bytes, where it did.
    fn leaves(&mut self, record: Record) -> (u64, u64) {
        let (samples, bytes) = self.samples.remove(&record).unwrap_or((0, 0));
        self.counts.waiting_samples -= samples;
        (samples, bytes)
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Event(event) => {
                match event {
                    Event::Appended(_) => self.counts.appended += 1,
                    Event::Removed(_) => self.counts.removed += 1,
                    _ => {}
                }
                self.event(event);
            }
            Answer::Loaded(record, payload) => {
                self.payloads.insert(record, Arc::new(payload));
                self.event(Event::Loaded(record));
                if !self.state.holds(record) {
                    self.payloads.remove(&record);
                }
            }
            Answer::Found(records) => {
                for (record, samples, bytes) in records {
                    self.counts.found += samples;
                    self.waits(record, samples, bytes);
                }
            }
            Answer::Damaged(count) => self.counts.losses.count(DeliveryCause::SpoolDamaged, count),
        }
    }

    fn finished(&mut self, record: Record, delivery: &Delivery, took: Duration, chance: f64) {
        self.counts.attempts.add(delivery);
        self.counts.latencies.add(took);
        if let Delivery::PartlyRejected { profiles, .. } = delivery {
            let losses = &mut self.counts.losses;
            losses.count(DeliveryCause::ReceiverRejected, *profiles);
        }
        let outcome = match delivery {
            Delivery::Accepted | Delivery::PartlyRejected { .. } => {
                self.counts.delivered += 1;
                self.counts.samples += self.leaves(record).0;
                Outcome::Delivered
            }
            Delivery::Refused { .. } => Outcome::Refused,
            Delivery::Retry { after, .. } => Outcome::Retry { after: *after },
        };
        self.event(Event::Finished {
            record,
            outcome,
            chance,
        });
    }

    fn event(&mut self, event: Event) {
        // Threads read the clock one after the other, but may get here the other way round.
        let now = self
            .base()
            .plus(Instant::now().saturating_duration_since(self.start));
        self.latest = self.latest.max(now);
        let actions = self.state.step(&self.config, self.latest, event);
        let mut unasked = Vec::new();
        for action in actions {
            if let Err(event) = self.act(action) {
                unasked.push(event);
            }
        }
        for event in unasked {
            self.event(event);
        }
    }

    /// Does what the queue asks for; what has become of it, where there is no disk's thread any more.
    fn act(&mut self, action: Action) -> Result<(), Event> {
        match action {
            Action::Open => self.operation(Operation::Open, Event::OpenFailed),
            Action::Append(record) => match self.payloads.get(&record).map(Arc::clone) {
                Some(payload) => {
                    let failed = Event::AppendFailed(record);
                    self.operation(Operation::Append(record, payload), failed)
                }
                None => Err(Event::AppendFailed(record)),
            },
            Action::Remove(record) => {
                self.operation(Operation::Remove(record), Event::RemoveFailed(record))
            }
            Action::Load(record) => {
                self.operation(Operation::Load(record), Event::LoadFailed(record))
            }
            Action::Send(record) => {
                let payload = self.payloads.get(&record);
                self.work
                    .send
                    .extend(payload.map(|payload| (record, Arc::clone(payload))));
                Ok(())
            }
            Action::Abandon(record) => {
                self.work.send.retain(|(other, _)| *other != record);
                self.work.abandon.push(record);
                Ok(())
            }
            Action::Forget(record) => {
                self.payloads.remove(&record);
                Ok(())
            }
            Action::Lost(record, cause) => {
                let (samples, bytes) = self.leaves(record);
                self.counts.losses.lose(cause, samples, bytes);
                Ok(())
            }
            Action::Unwritten(_) => {
                self.counts.losses.count(DeliveryCause::SpoolFailed, 1);
                Ok(())
            }
            Action::Ended => {
                self.work.ended = true;
                Ok(())
            }
        }
    }

    fn operation(&self, operation: Operation, failed: Event) -> Result<(), Event> {
        match &self.operations {
            Some(operations) => operations.send(operation).map_err(|_| failed),
            None => Err(failed),
        }
    }

    fn due(&self) -> Option<Instant> {
        let due = self.state.due(&self.config, self.latest)?;
        Some(self.start + due.since(self.base()))
    }

    fn counts(&self) -> DeliveryCounts {
        let waiting_samples = self.counts.waiting_samples;
        let (waiting_samples, left) = match self.state.has_ended() {
            true => (0, waiting_samples),
            false => (waiting_samples, 0),
        };
        DeliveryCounts {
            waiting_samples,
            left,
            waiting: self.state.waiting(),
            memory: self.state.in_memory(),
            disk: self.state.on_disk(),
            room: self.state.room(),
            oldest: self.state.oldest(),
            breaker: self.state.breaker(&self.config),
            ..self.counts.clone()
        }
    }
}

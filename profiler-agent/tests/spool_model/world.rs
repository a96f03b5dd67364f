//! Everything around one queue: who pushes, a receiver, a disk, crashes. What of it can happen happens in every order.

use std::time::Duration;

use profiler_agent::profile::{DeliveryCause, UnixTime};
use profiler_agent::spool::Config;
use profiler_agent::spool::machine::{Action, Event, Item, Moment, Outcome, Record, State};

/// The moment of every step: what a queue remembers is counted from it.
pub const NOW: Moment = Moment(1_000);

/// The transition function under test: the queue's own, or one that is broken on purpose.
pub type Transition = fn(&mut State, &Config, Event) -> Vec<Action>;

/// The queue's own.
pub fn transition(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
    state.step(config, NOW, event)
}

/// How large the world is.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub config: Config,
    pub payloads: u8,
    /// Payloads that fit on the disk; without a disk none.
    pub room: Option<u64>,
    pub flush: Duration,
    pub crashes: u8,
    /// Acknowledgements that get lost.
    pub lost_answers: u8,
    pub refusals: u8,
    /// May the receiver ask for a delay?
    pub delays: bool,
    /// Operations of the disk that fail.
    pub disk_failures: u8,
}

/// A set of payloads, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(u8);

impl Set {
    pub fn has(self, number: u8) -> bool {
        self.0 & 1 << number != 0
    }
    pub fn add(&mut self, number: u8) {
        self.0 |= 1 << number;
    }
    pub fn remove(&mut self, number: u8) {
        self.0 &= !(1 << number);
    }
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |number| self.has(*number))
    }
}

/// Something that the world does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Another payload is pushed.
    Push,
    /// The receiver takes what an attempt brings; its answer is under way.
    Receive(u8),
    /// The attempt ends well.
    Acknowledge(u8),
    /// The attempt fails; where the receiver has the payload, its answer got lost.
    Fail(u8),
    /// The attempt fails, and the receiver asks for a delay.
    FailWithDelay(u8),
    /// The receiver will never take it.
    Refuse(u8),
    /// The disk does the next thing that it was asked for.
    Disk,
    /// It fails to.
    DiskFails,
    /// It did, and says that it failed.
    DiskLies,
    /// Time passes.
    Tick,
    /// The agent is told to stop.
    Stop,
    /// It crashes when the disk has done so many of the things that it was asked for, and is started again.
    Crash(u8),
}

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Open,
    Append(u8),
    Remove(u8),
    Load(u8),
}

/// The queue and the truth about everything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub queue: State,
    /// Pushed: all below.
    pub next: u8,
    /// In the file.
    pub durable: Set,
    /// In the file although the disk said that it is not: removed by the next thing that it does.
    pub ghosts: Set,
    pub operations: Vec<Operation>,
    /// Attempts that are under way.
    pub attempts: Set,
    /// Those whose payload the receiver has.
    pub received: Set,
    /// How often the receiver took each, and how often something happened that lets it take it again.
    pub deliveries: [u8; 4],
    pub excuses: [u8; 4],
    /// The queue was told that the receiver has it.
    pub acknowledged: Set,
    pub lost: Set,
    /// Crashes took it.
    pub taken: Set,
    /// Was on disk at some time.
    pub was_durable: Set,
    pub opened: bool,
    /// Time since the agent was told to stop.
    pub stopping: Option<u64>,
    pub ended: bool,
    /// The disk failed since the last start.
    pub disk_failed: bool,
    pub crashes: u8,
    pub lost_answers: u8,
    pub refusals: u8,
    pub disk_failures: u8,
    /// What went wrong, if anything did.
    pub wrong: Option<&'static str>,
}

impl World {
    pub fn new(bounds: &Bounds, transition: Transition) -> Self {
        let mut world = Self {
            queue: State::new(bounds.room.is_some()),
            next: 0,
            durable: Set::default(),
            ghosts: Set::default(),
            operations: Vec::new(),
            attempts: Set::default(),
            received: Set::default(),
            deliveries: [0; 4],
            excuses: [0; 4],
            acknowledged: Set::default(),
            lost: Set::default(),
            taken: Set::default(),
            was_durable: Set::default(),
            opened: bounds.room.is_none(),
            stopping: None,
            ended: false,
            disk_failed: false,
            crashes: bounds.crashes,
            lost_answers: bounds.lost_answers,
            refusals: bounds.refusals,
            disk_failures: bounds.disk_failures,
            wrong: None,
        };
        world.event(bounds, transition, Event::Tick);
        world
    }

    pub fn event(&mut self, bounds: &Bounds, transition: Transition, event: Event) {
        for action in transition(&mut self.queue, &bounds.config, event) {
            self.act(bounds, action);
        }
        if self.attempts.len() as usize > bounds.config.concurrency {
            self.blame("more attempts than allowed");
        }
    }

    fn blame(&mut self, wrong: &'static str) {
        self.wrong.get_or_insert(wrong);
    }

    fn act(&mut self, bounds: &Bounds, action: Action) {
        let number = |record: Record| record.0 as u8;
        match action {
            Action::Open => self.operations.push(Operation::Open),
            Action::Append(record) => self.operations.push(Operation::Append(number(record))),
            Action::Remove(record) => self.operations.push(Operation::Remove(number(record))),
            Action::Load(record) => self.operations.push(Operation::Load(number(record))),
            Action::Send(record) => {
                let number = number(record);
                if self.attempts.has(number) {
                    self.blame("two attempts for one payload");
                }
                if self.acknowledged.has(number) {
                    self.blame("an attempt after the acknowledgement");
                }
                self.attempts.add(number);
            }
            Action::Abandon(record) => self.stop_attempt(number(record)),
            Action::Lost(record, cause) => self.lose(bounds, number(record), cause),
            Action::Forget(_) | Action::Unwritten(_) => {}
            Action::Ended => {
                self.ended = true;
                let kept = |number: u8| self.settled(number) || self.durable.has(number);
                if !(0..self.next).all(kept) {
                    self.blame("something is not on disk at the end");
                }
                let done = self
                    .acknowledged
                    .iter()
                    .any(|number| self.durable.has(number));
                if done && !self.disk_failed && !self.is_late(bounds) {
                    self.blame("something that is delivered is on disk at the end");
                }
            }
        }
    }

    /// An attempt ends without the queue being told how.
    fn stop_attempt(&mut self, number: u8) {
        self.attempts.remove(number);
        if self.received.has(number) {
            self.received.remove(number);
            self.excuses[number as usize] += 1;
        }
    }

    fn lose(&mut self, bounds: &Bounds, number: u8, cause: DeliveryCause) {
        if self.lost.has(number) || self.acknowledged.has(number) {
            self.blame("counted as lost beside being delivered or lost");
        }
        if self.attempts.has(number) {
            self.blame("lost while it is being sent");
        }
        let explained = match cause {
            DeliveryCause::ShutdownUndelivered => {
                bounds.room.is_none() || self.disk_failed || self.is_late(bounds) || self.ended
            }
            DeliveryCause::SpoolFull => bounds.room.is_some_and(|room| u64::from(self.next) > room),
            DeliveryCause::QueueFull => u64::from(self.next) > bounds.config.memory,
            DeliveryCause::SpoolExpired => bounds.config.age != Duration::MAX,
            _ => false,
        };
        if !explained {
            self.blame("lost without a reason");
        }
        self.lost.add(number);
    }

    /// May the disk have had the time that it is given at the end?
    fn is_late(&self, bounds: &Bounds) -> bool {
        let time = self.stopping.map_or(0, u128::from);
        time >= bounds.config.store_within.as_nanos()
    }

    /// Has its way ended for a reason?
    pub fn settled(&self, number: u8) -> bool {
        self.acknowledged.has(number) || self.lost.has(number) || self.taken.has(number)
    }

    /// Is it somewhere from where it will go on?
    pub fn accounted(&self, number: u8) -> bool {
        let record = Record(number.into());
        let stored = self.durable.has(number) && (self.queue.stores(record) || !self.opened);
        self.settled(number) || self.queue.holds(record) || stored || self.ended
    }

    /// What can happen now.
    pub fn deeds(&self, bounds: &Bounds, deeds: &mut Vec<Deed>) {
        if self.next < bounds.payloads {
            deeds.push(Deed::Push);
        }
        for number in self.attempts.iter() {
            if self.received.has(number) {
                deeds.push(Deed::Acknowledge(number));
                if self.lost_answers > 0 {
                    deeds.push(Deed::Fail(number));
                }
            } else {
                deeds.push(Deed::Receive(number));
                deeds.push(Deed::Fail(number));
                if bounds.delays {
                    deeds.push(Deed::FailWithDelay(number));
                }
                if self.refusals > 0 {
                    deeds.push(Deed::Refuse(number));
                }
            }
        }
        if let Some(operation) = self.operations.first() {
            deeds.push(Deed::Disk);
            if self.disk_failures > 0 {
                deeds.push(Deed::DiskFails);
                if matches!(operation, Operation::Append(_) | Operation::Remove(_)) {
                    deeds.push(Deed::DiskLies);
                }
            }
        }
        if self.queue.due(&bounds.config, NOW).is_some() {
            deeds.push(Deed::Tick);
        }
        if self.stopping.is_none() {
            deeds.push(Deed::Stop);
        }
        if self.crashes > 0 {
            deeds.extend((0..=self.operations.len() as u8).map(Deed::Crash));
        }
    }

    /// Does it.
    pub fn run(&mut self, bounds: &Bounds, transition: Transition, deed: Deed) {
        match deed {
            Deed::Push => {
                let item = item(self.next);
                self.next += 1;
                self.event(bounds, transition, Event::Pushed(item));
            }
            Deed::Receive(number) => {
                self.received.add(number);
                self.deliveries[number as usize] += 1;
            }
            Deed::Acknowledge(number) => {
                self.attempts.remove(number);
                self.received.remove(number);
                self.acknowledged.add(number);
                self.finished(bounds, transition, number, Outcome::Delivered);
            }
            Deed::Fail(number) | Deed::FailWithDelay(number) => {
                self.lost_answers -= u8::from(self.received.has(number));
                self.stop_attempt(number);
                let after =
                    (deed == Deed::FailWithDelay(number)).then_some(Duration::from_nanos(3));
                self.finished(bounds, transition, number, Outcome::Retry { after });
            }
            Deed::Refuse(number) => {
                self.refusals -= 1;
                self.attempts.remove(number);
                // It is counted as lost by its own cause.
                let refused = Event::Finished {
                    record: Record(number.into()),
                    outcome: Outcome::Refused,
                    chance: 0.5,
                };
                let actions = transition(&mut self.queue, &bounds.config, refused);
                let loss = Action::Lost(Record(number.into()), DeliveryCause::ReceiverRefused);
                if !actions.contains(&loss) {
                    self.blame("a refusal is not counted");
                }
                self.lost.add(number);
                for action in actions.into_iter().filter(|action| *action != loss) {
                    self.act(bounds, action);
                }
            }
            Deed::Disk | Deed::DiskFails | Deed::DiskLies => {
                let operation = self.operations.remove(0);
                let answer = match deed {
                    Deed::Disk => self.perform(bounds, operation),
                    _ => self.fail(operation, deed == Deed::DiskLies),
                };
                self.event(bounds, transition, answer);
            }
            Deed::Tick => self.tick(bounds, transition),
            Deed::Stop => {
                self.stopping = Some(0);
                self.event(bounds, transition, Event::Shutdown(bounds.flush));
            }
            Deed::Crash(done) => self.crash(bounds, transition, done),
        }
    }

    fn finished(&mut self, bounds: &Bounds, transition: Transition, number: u8, outcome: Outcome) {
        let event = Event::Finished {
            record: Record(number.into()),
            outcome,
            chance: 0.5,
        };
        self.event(bounds, transition, event);
    }

    fn tick(&mut self, bounds: &Bounds, transition: Transition) {
        let Some(due) = self.queue.due(&bounds.config, NOW) else {
            return;
        };
        // The moment that it is due at becomes the present one.
        self.queue = self.queue.shifted(&bounds.config, due, NOW);
        if let Some(time) = &mut self.stopping {
            let most = bounds.flush + bounds.config.store_within;
            *time = (*time + (due.0 - NOW.0)).min(most.as_nanos() as u64);
        }
        self.event(bounds, transition, Event::Tick);
    }

    /// The disk does it.
    fn perform(&mut self, bounds: &Bounds, operation: Operation) -> Event {
        for ghost in std::mem::take(&mut self.ghosts).iter() {
            self.durable.remove(ghost);
        }
        match operation {
            Operation::Open => {
                self.opened = true;
                let items = self
                    .durable
                    .iter()
                    .map(|number| (item(number), Duration::ZERO));
                Event::Opened {
                    room: bounds.room.unwrap_or(0),
                    items: items.collect(),
                }
            }
            Operation::Append(number) => {
                self.durable.add(number);
                self.was_durable.add(number);
                if bounds
                    .room
                    .is_none_or(|room| u64::from(self.durable.len()) > room)
                {
                    self.blame("more on disk than there is room for");
                }
                Event::Appended(Record(number.into()))
            }
            Operation::Remove(number) => {
                self.durable.remove(number);
                Event::Removed(Record(number.into()))
            }
            Operation::Load(number) if self.durable.has(number) => {
                Event::Loaded(Record(number.into()))
            }
            Operation::Load(number) => Event::Damaged(Record(number.into())),
        }
    }

    fn fail(&mut self, operation: Operation, lies: bool) -> Event {
        self.disk_failures -= 1;
        self.disk_failed = true;
        match operation {
            Operation::Open => Event::OpenFailed,
            Operation::Append(number) => {
                if lies {
                    self.durable.add(number);
                    self.ghosts.add(number);
                }
                Event::AppendFailed(Record(number.into()))
            }
            Operation::Remove(number) => {
                if lies {
                    self.durable.remove(number);
                }
                Event::RemoveFailed(Record(number.into()))
            }
            Operation::Load(number) => Event::LoadFailed(Record(number.into())),
        }
    }

    fn crash(&mut self, bounds: &Bounds, transition: Transition, done: u8) {
        for operation in std::mem::take(&mut self.operations)
            .into_iter()
            .take(done.into())
        {
            self.perform(bounds, operation);
        }
        for number in self.attempts.iter() {
            self.stop_attempt(number);
        }
        for number in 0..self.next {
            if self.durable.has(number) {
                // Delivered or dropped, and its removal was not done: it comes again.
                if self.acknowledged.has(number) {
                    self.excuses[number as usize] += 1;
                }
                self.acknowledged.remove(number);
                self.lost.remove(number);
                self.taken.remove(number);
            } else if !self.settled(number) {
                if self.was_durable.has(number) {
                    self.blame("a crash took what was on disk");
                }
                self.taken.add(number);
            }
        }
        let crashes = self.crashes - 1;
        let restarted = Self::new(bounds, transition);
        *self = Self {
            queue: restarted.queue,
            operations: restarted.operations,
            opened: restarted.opened,
            stopping: None,
            ended: false,
            disk_failed: false,
            ghosts: Set::default(),
            crashes,
            ..self.clone()
        };
    }
}

fn item(number: u8) -> Item {
    Item {
        record: Record(number.into()),
        length: 1,
        stored: 1,
        end: UnixTime(0),
    }
}

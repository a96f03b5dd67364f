//! The queue's decisions, by value: what it promises about order, delays and bounds in longer runs than a model can
//! look through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::{Action, Event, Item, MOST_APPENDS, MOST_REMOVALS, Moment, Outcome, Record, State};
use crate::profile::payload::BreakerState;
use crate::profile::{DeliveryCause, UnixTime};
use crate::spool::config::{Backoff, Config};

/// A queue with its clock, and what it asked for.
struct Bench {
    config: Config,
    state: State,
    now: Moment,
    pushed: u64,
    sending: BTreeSet<Record>,
    operations: Vec<Action>,
    /// Every attempt: of what, and when.
    sent: Vec<(u64, Moment)>,
    losses: BTreeMap<Record, DeliveryCause>,
    ended: bool,
}

impl Bench {
    fn new(config: Config, spooled: bool) -> Self {
        let mut bench = Self {
            state: State::new(spooled),
            now: Moment::default().plus(config.age),
            config,
            pushed: 0,
            sending: BTreeSet::new(),
            operations: Vec::new(),
            sent: Vec::new(),
            losses: BTreeMap::new(),
            ended: false,
        };
        bench.event(Event::Tick);
        bench
    }

    fn event(&mut self, event: Event) {
        for action in self.state.step(&self.config, self.now, event) {
            match action {
                Action::Send(record) => {
                    assert!(self.sending.insert(record));
                    self.sent.push((record.0, self.now));
                }
                Action::Abandon(record) => assert!(self.sending.remove(&record)),
                Action::Lost(record, cause) => {
                    assert_eq!(self.losses.insert(record, cause), None);
                }
                Action::Forget(_) | Action::Unwritten(_) => {}
                Action::Ended => self.ended = true,
                operation => self.operations.push(operation),
            }
        }
    }

    fn push(&mut self, length: u64) {
        let item = Item {
            record: Record(self.pushed),
            length,
            stored: 2 * length,
            end: UnixTime(self.pushed),
        };
        self.pushed += 1;
        self.event(Event::Pushed(item));
    }

    fn finish(&mut self, record: u64, outcome: Outcome) {
        let record = Record(record);
        assert!(self.sending.remove(&record));
        let chance = 0.5;
        self.event(Event::Finished {
            record,
            outcome,
            chance,
        });
    }

    /// Lets time pass until there is something to do.
    fn wait(&mut self) -> Duration {
        let due = self.state.due(&self.config, self.now).unwrap();
        let waited = due.since(self.now);
        self.now = due;
        self.event(Event::Tick);
        waited
    }

    /// The disk does the next thing that it was asked for.
    fn disk(&mut self, room: u64) {
        let answer = match self.operations.remove(0) {
            Action::Open => Event::Opened {
                room,
                items: Vec::new(),
            },
            Action::Append(record) => Event::Appended(record),
            Action::Remove(record) => Event::Removed(record),
            Action::Load(record) => Event::Loaded(record),
            other => panic!("{other:?}"),
        };
        self.event(answer);
    }
}

fn retry(after: Option<u64>) -> Outcome {
    Outcome::Retry {
        after: after.map(Duration::from_secs),
    }
}

fn one_at_a_time() -> Config {
    Config {
        concurrency: 1,
        ..Config::default()
    }
}

#[test]
fn delays_grow_until_the_breaker_opens_and_end_with_a_success() {
    let mut bench = Bench::new(one_at_a_time(), false);
    bench.push(1);
    let mut delays = Vec::new();
    for _ in 0..7 {
        bench.finish(0, retry(None));
        delays.push(bench.wait().as_secs_f64());
    }
    assert_eq!(delays, [5.0, 7.5, 11.25, 16.875, 30.0, 30.0, 30.0]);
    assert_eq!(bench.state.breaker(&bench.config), BreakerState::Open);
    bench.finish(0, Outcome::Delivered);
    assert_eq!(bench.state.breaker(&bench.config), BreakerState::Closed);
    bench.push(1);
    bench.finish(1, retry(None));
    assert_eq!(bench.wait(), Duration::from_secs(5));
}

#[test]
fn a_receivers_delay_is_a_floor_of_at_most_an_hour() {
    for (asked, waited) in [(1, 5), (60, 60), (1 << 40, 3_600)] {
        let mut bench = Bench::new(one_at_a_time(), false);
        bench.push(1);
        bench.finish(0, retry(Some(asked)));
        assert_eq!(bench.wait(), Duration::from_secs(waited));
        assert_eq!(bench.sent.len(), 2);
    }
}

#[test]
fn two_attempts_that_fail_together_are_one_failure() {
    let mut bench = Bench::new(Config::default(), false);
    bench.push(1);
    bench.push(1);
    bench.finish(0, retry(None));
    bench.finish(1, retry(None));
    assert_eq!(bench.wait(), Duration::from_secs(5));
    assert_eq!(bench.sending.len(), 2);
    // One that began before the other failed does not say that it is over.
    bench.finish(0, retry(None));
    bench.finish(1, Outcome::Delivered);
    assert_eq!(bench.wait().as_secs_f64(), 7.5);
}

#[test]
fn a_payload_that_only_fails_does_not_hold_back_the_others() {
    let mut bench = Bench::new(Config::default(), false);
    // Two of them take both attempts.
    (0..50).for_each(|_| bench.push(1));
    let mut delivered = 0;
    let end = bench.now.plus(Duration::from_secs(600));
    while bench.now < end && delivered < 48 {
        match bench.sending.first().copied() {
            Some(Record(number @ (0 | 1))) => bench.finish(number, retry(None)),
            Some(Record(number)) => {
                delivered += 1;
                bench.finish(number, Outcome::Delivered);
            }
            None => drop(bench.wait()),
        }
    }
    assert_eq!(delivered, 48);
    // They are still tried.
    let before = bench.sent.len();
    while bench.sent.len() < before + 4 {
        match bench.sending.first().copied() {
            Some(Record(number)) => bench.finish(number, retry(None)),
            None => drop(bench.wait()),
        }
    }
    assert!(bench.losses.is_empty());
}

#[test]
fn after_an_outage_the_oldest_goes_first() {
    let mut bench = Bench::new(one_at_a_time(), false);
    (0..20).for_each(|_| bench.push(1));
    for _ in 0..30 {
        let Record(number) = *bench.sending.first().unwrap();
        bench.finish(number, retry(None));
        bench.wait();
    }
    let before = bench.sent.len();
    while let Some(Record(number)) = bench.sending.first().copied() {
        bench.finish(number, Outcome::Delivered);
    }
    let order: Vec<u64> = bench.sent[before..]
        .iter()
        .map(|(number, _)| *number)
        .collect();
    assert!(order.is_sorted() && order.len() == 19, "{order:?}");
}

#[test]
fn an_open_breaker_leaves_the_disk_alone() {
    let config = Config {
        memory: 1,
        concurrency: 4,
        ..Config::default()
    };
    let mut bench = Bench::new(config, true);
    for _ in 0..30 {
        bench.push(1);
        while !bench.operations.is_empty() {
            bench.disk(1_000);
        }
    }
    while bench.state.breaker(&bench.config) == BreakerState::Closed {
        match bench.sending.first().copied() {
            Some(Record(number)) => bench.finish(number, retry(None)),
            None => drop(bench.wait()),
        }
        while !bench.operations.is_empty() {
            bench.disk(1_000);
        }
    }
    for _ in 0..20 {
        bench.wait();
        let loads = bench.operations.len();
        assert!(loads <= 1 && bench.sending.len() + loads == 1);
        bench
            .operations
            .clone()
            .iter()
            .for_each(|_| bench.disk(1_000));
        let Record(number) = *bench.sending.first().unwrap();
        bench.finish(number, retry(None));
    }
}

#[test]
fn a_flush_ends_where_two_payloads_do_not_fit_into_memory() {
    let config = Config {
        memory: 60,
        backoff: Backoff {
            jitter: 0.0,
            ..Backoff::default()
        },
        ..Config::default()
    };
    let mut bench = Bench::new(config, true);
    bench.push(1);
    bench.push(1);
    bench.finish(0, Outcome::Delivered);
    bench.push(1);
    bench.finish(1, Outcome::Delivered);
    bench.finish(2, Outcome::Delivered);
    bench.push(1);
    bench.finish(3, Outcome::Delivered);
    bench.push(29);
    bench.disk(156);
    bench.finish(4, retry(None));
    bench.disk(156);
    bench.push(47);
    bench.push(1);
    bench.disk(156);
    bench.disk(156);
    bench.push(1);
    bench.event(Event::Shutdown(Duration::from_secs(2)));
    for _ in 0..100 {
        if bench.operations.is_empty() {
            break;
        }
        bench.disk(156);
    }
    assert!(bench.operations.is_empty(), "{:?}", bench.operations);
    bench.wait();
    while !bench.operations.is_empty() {
        bench.disk(156);
    }
    assert!(bench.ended);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u64),
    Finish(prop::sample::Index, Outcome),
    Wait,
    Disk,
    DiskFails,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Delivered),
        1 => Just(Outcome::Refused),
        3 => prop::option::of(0u64..100).prop_map(retry),
    ];
    prop_oneof![
        4 => (1u64..60).prop_map(Step::Push),
        4 => (any::<prop::sample::Index>(), outcome).prop_map(|(which, outcome)| Step::Finish(which, outcome)),
        2 => Just(Step::Wait),
        6 => Just(Step::Disk),
        1 => Just(Step::DiskFails),
    ]
}

proptest! {
    #[test]
    fn everything_is_accounted_for_and_bounded(
        steps in prop::collection::vec(step(), 1..300),
        memory in 60u64..300, room in 120u64..600, concurrency in 1usize..4, spooled: bool,
        age in prop_oneof![Just(Duration::MAX), (20u64..200).prop_map(Duration::from_secs)],
    ) {
        let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
        let config = Config { memory, concurrency, age, backoff, ..Config::default() };
        let mut bench = Bench::new(config, spooled);
        if age == Duration::MAX {
            bench.now = Moment(1);
        }
        let mut delivered = 0;
        for step in steps {
            match step {
                Step::Push(length) => bench.push(length),
                Step::Finish(which, outcome) if !bench.sending.is_empty() => {
                    let Record(number) = *which.get(&bench.sending.iter().copied().collect::<Vec<_>>());
                    delivered += u64::from(outcome == Outcome::Delivered);
                    bench.finish(number, outcome);
                }
                Step::Wait if bench.state.due(&bench.config, bench.now).is_some() => {
                    prop_assert!(bench.wait() > Duration::ZERO);
                }
                Step::Disk if !bench.operations.is_empty() => bench.disk(room),
                Step::DiskFails if !bench.operations.is_empty() => {
                    let answer = match bench.operations.remove(0) {
                        Action::Open => Event::OpenFailed,
                        Action::Append(record) => Event::AppendFailed(record),
                        Action::Remove(record) => Event::RemoveFailed(record),
                        Action::Load(record) => Event::LoadFailed(record),
                        other => panic!("{other:?}"),
                    };
                    bench.event(answer);
                }
                _ => {}
            }
            let state = &bench.state;
            prop_assert_eq!(state.waiting() + delivered + bench.losses.len() as u64, bench.pushed);
            prop_assert!(state.in_memory().bytes <= memory);
            prop_assert!(state.on_disk().bytes <= room);
            prop_assert!(bench.sending.len() <= concurrency);
            prop_assert!(bench.operations.len() <= MOST_APPENDS + MOST_REMOVALS + concurrency + 1);
            prop_assert!(
                state.waiting() == 0 || !bench.sending.is_empty() || !bench.operations.is_empty()
                    || state.due(&bench.config, bench.now).is_some()
            );
        }
        // It ends, whatever the disk does then.
        bench.event(Event::Shutdown(Duration::from_secs(2)));
        for _ in 0..1_000 {
            if bench.ended {
                break;
            }
            if bench.operations.is_empty() {
                bench.wait();
            } else {
                bench.disk(room);
            }
        }
        prop_assert!(bench.ended && bench.sending.is_empty());
        prop_assert_eq!(bench.state.waiting() + delivered + bench.losses.len() as u64, bench.pushed);
        let kept = (0..bench.pushed).filter(|number| bench.state.stores(Record(*number))).count();
        prop_assert_eq!(bench.state.waiting(), kept as u64, "what waits is on disk");
    }
}

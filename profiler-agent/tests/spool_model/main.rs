//! A model of queue, spool, retry, crash and shutdown around the transition function that the agent runs:
//! every order of events within small bounds is looked at.

mod broken;
mod world;

use std::time::{Duration, Instant};

use profiler_agent::spool::{Backoff, Breaker, Config, SyncPolicy};
use stateright::{Checker, Model, Property};

use world::{Bounds, Deed, NOW, Transition, World, transition};

struct Spool {
    bounds: Bounds,
    transition: Transition,
}

impl Model for Spool {
    type State = World;
    type Action = Deed;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds, self.transition)]
    }

    fn actions(&self, world: &World, deeds: &mut Vec<Deed>) {
        world.deeds(&self.bounds, deeds);
    }

    fn next_state(&self, world: &World, deed: Deed) -> Option<World> {
        let mut world = world.clone();
        world.run(&self.bounds, self.transition, deed);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is done wrong", |_, world: &World| {
                world.wrong.is_none()
            }),
            Property::always("nothing is lost uncounted", |_, world: &World| {
                (0..world.next).all(|number| world.accounted(number))
            }),
            Property::always("duplicates are explained", |_, world: &World| {
                let mut payloads = world.deliveries.iter().zip(world.excuses);
                payloads.all(|(deliveries, excuses)| *deliveries <= 1 + excuses)
            }),
            Property::always("memory is bounded", |model: &Self, world: &World| {
                world.queue.in_memory().bytes <= model.bounds.config.memory
            }),
            Property::always("the disk is bounded", |model: &Self, world: &World| {
                world.queue.on_disk().bytes <= model.bounds.room.unwrap_or(0)
            }),
            Property::always("what waits goes on", |model: &Self, world: &World| {
                let under_way = world.attempts.len() > 0 || !world.operations.is_empty();
                let timer = world.queue.due(&model.bounds.config, NOW).is_some();
                world.ended || world.queue.waiting() == 0 || under_way || timer
            }),
            Property::always(
                "what is done leaves the disk",
                |model: &Self, world: &World| {
                    let under_way = world.attempts.len() > 0 || !world.operations.is_empty();
                    let timer = world.queue.due(&model.bounds.config, NOW).is_some();
                    let left = |number: u8| world.settled(number) && !world.ghosts.has(number);
                    world.ended || under_way || timer || !world.durable.iter().any(left)
                },
            ),
            Property::always("shutdown ends in time", |model: &Self, world: &World| {
                let most = model.bounds.flush + model.bounds.config.store_within;
                let time = world.stopping.map_or(0, u128::from);
                world.ended || time < most.as_nanos()
            }),
            Property::sometimes("all is delivered", |model: &Self, world: &World| {
                let payloads = model.bounds.payloads;
                world.acknowledged.len() == u32::from(payloads) && world.queue.waiting() == 0
            }),
            Property::sometimes("something is delivered twice", |_, world: &World| {
                world.deliveries.iter().any(|deliveries| *deliveries > 1)
            }),
            Property::sometimes("the end is reached", |_, world: &World| world.ended),
            Property::sometimes("something is dropped", |_, world: &World| {
                world.lost.len() > 0
            }),
        ]
    }
}

/// A unit of time is a nanosecond.
fn config() -> Config {
    Config {
        memory: 2,
        disk: 0,
        age: Duration::MAX,
        concurrency: 1,
        write_after: Duration::from_nanos(1),
        sync: SyncPolicy::Always,
        backoff: Backoff {
            initial: Duration::from_nanos(2),
            multiplier: 1.0,
            max: Duration::from_nanos(2),
            jitter: 0.0,
        },
        breaker: Breaker {
            failures: 2,
            interval: Duration::from_nanos(4),
        },
        disk_retry: Duration::from_nanos(2),
        store_within: Duration::from_nanos(2),
    }
}

fn bounds() -> Bounds {
    Bounds {
        config: config(),
        payloads: 3,
        room: Some(2),
        flush: Duration::from_nanos(3),
        crashes: 1,
        lost_answers: 1,
        refusals: 0,
        delays: false,
        disk_failures: 0,
    }
}

/// What the model is to find reachable, beside what must always hold.
const REACHABLE: [&str; 4] = [
    "all is delivered",
    "something is delivered twice",
    "the end is reached",
    "something is dropped",
];

/// Looks at everything that can happen. Everything [`REACHABLE`] must be, but for `unreachable`.
fn check(name: &str, bounds: Bounds, unreachable: &[&str]) {
    let start = Instant::now();
    let model = Spool { bounds, transition };
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} states, {} of them distinct, {} deep, {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64()
    );
    let found = checker.discoveries();
    for (property, path) in &found {
        if !REACHABLE.contains(property) {
            let (world, deeds) = (path.last_state(), path.clone().into_actions());
            panic!("{property}: {:?}\n{deeds:?}\n{world:#?}", world.wrong);
        }
    }
    for property in REACHABLE {
        let reached = found.contains_key(property);
        assert_eq!(reached, !unreachable.contains(&property), "{property}");
    }
}

#[test]
fn crashes_and_lost_answers() {
    check("crashes and lost answers", bounds(), &[]);
}

#[test]
fn two_attempts_at_a_time() {
    let mut bounds = Bounds {
        room: Some(3),
        crashes: 0,
        ..bounds()
    };
    bounds.config.concurrency = 2;
    check("two attempts at a time", bounds, &[]);
}

#[test]
fn a_disk_that_fails_and_lies() {
    let bounds = Bounds {
        payloads: 3,
        crashes: 0,
        lost_answers: 0,
        disk_failures: 1,
        ..bounds()
    };
    let never = ["something is delivered twice"];
    check("a disk that fails and lies", bounds, &never);
}

#[test]
fn a_disk_that_fails_before_a_crash() {
    let bounds = Bounds {
        payloads: 2,
        crashes: 2,
        lost_answers: 0,
        disk_failures: 1,
        ..bounds()
    };
    check("a disk that fails before a crash", bounds, &[]);
}

#[test]
fn written_before_it_is_sent() {
    let mut bounds = bounds();
    bounds.config.write_after = Duration::ZERO;
    bounds.disk_failures = 1;
    bounds.lost_answers = 0;
    check("written before it is sent", bounds, &[]);
}

#[test]
fn without_a_disk() {
    let bounds = Bounds {
        payloads: 4,
        room: None,
        refusals: 1,
        delays: true,
        crashes: 0,
        ..bounds()
    };
    check("without a disk", bounds, &[]);
}

#[test]
fn payloads_that_grow_too_old() {
    let mut bounds = Bounds {
        payloads: 2,
        refusals: 1,
        delays: true,
        ..bounds()
    };
    bounds.config.age = Duration::from_nanos(6);
    check("payloads that grow too old", bounds, &[]);
}

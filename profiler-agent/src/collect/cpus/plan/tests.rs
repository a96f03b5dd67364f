//! The plan by examples, and against a machine whose CPUs come and go as chance has it.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn cpus(list: &[u32]) -> BTreeSet<u32> {
    list.iter().copied().collect()
}

fn progress(milliseconds: u64) -> Progress {
    let time = Duration::from_millis(milliseconds);
    Progress {
        enabled: time,
        running: time,
    }
}

/// A plan in which these CPUs have been opened at `now`.
fn opened(list: &[u32], now: Instant) -> Plan {
    let mut plan = Plan::default();
    for cpu in list {
        plan.opened(*cpu, now);
    }
    plan
}

#[test]
fn each_online_cpu_gets_an_event_and_each_offline_one_loses_it() {
    let now = Instant::now();
    let mut plan = Plan::default();
    let steps = plan.steps(&cpus(&[0, 2]), now, false);
    assert_eq!(steps, [Step::Open(0), Step::Open(2)]);
    plan.opened(0, now);
    plan.opened(2, now);
    assert_eq!(plan.steps(&cpus(&[0, 2]), now, false), []);
    let steps = plan.steps(&cpus(&[0, 1]), now, false);
    assert_eq!(steps, [Step::Close(2), Step::Open(1)]);
}

#[test]
fn what_fails_is_tried_again_less_and_less_often() {
    let start = Instant::now();
    let mut plan = Plan::default();
    let online = cpus(&[3]);
    let mut attempts = Vec::new();
    for second in 0..40 {
        let now = start + SECOND * second;
        if plan.steps(&online, now, false) == [Step::Open(3)] {
            attempts.push(second);
            plan.failed(3, Some("no memory".to_owned()), now);
        }
    }
    assert_eq!(attempts, [0, 1, 3, 7, 15, 25, 35]);
    let troubles: Vec<_> = plan.troubles().collect();
    assert_eq!(troubles, [(3, "no memory")]);
    // It works: nothing is left of the trouble, and the next failure begins anew.
    plan.opened(3, start);
    assert_eq!(plan.troubles().count(), 0);
    plan.closed(3);
    plan.failed(3, Some("no memory".to_owned()), start);
    let again = plan.steps(&online, start + SECOND, false);
    assert_eq!(again, [Step::Open(3)]);
}

#[test]
fn a_cpu_that_was_not_there_is_no_trouble_and_is_tried_every_second() {
    let start = Instant::now();
    let mut plan = Plan::default();
    for second in 0..20 {
        let now = start + SECOND * second;
        assert_eq!(plan.steps(&cpus(&[1]), now, false), [Step::Open(1)]);
        plan.failed(1, None, now);
        assert_eq!(plan.troubles().count(), 0);
    }
}

#[test]
fn the_trouble_of_a_cpu_that_went_offline_is_forgotten() {
    let now = Instant::now();
    let mut plan = opened(&[0], now);
    plan.failed(1, Some("no memory".to_owned()), now);
    assert_eq!(plan.steps(&cpus(&[0]), now, false), []);
    assert_eq!(plan.troubles().count(), 0);
}

#[test]
fn an_event_whose_time_stands_still_is_dead() {
    let start = Instant::now();
    let mut plan = opened(&[0, 1], start);
    let at = |seconds: u32| start + SECOND * seconds;
    assert_eq!(plan.checked(0, Some(progress(990)), at(1)), Verdict::Alive);
    // Offline and online again within the second, later than the last look.
    assert_eq!(plan.checked(0, Some(progress(1900)), at(2)), Verdict::Alive);
    assert_eq!(plan.checked(0, Some(progress(1900)), at(3)), Verdict::Dead);
    // Offline and online again while the agent was stopped.
    assert_eq!(plan.checked(1, Some(progress(900)), at(30)), Verdict::Dead);
    assert_eq!(plan.checked(1, None, at(31)), Verdict::Dead);
}

#[test]
fn an_event_that_never_gets_a_counter_is_starved() {
    let start = Instant::now();
    let mut plan = opened(&[0], start);
    let said = |running: u64, enabled: u64| {
        Some(Progress {
            enabled: Duration::from_millis(enabled),
            running: Duration::from_millis(running),
        })
    };
    let at = |seconds: u32| start + SECOND * seconds;
    assert_eq!(plan.checked(0, said(40, 1000), at(1)), Verdict::Alive);
    assert_eq!(plan.checked(0, said(40, 2000), at(2)), Verdict::Starved);
}

#[test]
fn events_are_looked_at_in_turn_and_all_at_once_after_a_stop() {
    let start = Instant::now();
    let all: Vec<u32> = (0..100).collect();
    let online = cpus(&all);
    let mut plan = opened(&all, start);
    let mut looked_at = BTreeSet::new();
    for second in 1..=4 {
        let now = start + SECOND * second;
        let steps = plan.steps(&online, now, false);
        assert_eq!(steps.len(), CHECKS_AT_ONCE);
        for step in steps {
            let Step::Check(cpu) = step else {
                panic!("{step:?}");
            };
            looked_at.insert(cpu);
            plan.checked(cpu, Some(progress(1000 * u64::from(second))), now);
        }
    }
    assert_eq!(looked_at, online);
    let steps = plan.steps(&online, start + SECOND * 20, true);
    assert_eq!(steps.len(), 100);
}

/// A machine: for each CPU whether it is online, and how often it went offline.
#[derive(Clone, Debug, Default)]
struct Machine {
    online: BTreeSet<u32>,
    lives: BTreeMap<u32, u32>,
}

impl Machine {
    fn toggle(&mut self, cpu: u32) {
        if !self.online.remove(&cpu) {
            self.online.insert(cpu);
        } else {
            *self.lives.entry(cpu).or_default() += 1;
        }
    }
    fn life(&self, cpu: u32) -> u32 {
        self.lives.get(&cpu).copied().unwrap_or(0)
    }
}

/// What happens in a second.
#[derive(Clone, Debug)]
struct Second {
    toggled: Vec<u32>,
    /// CPUs that cannot be opened.
    broken: BTreeSet<u32>,
}

fn second() -> impl Strategy<Value = Second> {
    let cpu = || 0u32..6;
    (
        proptest::collection::vec(cpu(), 0..6),
        proptest::collection::btree_set(cpu(), 0..3),
    )
        .prop_map(|(toggled, broken)| Second { toggled, broken })
}

proptest! {
    /// Whatever comes and goes, and whatever fails: once it is quiet, every CPU that is online has an event of
    /// its present life within the longest wait and two looks, and no other has one.
    #[test]
    fn in_the_end_what_is_online_has_a_living_event(
        seconds in proptest::collection::vec(second(), 0..40),
    ) {
        let start = Instant::now();
        let mut machine = Machine { online: (0..6).collect(), ..Machine::default() };
        let mut plan = Plan::default();
        // Of each event: the life of its CPU and when it was opened.
        let mut events: BTreeMap<u32, (u32, Instant)> = BTreeMap::new();
        // When a life ended.
        let mut ended: BTreeMap<(u32, u32), Instant> = BTreeMap::new();
        let quiet = std::iter::repeat_n(
            Second { toggled: Vec::new(), broken: BTreeSet::new() },
            LAST_WAIT.as_secs() as usize + 3,
        );
        for (second, happens) in (1u32..).zip(seconds.into_iter().chain(quiet)) {
            let now = start + SECOND * second;
            for cpu in &happens.toggled {
                let life = machine.life(*cpu);
                machine.toggle(*cpu);
                if machine.life(*cpu) != life {
                    ended.insert((*cpu, life), now - SECOND / 2);
                }
            }
            let steps = plan.steps(&machine.online, now, false);
            for step in steps {
                let mut open = None;
                match step {
                    Step::Close(cpu) => {
                        prop_assert!(!machine.online.contains(&cpu));
                        prop_assert!(events.remove(&cpu).is_some());
                        plan.closed(cpu);
                    }
                    Step::Check(cpu) => {
                        let (life, since) = events[&cpu];
                        let until = ended.get(&(cpu, life)).copied().unwrap_or(now);
                        let time = until.saturating_duration_since(since);
                        let verdict = plan.checked(cpu, Some(Progress { enabled: time, running: time }), now);
                        prop_assert_ne!(verdict, Verdict::Starved);
                        if verdict == Verdict::Dead {
                            prop_assert_ne!(life, machine.life(cpu), "it is alive");
                            events.remove(&cpu);
                            plan.closed(cpu);
                            open = Some(cpu);
                        }
                    }
                    Step::Open(cpu) => open = Some(cpu),
                }
                if let Some(cpu) = open {
                    prop_assert!(machine.online.contains(&cpu) && !events.contains_key(&cpu));
                    if happens.broken.contains(&cpu) {
                        plan.failed(cpu, Some("broken".to_owned()), now);
                    } else {
                        events.insert(cpu, (machine.life(cpu), now));
                        plan.opened(cpu, now);
                    }
                }
            }
        }
        let living: BTreeSet<u32> = events
            .iter()
            .filter(|(cpu, (life, _))| *life == machine.life(**cpu))
            .map(|(cpu, _)| *cpu)
            .collect();
        prop_assert_eq!(&living, &machine.online);
        prop_assert_eq!(events.len(), living.len());
        prop_assert_eq!(plan.troubles().count(), 0);
        prop_assert_eq!(plan.open().collect::<BTreeSet<u32>>(), machine.online);
    }
}

//! The model can fail: each of these transition functions does one thing wrong, and the model finds it.

use profiler_agent::profile::DeliveryCause;
use profiler_agent::spool::Config;
use profiler_agent::spool::machine::{Action, Event, Outcome, State};
use stateright::{Checker, HasDiscoveries, Model};

use super::world::{Bounds, NOW, Transition, transition};
use super::{REACHABLE, Spool, bounds};

/// What the model says against a transition function.
fn objection(transition: Transition, bounds: Bounds) -> (&'static str, Option<&'static str>) {
    let model = Spool { bounds, transition };
    let always = model.properties().into_iter().map(|property| property.name);
    let always = always.filter(|name| !REACHABLE.contains(name)).collect();
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyOf(always))
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    let mut broken = found.iter().filter(|(name, _)| !REACHABLE.contains(name));
    let (name, path) = broken.next().expect("the model finds nothing");
    println!("{name} after {:?}", path.clone().into_actions());
    (*name, path.last_state().wrong)
}

fn without(actions: Vec<Action>, is: impl Fn(&Action) -> bool) -> Vec<Action> {
    actions.into_iter().filter(|action| !is(action)).collect()
}

/// The actions without those that `done` takes for done without doing them.
fn skipping(
    state: &mut State,
    config: &Config,
    event: Event,
    done: fn(&Action) -> Option<Event>,
) -> Vec<Action> {
    let mut actions = transition(state, config, event);
    while let Some(at) = actions.iter().position(|action| done(action).is_some()) {
        if let Some(event) = done(&actions.remove(at)) {
            actions.extend(transition(state, config, event));
        }
    }
    actions
}

#[test]
fn a_removal_that_is_forgotten() {
    fn forgets(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        skipping(state, config, event, |action| match action {
            Action::Remove(record) => Some(Event::Removed(*record)),
            _ => None,
        })
    }
    let bounds = Bounds {
        payloads: 1,
        ..bounds()
    };
    objection(forgets, bounds);
}

#[test]
fn an_append_that_is_forgotten() {
    fn forgets(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        skipping(state, config, event, |action| match action {
            Action::Append(record) => Some(Event::Appended(*record)),
            _ => None,
        })
    }
    objection(forgets, bounds());
}

#[test]
fn a_failed_append_that_is_taken_for_done() {
    fn takes(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        match event {
            Event::AppendFailed(record) => transition(state, config, Event::Appended(record)),
            event => transition(state, config, event),
        }
    }
    let bounds = Bounds {
        disk_failures: 1,
        ..bounds()
    };
    objection(takes, bounds);
}

#[test]
fn an_acknowledgement_that_is_ignored() {
    fn ignores(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        match event {
            Event::Finished {
                record,
                outcome: Outcome::Delivered,
                chance,
            } => {
                let outcome = Outcome::Retry { after: None };
                let event = Event::Finished {
                    record,
                    outcome,
                    chance,
                };
                transition(state, config, event)
            }
            event => transition(state, config, event),
        }
    }
    let (_, wrong) = objection(ignores, bounds());
    assert_eq!(wrong, Some("an attempt after the acknowledgement"));
}

#[test]
fn a_loss_that_is_not_counted() {
    fn hides(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        let actions = transition(state, config, event);
        without(actions, |action| {
            matches!(action, Action::Lost(_, DeliveryCause::SpoolFull))
        })
    }
    let (property, _) = objection(hides, bounds());
    assert_eq!(property, "nothing is lost uncounted");
}

#[test]
fn one_attempt_too_many() {
    fn hurries(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        let config = Config {
            concurrency: config.concurrency + 1,
            ..*config
        };
        transition(state, &config, event)
    }
    let (_, wrong) = objection(hurries, bounds());
    assert_eq!(wrong, Some("more attempts than allowed"));
}

#[test]
fn more_memory_than_allowed() {
    fn hoards(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        let config = Config {
            memory: config.memory + 1,
            ..*config
        };
        transition(state, &config, event)
    }
    let (property, _) = objection(hoards, bounds());
    assert_eq!(property, "memory is bounded");
}

#[test]
fn a_timer_that_is_missed() {
    fn sleeps(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        match event {
            // What was to be done now is put off for ever.
            Event::Tick if state.waiting() > 0 => {
                *state = state.shifted(config, NOW, NOW);
                Vec::new()
            }
            event => transition(state, config, event),
        }
    }
    objection(sleeps, bounds());
}

#[test]
fn an_end_that_leaves_something_in_memory() {
    fn ends(state: &mut State, config: &Config, event: Event) -> Vec<Action> {
        let stops = matches!(event, Event::Shutdown(_));
        let mut actions = transition(state, config, event);
        if stops && !actions.contains(&Action::Ended) {
            actions.push(Action::Ended);
        }
        actions
    }
    let (_, wrong) = objection(ends, bounds());
    assert_eq!(wrong, Some("something is not on disk at the end"));
}

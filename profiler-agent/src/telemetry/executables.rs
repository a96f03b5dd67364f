//! How stacks end, by executable: a bounded number of them by name.
//!
//! A counter must never fall, so an executable that has a name here keeps it for good. The first that account
//! for one of [`SHARE`] parts of a window get one, [`NAMED`] at most; what they had before is in `other`, and stays.

use hashbrown::HashMap;

use super::reading::ExecutableStacks;
use crate::profile::Process;
use crate::profile::window::OutcomeCounts;

/// Executables that are counted by name.
pub const NAMED: usize = 50;
/// An executable is named from a window on of which this part of the stacks is its own.
pub const SHARE: u64 = 100;
/// Bytes of a name.
const MAX_NAME: usize = 64;
/// The name of all others.
const OTHER: &str = "other";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Executables {
    named: HashMap<String, Counts>,
    other: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    complete: u64,
    incomplete: u64,
}

impl Counts {
    const fn add(&mut self, other: Self) {
        self.complete += other.complete;
        self.incomplete += other.incomplete;
    }
    const fn total(self) -> u64 {
        self.complete + self.incomplete
    }
}

impl Executables {
    /// Counts the stacks of a window: those of each process.
    pub fn add<'a>(&mut self, window: impl Iterator<Item = (&'a Process, &'a OutcomeCounts)>) {
        let mut seen: HashMap<&str, Counts> = HashMap::new();
        let mut total = 0;
        for (process, outcomes) in window {
            let complete = outcomes.complete();
            let counts = Counts {
                complete,
                incomplete: outcomes.total() - complete,
            };
            total += counts.total();
            seen.entry(name(process)).or_default().add(counts);
        }
        for (name, counts) in seen {
            if counts.total() == 0 {
                continue;
            }
            if let Some(known) = self.named.get_mut(name) {
                known.add(counts);
            } else if name != OTHER
                && self.named.len() < NAMED
                && counts.total().saturating_mul(SHARE) >= total
            {
                self.named.insert(name.to_owned(), counts);
            } else {
                self.other.add(counts);
            }
        }
    }

    /// The counts so far, by name, those of all others last.
    #[must_use]
    pub fn counts(&self) -> Vec<ExecutableStacks> {
        let mut counts: Vec<_> = self
            .named
            .iter()
            .map(|(name, c)| stacks(name, *c))
            .collect();
        counts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        counts.push(stacks(OTHER, self.other));
        counts
    }
}

fn stacks(name: &str, counts: Counts) -> ExecutableStacks {
    ExecutableStacks {
        name: name.to_owned(),
        complete: counts.complete,
        incomplete: counts.incomplete,
    }
}

fn name(process: &Process) -> &str {
    let name = process.name();
    &name[..name.floor_char_boundary(MAX_NAME)]
}

#[cfg(test)]
mod tests {
    use profiler_common::unwind::Outcome;

    use super::*;
    use crate::profile::example;

    fn add(executables: &mut Executables, window: &[(&str, Outcome, u64)]) {
        let entries: Vec<(Process, OutcomeCounts)> = window
            .iter()
            .map(|(path, outcome, count)| {
                let mut counts = OutcomeCounts::default();
                for _ in 0..*count {
                    counts.add(*outcome);
                }
                (example::process(1, path, None), counts)
            })
            .collect();
        executables.add(entries.iter().map(|(process, counts)| (process, counts)));
    }

    fn all(executables: &Executables) -> Vec<(String, u64, u64)> {
        let counts = executables.counts().into_iter();
        counts.map(|c| (c.name, c.complete, c.incomplete)).collect()
    }

    #[test]
    fn busy_executables_are_named_and_the_rest_is_other() {
        let mut executables = Executables::default();
        add(
            &mut executables,
            &[
                ("/usr/bin/api", Outcome::Root, 150),
                ("/opt/1/api", Outcome::NoRule, 10),
                ("/usr/bin/rare", Outcome::Root, 1),
            ],
        );
        let other = |complete, incomplete| ("other".to_owned(), complete, incomplete);
        assert_eq!(
            all(&executables),
            [("api".to_owned(), 150, 10), other(1, 0)]
        );
        // What was counted as other stays there.
        add(&mut executables, &[("/usr/bin/rare", Outcome::NoRule, 5)]);
        assert_eq!(
            all(&executables),
            [
                ("api".to_owned(), 150, 10),
                ("rare".to_owned(), 0, 5),
                other(1, 0)
            ]
        );
    }

    #[test]
    fn names_are_bounded_and_no_count_ever_falls() {
        let mut executables = Executables::default();
        let mut counted = 0;
        for number in 0..500 {
            let long = format!("/bin/{number}-{}", "\u{e9}".repeat(100));
            add(
                &mut executables,
                &[(&long, Outcome::Root, 2), ("/bin/other", Outcome::Root, 3)],
            );
            counted += 5;
            let counts = executables.counts();
            assert!(counts.len() <= NAMED + 1);
            assert!(counts.iter().all(|c| c.name.len() <= MAX_NAME));
            assert_eq!(counts.iter().map(|c| c.complete).sum::<u64>(), counted);
            assert_eq!(counts.iter().filter(|c| c.name == OTHER).count(), 1);
        }
    }
}

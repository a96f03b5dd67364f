//! What a recording is worth: numbers, and one line that a person can check.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::profile::window::OutcomeCounts;
use crate::profile::{LocationKind, Profile};

/// What a recording is worth, in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Samples.
    pub samples: u64,
    /// Processes that they were taken of.
    pub processes: usize,
    /// From the profile's start to its end.
    pub duration: Duration,
    /// Stacks that were walked to their root, and all stacks.
    pub complete: (u64, u64),
    /// Frames with a real name, and all frames, each as often as it was sampled.
    pub named: (u64, u64),
    /// What was lost or is less than it could be, by name.
    pub losses: Vec<(&'static str, u64)>,
    /// CPU time that the agent itself used.
    pub own_cpu: Duration,
}

impl Report {
    /// Of the profile that the agent recorded with `own_cpu`.
    #[must_use]
    pub fn new(profile: &Profile, own_cpu: Duration) -> Self {
        let processes: BTreeSet<u32> = profile
            .samples
            .iter()
            .filter_map(|sample| profile.threads.get(sample.thread.0 as usize))
            .map(|thread| thread.process)
            .collect();
        let mut outcomes = OutcomeCounts::default();
        for counts in &profile.outcomes {
            outcomes.merge(counts);
        }
        Self {
            samples: profile.sample_count(),
            processes: processes.len(),
            duration: Duration::from_nanos(profile.end.0.saturating_sub(profile.start.0)),
            complete: (outcomes.complete(), outcomes.total()),
            named: named_frames(profile),
            losses: profile.losses.named().collect(),
            own_cpu,
        }
    }
}

impl Display for Report {
    /// One line for a person.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} samples of {} processes in {:.1} s",
            grouped(self.samples),
            grouped(self.processes as u64),
            self.duration.as_secs_f64()
        )?;
        write!(
            formatter,
            "; {} unwound to the root; {} of frames named; lost: {}; own CPU time {:.2} s",
            percentage(self.complete),
            percentage(self.named),
            losses(&self.losses),
            self.own_cpu.as_secs_f64()
        )
    }
}

/// Frames with a real name, and all frames, each as often as it was sampled. The end of a stack that was not walked to its
/// root is no frame; a frame of an interpreter is one, which has neither mapping nor address.
fn named_frames(profile: &Profile) -> (u64, u64) {
    let (mut named, mut all) = (0, 0);
    for sample in &profile.samples {
        for location in profile.stacks.get(sample.stack) {
            let location = &profile.locations[location.0 as usize];
            let (is_frame, is_named) = match location.kind {
                LocationKind::Named => (true, true),
                LocationKind::Unnamed => (true, false),
                LocationKind::StackEnd(_) => (false, false),
            };
            all += if is_frame { sample.count } else { 0 };
            named += if is_named { sample.count } else { 0 };
        }
    }
    (named, all)
}

fn losses(losses: &[(&'static str, u64)]) -> String {
    if losses.is_empty() {
        return "nothing".to_owned();
    }
    let parts: Vec<String> = losses
        .iter()
        .map(|(name, count)| format!("{name} {}", grouped(*count)))
        .collect();
    parts.join(", ")
}

/// A number in groups of three digits, as people read it.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The part of the whole, from 0 to 1; none of nothing.
#[must_use]
pub fn share((part, whole): (u64, u64)) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn percentage(parts: (u64, u64)) -> String {
    share(parts).map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::{grouped, named_frames};
    use crate::profile::LocationKind;
    use crate::profile::example::example;

    #[test]
    fn frames_are_told_by_what_they_stand_for() {
        let mut profile = example();
        let (named, all) = named_frames(&profile);
        assert!(0 < named && named < all, "{named} of {all}");
        // Those of interpreters lie in no mapping.
        for location in &mut profile.locations {
            (location.mapping, location.address) = (None, 0);
        }
        assert_eq!(named_frames(&profile), (named, all));
        for location in &mut profile.locations {
            if let LocationKind::StackEnd(_) = location.kind {
                (location.kind, location.address) = (LocationKind::Unnamed, 1);
            }
        }
        assert!(named_frames(&profile).1 > all);
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (10_241, "10,241"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}

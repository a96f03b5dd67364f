//! A profile in one line that a person can check.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use crate::profile::Profile;
use crate::profile::window::OutcomeCounts;

/// Samples, processes, share unwound to the root, share of named frames, losses by cause, the
/// agent's own CPU time.
#[must_use]
pub fn line(profile: &Profile, own_cpu: Duration) -> String {
    let processes: BTreeSet<u32> = profile
        .samples
        .iter()
        .filter_map(|sample| profile.threads.get(sample.thread.0 as usize))
        .map(|thread| thread.process)
        .collect();
    let mut text = format!(
        "{} samples of {} processes in {:.1} s",
        grouped(profile.sample_count()),
        grouped(processes.len() as u64),
        profile.end.since(profile.start).as_secs_f64()
    );
    let mut outcomes = OutcomeCounts::default();
    for counts in &profile.outcomes {
        outcomes.merge(counts);
    }
    let (named, frames) = named_frames(profile);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "; {} unwound to the root; {} of frames named; lost: {}; own CPU time {:.2} s",
        share(outcomes.complete(), outcomes.total()),
        share(named, frames),
        losses(profile),
        own_cpu.as_secs_f64()
    );
    text
}

/// Frames with a real name, and all frames, each as often as it was sampled. The mark of a broken
/// stack is no frame.
fn named_frames(profile: &Profile) -> (u64, u64) {
    let (mut named, mut all) = (0, 0);
    for sample in &profile.samples {
        for location in profile.stacks.get(sample.stack) {
            let location = &profile.locations[location.0 as usize];
            let is_mark = location.mapping.is_none() && location.address == 0;
            if !is_mark {
                all += sample.count;
                named += if location.named { sample.count } else { 0 };
            }
        }
    }
    (named, all)
}

fn losses(profile: &Profile) -> String {
    if profile.losses.is_empty() {
        return "nothing".to_owned();
    }
    let parts: Vec<String> = profile
        .losses
        .named()
        .map(|(name, count)| format!("{name} {}", grouped(count)))
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

fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", 100.0 * part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::grouped;

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

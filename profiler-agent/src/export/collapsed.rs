//! Collapsed stacks: one line a stack, `comm;outermost;..;leaf count`, sorted.
//!
//! The conventions are those of `stackcollapse-perf`: the process's name first, the root before the
//! leaf, inlined functions as frames of their own, `_[k]` behind kernel functions. A `;` in a name
//! becomes `:`; control characters, line breaks and characters that reorder text become U+FFFD; so
//! that a line always splits into what was there. Samples of CPU time are counted; of time off a CPU there are
//! microseconds, as in the output of bcc's `offcputime -f`.

use std::collections::BTreeMap;

use crate::profile::{FrameType, Location, Profile, ProfileSample, SampleKind, SamplePeriod};

/// The profile as collapsed stacks; with `threads`, the thread's name follows the process's.
#[must_use]
pub fn encode(profile: &Profile, threads: bool) -> String {
    let mut text = String::new();
    for (stack, count) in stacks(profile, threads) {
        text.push_str(&stack);
        text.push(' ');
        text.push_str(&count.to_string());
        text.push('\n');
    }
    text
}

/// What collapsed stacks count.
pub(super) const fn unit(kind: SampleKind) -> &'static str {
    match kind.period {
        Some(_) => "samples",
        None => "microseconds",
    }
}

/// Collapsed stacks and their counts, each once.
pub(super) fn stacks(profile: &Profile, threads: bool) -> BTreeMap<String, u64> {
    let texts: Vec<String> = profile
        .locations
        .iter()
        .map(|location| location_text(profile, location))
        .collect();
    let mut stacks = BTreeMap::new();
    for sample in &profile.samples {
        let stack = stack_text(profile, sample, threads, &texts);
        let sum: &mut u64 = stacks.entry(stack).or_default();
        *sum = sum.saturating_add(sample.value);
    }
    let one = profile.kind.period.map_or(1_000, SamplePeriod::nanoseconds);
    stacks.values_mut().for_each(|sum| *sum /= one);
    stacks.retain(|_, count| *count > 0);
    stacks
}

fn stack_text(
    profile: &Profile,
    sample: &ProfileSample,
    threads: bool,
    texts: &[String],
) -> String {
    let thread = &profile.threads[sample.thread.0 as usize];
    let mut stack = String::new();
    push_name(&mut stack, &profile.processes[thread.process as usize].comm);
    // A line that starts with `#` is a comment to readers.
    if stack.starts_with('#') {
        stack.insert(0, '_');
    }
    if threads {
        stack.push(';');
        push_name(&mut stack, &thread.name);
    }
    for index in profile.stacks.get(sample.stack).iter().rev() {
        stack.push(';');
        stack.push_str(&texts[index.0 as usize]);
    }
    // `name 5` in front of the count would read as a second count.
    if let Some((_, last)) = stack.rsplit_once(' ')
        && last
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        stack.push('_');
    }
    stack
}

/// The functions of a location, outermost first.
fn location_text(profile: &Profile, location: &Location) -> String {
    let mut text = String::new();
    for line in location.lines.iter().rev() {
        if !text.is_empty() {
            text.push(';');
        }
        push_name(&mut text, &profile.functions[line.function.0 as usize].name);
        if location.frame_type == FrameType::Kernel {
            text.push_str("_[k]");
        }
    }
    text
}

fn push_name(text: &mut String, name: &str) {
    let start = text.len();
    text.extend(name.trim().chars().map(|character| match character {
        ';' => ':',
        character if is_unprintable(character) => char::REPLACEMENT_CHARACTER,
        character => character,
    }));
    if text.len() == start {
        text.push_str("[unknown]");
    }
}

/// Controls, characters that reorder the text around them, and what XML does not allow.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::encode;
    use crate::profile::SamplePeriod;
    use crate::profile::example::{any_profile, example};

    #[test]
    fn one_line_a_stack() {
        let expected = "\
kworker/0:1;do_syscall_64_[k] 1
program;main;outer;inner 4
program;main;program+0x8000;do_syscall_64_[k] 1
server;[truncated];program+0x8000 1
server;main;outer;inner 1
";
        assert_eq!(encode(&example(), false), expected);
        assert!(encode(&example(), true).contains("program;worker;main;outer;inner 1\n"));
    }

    proptest! {
        #[test]
        fn hostile_names_stay_within_their_frame(profile in any_profile(0, true), threads: bool) {
            let text = encode(&profile, threads);
            let depths: Vec<usize> = profile.samples.iter().map(|sample| {
                let stack = profile.stacks.get(sample.stack).iter();
                let lines = |index: &crate::profile::LocationIndex| {
                    profile.locations[index.0 as usize].lines.len()
                };
                stack.map(lines).sum::<usize>() + 1 + usize::from(threads)
            }).collect();
            let mut sum = 0;
            for line in text.lines() {
                let (stack, count) = line.rsplit_once(' ').unwrap();
                prop_assert!(depths.contains(&stack.split(';').count()), "{:?}", line);
                prop_assert!(stack.split(';').all(|frame| !frame.is_empty()));
                prop_assert!(!stack.contains(char::is_control));
                sum += count.parse::<u64>().unwrap();
            }
            let one = profile.kind.period.map_or(1_000, SamplePeriod::nanoseconds);
            prop_assert_eq!(sum, profile.value() / one);
        }
    }
}

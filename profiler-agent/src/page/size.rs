//! How long a profile's stacks are as lines of text.

use crate::profile::{Profile, ProfileSample};

/// Bytes of names on all stacks of all samples, each with a separator: what collapsed stacks are made of.
pub(super) fn text_bytes(profile: &Profile) -> usize {
    let locations: Vec<usize> = profile
        .locations
        .iter()
        .map(|location| {
            let names = location.lines.iter().map(|line| {
                let function = profile.functions.get(line.function.0 as usize);
                // A kind may stand behind a name, an address in its place.
                function.map_or(0, |function| function.name.len()).max(18) + 5
            });
            names.sum::<usize>().max(24)
        })
        .collect();
    let stack = |sample: &ProfileSample| -> usize {
        let frames = profile.stacks.get(sample.stack).iter();
        frames
            .map(|frame| locations.get(frame.0 as usize).copied().unwrap_or(0))
            .sum()
    };
    profile
        .samples
        .iter()
        .map(stack)
        .fold(0, usize::saturating_add)
}

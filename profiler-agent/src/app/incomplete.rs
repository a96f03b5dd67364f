//! What is incomplete in a profile, in words, and what to do about it.

use profiler_common::unwind::Outcome;

use super::report::grouped;
use crate::profile::window::OutcomeCounts;
use crate::profile::{Degradation, Explanation, Losses, Profile, mark};

/// A sentence for each thing that is incomplete, what concerns most first; none where nothing is.
#[must_use]
pub fn sentences(profile: &Profile) -> Vec<String> {
    let mut outcomes = OutcomeCounts::default();
    for counts in &profile.outcomes {
        outcomes.merge(counts);
    }
    let mut all: Vec<String> = stacks(&outcomes).into_iter().collect();
    all.extend(samples(&profile.losses, profile.sample_count()));
    all.extend(names(&profile.losses));
    all
}

/// `212 of 10,241 stacks are cut: 200 in code without call frame information (..), 12 ..`.
fn stacks(outcomes: &OutcomeCounts) -> Option<String> {
    let mut reasons: Vec<(u64, Outcome)> = Outcome::ALL
        .into_iter()
        .filter(|outcome| !outcome.complete())
        .map(|outcome| (outcomes.of(outcome), outcome))
        .filter(|(count, _)| *count > 0)
        .collect();
    reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let cut: u64 = reasons.iter().map(|(count, _)| count).sum();
    let reasons: Vec<String> = reasons
        .into_iter()
        .map(|(count, outcome)| reason(count, &mark::explain(outcome)))
        .collect();
    (cut > 0).then(|| {
        format!(
            "{} of {} stacks are cut: {}",
            grouped(cut),
            grouped(outcomes.total()),
            reasons.join("; ")
        )
    })
}

/// `200 end in code without call frame information: build it with ..`, where what is counted was said before.
fn reason(count: u64, explanation: &Explanation) -> String {
    let Explanation { what, fix, .. } = explanation;
    format!("{} {what}: {fix}", grouped(count))
}

/// `17 samples are missing beside 10,241: 17 ..`.
fn samples(losses: &Losses, taken: u64) -> Option<String> {
    let lost = losses.samples();
    let count = lost.total();
    let reasons: Vec<String> = lost
        .iter()
        .map(|(cause, count)| reason(count, &cause.explanation()))
        .collect();
    (count > 0).then(|| {
        format!(
            "{} samples are missing beside the {} that were taken: {}",
            grouped(count),
            grouped(taken),
            reasons.join("; ")
        )
    })
}

/// Sentences of what makes names or stacks less than they could be, where the user can do something about it.
fn names(losses: &Losses) -> Vec<String> {
    let told = losses.degradations().iter();
    let told = told.filter(|(degradation, _)| TOLD.contains(degradation));
    told.map(|(degradation, count)| degradation.explanation().sentence(&grouped(count)))
        .collect()
}

/// What a recording says in words: what changes its names and stacks, and what its user can change.
const TOLD: [Degradation; 13] = [
    Degradation::KernelSymbolsHidden,
    Degradation::ExecutableUnopened,
    Degradation::ExecutableReplaced,
    Degradation::UnwindTableBudget,
    Degradation::ProcessTableFull,
    Degradation::MappingTableFull,
    Degradation::MemoryShort,
    Degradation::MappingUnknown,
    Degradation::SelectionFull,
    Degradation::OffCpuUntracked,
    Degradation::DebugInfoBudget,
    Degradation::CpuUnsampled,
    Degradation::PerfMapMalformed,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SampleLoss;
    use crate::profile::example::example;

    fn outcomes(all: &[(Outcome, u64)]) -> OutcomeCounts {
        let mut counts = OutcomeCounts::default();
        for (outcome, count) in all {
            (0..*count).for_each(|_| counts.add(*outcome));
        }
        counts
    }

    #[test]
    fn what_is_whole_needs_no_words() {
        let mut profile = example();
        profile.losses = Losses::default();
        profile.outcomes = vec![outcomes(&[(Outcome::Root, 7), (Outcome::NoUserStack, 2)])];
        assert_eq!(sentences(&profile), [""; 0]);
    }

    #[test]
    fn what_is_cut_and_lost_is_said_with_what_helps() {
        let mut profile = example();
        profile.losses = Losses::default();
        profile.losses.add(SampleLoss::RingFull, 1_017);
        profile.losses.add(Degradation::KernelSymbolsHidden, 1);
        profile.losses.add(Degradation::LabelCut, 5);
        profile.outcomes = vec![
            outcomes(&[(Outcome::Root, 10_029), (Outcome::TablePending, 12)]),
            outcomes(&[(Outcome::NoRule, 200)]),
        ];
        let said = sentences(&profile);
        assert_eq!(
            said[0],
            "212 of 10,241 stacks are cut: 200 end in code without call frame information: build it with \
             -fasynchronous-unwind-tables or with -fno-omit-frame-pointer; 12 end before the unwind tables of their files \
             were built: record longer, or once more; if it goes on, give the agent more CPU time"
        );
        assert!(
            said[1].starts_with("1,017 samples are missing beside the "),
            "{}",
            said[1]
        );
        assert!(
            said[1].contains("lower the frequency (-F, sampling.frequency)"),
            "{}",
            said[1]
        );
        assert!(said[2].contains("kernel.kptr_restrict"), "{}", said[2]);
        assert_eq!(said.len(), 3);
    }
}

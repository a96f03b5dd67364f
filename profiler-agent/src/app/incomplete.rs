//! What is incomplete in a profile, in words, and what to do about it.

use profiler_common::unwind::Outcome;

use super::report::grouped;
use crate::profile::window::OutcomeCounts;
use crate::profile::{LossCause, Losses, Profile};

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
        .map(|(count, outcome)| format!("{} {}", grouped(count), why_cut(outcome)))
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

/// Why a stack ends before its root, and what helps.
const fn why_cut(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NoUserStack | Outcome::Root => "are whole",
        Outcome::Truncated => {
            "are deeper than the kernel side walks: their outermost frames are missing"
        }
        Outcome::MemoryUnreadable => {
            "where the memory of the stack could not be read (swapped out, or changed by the program itself)"
        }
        Outcome::NoRule => {
            "in code without call frame information: build it with -fasynchronous-unwind-tables or with frame pointers"
        }
        Outcome::UnknownCode => {
            "in code that is in no file (of a JIT compiler): have it keep frame pointers, as java -XX:+PreserveFramePointer \
             and node --perf-basic-prof do"
        }
        Outcome::TablePending => {
            "before the tables of their files were built: record longer, or once more"
        }
        Outcome::NotAdvancing => {
            "where the frames would repeat: the program's stack or its tables are damaged"
        }
        Outcome::UnsupportedRule => {
            "in code whose call frame information needs what is not evaluated"
        }
        Outcome::RegisterUnavailable => {
            "where a register that leads on is not known: build the code with frame pointers"
        }
        Outcome::ForeignMode => "of 32-bit programs, whose stacks are not walked",
        Outcome::TableCorrupt => "where an unwind table is inconsistent: report it",
        Outcome::RegistersMissing => "where the kernel did not give the registers of the program",
        Outcome::GoroutineUnknown => {
            "in calls from and to C of Go programs whose goroutine could not be told"
        }
    }
}

/// `17 samples are missing beside 10,241: 17 ..`.
fn samples(losses: &Losses, taken: u64) -> Option<String> {
    let lost: Vec<(LossCause, u64)> = losses
        .iter()
        .filter(|(cause, _)| cause.loses_samples())
        .collect();
    let count: u64 = lost.iter().map(|(_, count)| count).sum();
    let reasons: Vec<String> = lost
        .into_iter()
        .map(|(cause, count)| format!("{} {}", grouped(count), why_lost(cause)))
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

/// Why samples are lost, and what helps.
const fn why_lost(cause: LossCause) -> &'static str {
    match cause {
        LossCause::RingFull => {
            "because they came faster than they were read: lower the frequency (-F), or give the recorder CPU time"
        }
        LossCause::RingMissing => "on CPUs that came online meanwhile",
        LossCause::ScratchMissing => {
            "because the kernel side had no memory for them: lower the frequency (-F)"
        }
        LossCause::OffCpuRingFull => {
            "of time off CPU because they came faster than they were read: raise the threshold or lower the probability"
        }
        LossCause::OffCpuMissed => {
            "of time off CPU because the kernel did not run the program that takes them"
        }
        LossCause::ProcessUnknown => {
            "of processes that started and ended before they could be read"
        }
        LossCause::WindowFull | LossCause::PipelineBehind => {
            "because they were too many to be kept: lower the frequency (-F), or record fewer processes (-p)"
        }
        _ => "because what the kernel side sent was malformed: report it",
    }
}

/// Sentences of what makes names or stacks less than they could be, where the user can do something about it.
fn names(losses: &Losses) -> Vec<String> {
    let sentence = |(cause, count): (LossCause, u64)| {
        let (what, fix) = less(cause)?;
        Some(format!("{} {what}: {fix}", grouped(count)))
    };
    losses.iter().filter_map(sentence).collect()
}

/// What is less than it could be, and what helps.
const fn less(cause: LossCause) -> Option<(&'static str, &'static str)> {
    Some(match cause {
        LossCause::KernelSymbolsHidden => (
            "times the kernel's symbols were hidden",
            "set the sysctl kernel.kptr_restrict to 0 or 1, and record with CAP_SYSLOG",
        ),
        LossCause::ExecutableUnopened => (
            "executables could not be opened, and their functions have no names",
            "they were deleted or replaced, or are not to be read by this user",
        ),
        LossCause::ExecutableReplaced => (
            "executables were replaced since they were started, and their functions have no names",
            "start their programs again",
        ),
        LossCause::UnwindTableBudget
        | LossCause::ProcessTableFull
        | LossCause::MappingTableFull => (
            "times the kernel side had no room for what stacks are walked by",
            "record fewer processes (-p)",
        ),
        LossCause::MemoryShort => (
            "times nearly all memory that the control group may have was in use, and new names had no lines",
            "raise its limit: 256 MiB are enough",
        ),
        LossCause::MappingUnknown => (
            "samples have frames without a name, because it is not known what was mapped there at that time",
            "the machine was too busy for the agent to follow what programs map: record again, or give it more CPU time",
        ),
        LossCause::SelectionFull => (
            "processes are not recorded, because the kernel side had no room for them",
            "record fewer processes (-p)",
        ),
        LossCause::OffCpuUntracked => (
            "times a thread left its CPU and the kernel side had no room to note when",
            "record fewer processes (-p)",
        ),
        LossCause::DebugInfoBudget => (
            "executables have so much debug information that inlined calls and lines of theirs are left out",
            "record fewer processes (-p)",
        ),
        LossCause::SymbolizerBehind => return None,
        LossCause::CpuUnsampled => ("attempts to sample a CPU failed", "standard error said why"),
        LossCause::PerfMapMalformed => (
            "files /tmp/perf-PID.map could not be read",
            "they belong to the user of their process, who alone may write them",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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
        profile.losses.add(LossCause::RingFull, 1_017);
        profile.losses.add(LossCause::KernelSymbolsHidden, 1);
        profile.losses.add(LossCause::LabelCut, 5);
        profile.outcomes = vec![
            outcomes(&[(Outcome::Root, 10_029), (Outcome::TablePending, 12)]),
            outcomes(&[(Outcome::NoRule, 200)]),
        ];
        let said = sentences(&profile);
        assert_eq!(
            said[0],
            "212 of 10,241 stacks are cut: 200 in code without call frame information: build it with \
             -fasynchronous-unwind-tables or with frame pointers; 12 before the tables of their files were built: record \
             longer, or once more"
        );
        assert!(
            said[1].starts_with("1,017 samples are missing beside the "),
            "{}",
            said[1]
        );
        assert!(said[1].contains("lower the frequency (-F)"), "{}", said[1]);
        assert!(said[2].contains("kernel.kptr_restrict"), "{}", said[2]);
        assert_eq!(said.len(), 3);
    }
}

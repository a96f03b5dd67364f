//! What a window holds in a few numbers, and the archive that keeps windows: lets lists and time
//! lines be drawn without reading a single profile.

use super::{LinkFilter, Profile, ProfileKind, ProfileSample, SampleKind, UnixTime, samples_of};

/// Names a window within one archive; never reused by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId(pub u64);

/// Samples of one process in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessTotal {
    /// Process id in the initial pid namespace; 0 where unknown.
    pub pid: u32,
    /// What a person calls it: `Process::service`. Untrusted.
    pub service: Box<str>,
    /// Name of its main thread. Untrusted.
    pub comm: Box<str>,
    /// Samples of it; of a kind without a period what they stand for.
    pub samples: u64,
}

/// A count with the name of what is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCount {
    /// The name of a cause (`Losses::named`) or `Outcome::name`.
    pub name: Box<str>,
    /// How many.
    pub count: u64,
}

/// A window in a few numbers; bounded in size whatever ran in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSummary {
    /// What the samples measure.
    pub kind: SampleKind,
    /// All samples; of a kind without a period what they stand for.
    pub samples: u64,
    /// The processes with the most samples, most first; at most [`WindowSummary::MAX_PROCESSES`].
    pub processes: Vec<ProcessTotal>,
    /// How many further processes there were.
    pub rest_processes: u64,
    /// Samples of the further processes.
    pub rest_samples: u64,
    /// How user stacks ended, by `Outcome::name`; only what occurred.
    pub outcomes: Vec<NamedCount>,
    /// What was lost, by the cause's name; only what occurred.
    pub losses: Vec<NamedCount>,
}

impl WindowSummary {
    /// Processes that are listed one by one.
    pub const MAX_PROCESSES: usize = 200;
    /// Bytes of a name that are kept.
    pub const MAX_NAME: usize = 255;

    /// The summary of a profile. Processes of the same pid, service and name are one.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        Self::of_samples(profile, profile.kind.quantum(), |_| true)
    }

    /// The summary of the samples of a profile that `keep` wants, in units of `quantum` ns: 1 is exact whatever rates they
    /// were taken at. Outcomes and losses are those of the whole.
    #[must_use]
    pub fn of_samples(
        profile: &Profile,
        quantum: u64,
        keep: impl Fn(&ProfileSample) -> bool,
    ) -> Self {
        let mut samples = vec![0u64; profile.processes.len()];
        let mut total = 0u64;
        for sample in profile.samples.iter().filter(|sample| keep(sample)) {
            total = total.saturating_add(sample.value);
            let process = profile.threads.get(sample.thread.0 as usize);
            if let Some(sum) = process.and_then(|t| samples.get_mut(t.process as usize)) {
                *sum = sum.saturating_add(sample.value);
            }
        }
        total = samples_of(total, quantum);
        samples
            .iter_mut()
            .for_each(|sum| *sum = samples_of(*sum, quantum));
        let mut processes: Vec<ProcessTotal> = profile
            .processes
            .iter()
            .zip(samples)
            .filter(|(_, samples)| *samples > 0)
            .map(|(process, samples)| ProcessTotal {
                pid: process.key.pid,
                service: cut(process.service()).into(),
                comm: cut(&process.comm).into(),
                samples,
            })
            .collect();
        processes.sort_by(|a, b| (a.pid, &a.service, &a.comm).cmp(&(b.pid, &b.service, &b.comm)));
        processes.dedup_by(|next, kept| {
            let same =
                (next.pid, &next.service, &next.comm) == (kept.pid, &kept.service, &kept.comm);
            if same {
                kept.samples = kept.samples.saturating_add(next.samples);
            }
            same
        });
        processes.sort_by_key(|process| std::cmp::Reverse(process.samples));
        let rest = processes.split_off(processes.len().min(Self::MAX_PROCESSES));
        let listed: u64 = processes.iter().map(|process| process.samples).sum();
        let mut outcomes = super::window::OutcomeCounts::default();
        for counts in &profile.outcomes {
            outcomes.merge(counts);
        }
        Self {
            kind: profile.kind,
            samples: total,
            processes,
            rest_processes: rest.len() as u64,
            rest_samples: total.saturating_sub(listed),
            outcomes: profiler_common::unwind::Outcome::ALL
                .into_iter()
                .filter(|outcome| outcomes.of(*outcome) > 0)
                .map(|outcome| NamedCount {
                    name: outcome.name().into(),
                    count: outcomes.of(outcome),
                })
                .collect(),
            losses: profile
                .losses
                .named()
                .map(|(name, count)| NamedCount {
                    name: name.into(),
                    count,
                })
                .collect(),
        }
    }
}

/// The longest prefix of `name` that is at most `MAX_NAME` bytes.
fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(WindowSummary::MAX_NAME)]
}

/// A window that an archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedWindow {
    /// Names it.
    pub id: WindowId,
    /// When it was opened.
    pub start: UnixTime,
    /// When it was closed.
    pub end: UnixTime,
    /// Length of its encoded profile in bytes.
    pub bytes: u64,
    /// What it holds.
    pub summary: WindowSummary,
}

/// Windows that an archive holds once more, merged into one profile of their frames
/// ([`Merger::of_frames`](super::Merger::of_frames)): those whose starts lie in one part of time. No window is in two
/// spans of a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedSpan {
    /// What its samples measure.
    pub kind: ProfileKind,
    /// How long the part of time is: the archive's shortest is 0.
    pub level: u8,
    /// When the part of time begins.
    pub start: UnixTime,
    /// The windows that it stands for, by id.
    pub windows: Vec<WindowId>,
    /// Length of its encoded profile in bytes.
    pub bytes: u64,
}

/// Why an archive could not answer.
pub type ArchiveError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps encoded profiles of windows, each with its summary. What the bytes are is a matter between
/// who wrote and who reads them.
pub trait WindowArchive: Send + Sync {
    /// From the earliest start to the latest end; `None` when it holds nothing.
    ///
    /// # Errors
    /// The archive could not be read.
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError>;
    /// The kinds of the windows that it holds, in order.
    fn kinds(&self) -> Vec<ProfileKind>;
    /// Visits the windows that overlap `from .. until`, by time of start, one at a time. Those that are damaged are left
    /// out and returned.
    ///
    /// # Errors
    /// The archive could not be read.
    fn visit(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError>;
    /// Visits the windows that overlap `from .. until` and may hold samples of the request, by time of
    /// start: every one that does, and few others.
    ///
    /// # Errors
    /// The archive could not be read.
    fn linked(
        &self,
        wanted: &LinkFilter,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(WindowId),
    ) -> Result<(), ArchiveError>;
    /// The encoded profile of a window; `None` when it is gone by now.
    ///
    /// # Errors
    /// The window could not be read.
    fn read(&self, id: WindowId) -> Result<Option<Vec<u8>>, ArchiveError>;
    /// The spans of merged windows that may stand for windows of `from .. until`.
    ///
    /// # Errors
    /// The archive could not be read.
    fn merged_spans(
        &self,
        from: UnixTime,
        until: UnixTime,
    ) -> Result<Vec<MergedSpan>, ArchiveError>;
    /// The frames of a span's windows; `None` when it does not stand for these windows any more.
    ///
    /// # Errors
    /// It could not be read, which is noted: its windows are there to be read one by one.
    fn read_merged(&self, span: &MergedSpan) -> Result<Option<Profile>, ArchiveError>;
    /// Notes that a window is damaged: its bytes could not be read or understood.
    fn note_damage(&self, id: WindowId, reason: &ArchiveError);
}

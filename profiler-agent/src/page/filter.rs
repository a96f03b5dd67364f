//! Which samples a request asks for.

use crate::profile::{LinkFilter, Process, Profile, ProfileSample, WindowSummary};

/// Which samples: what is given has to be equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Filter {
    /// Of processes with this `Process::service`.
    pub(super) service: Option<String>,
    /// Of the process with this pid.
    pub(super) pid: Option<u32>,
    /// Of processes with this name.
    pub(super) comm: Option<String>,
    /// Of threads with this name.
    pub(super) thread: Option<String>,
    /// With all of these labels, each as `key:value`.
    pub(super) labels: Vec<String>,
    /// Of this trace or span.
    pub(super) link: LinkFilter,
}

impl Filter {
    /// Is the process wanted?
    #[must_use]
    pub(super) fn keeps(&self, process: &Process) -> bool {
        self.service
            .as_deref()
            .is_none_or(|name| name == process.service())
            && self.pid.is_none_or(|pid| pid == process.key.pid)
            && self
                .comm
                .as_deref()
                .is_none_or(|comm| *comm == *process.comm)
    }
    /// Is every process wanted?
    #[must_use]
    pub(super) const fn is_every_process(&self) -> bool {
        self.service.is_none() && self.pid.is_none() && self.comm.is_none()
    }
    /// Are all samples of a process wanted or none?
    #[must_use]
    pub(super) fn is_by_process(&self) -> bool {
        self.thread.is_none() && self.labels.is_empty() && self.link.is_everything()
    }
    /// May a window with this summary have samples of a process that is wanted?
    #[must_use]
    pub(super) fn may_be_in(&self, summary: &WindowSummary) -> bool {
        // A name as long as this may have been cut.
        let is = |wanted: &Option<String>, name: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == name || wanted.len() >= WindowSummary::MAX_NAME - 4)
        };
        summary.rest_processes > 0
            || summary.processes.iter().any(|process| {
                self.pid.is_none_or(|pid| pid == process.pid)
                    && is(&self.service, &process.service)
                    && is(&self.comm, &process.comm)
            })
    }
    /// The filter over a profile.
    pub(super) fn over(&self, profile: &Profile) -> Wanted {
        let processes: Vec<bool> = profile.processes.iter().map(|p| self.keeps(p)).collect();
        let threads = profile.threads.iter();
        let has = |set: &crate::profile::LabelSet, wanted: &String| {
            set.labels.iter().any(|label| {
                let rest = wanted.strip_prefix(&*label.key);
                rest.and_then(|rest| rest.strip_prefix(':')) == Some(&*label.value)
            })
        };
        let sets = profile.label_sets.iter();
        Wanted {
            threads: threads
                .map(|thread| {
                    let named = self.thread.as_deref();
                    named.is_none_or(|name| *name == *thread.name)
                        && processes.get(thread.process as usize) == Some(&true)
                })
                .collect(),
            label_sets: sets
                .map(|set| self.labels.iter().all(|wanted| has(set, wanted)))
                .collect(),
            link: self.link,
        }
    }
}

/// Which samples of one profile.
pub(super) struct Wanted {
    threads: Vec<bool>,
    label_sets: Vec<bool>,
    link: LinkFilter,
}

impl Wanted {
    /// Is the sample wanted?
    pub(super) fn keeps(&self, sample: &ProfileSample) -> bool {
        self.threads.get(sample.thread.0 as usize) == Some(&true)
            && self.label_sets.get(sample.labels.0 as usize) == Some(&true)
            && self.link.keeps(sample.link.as_ref())
    }
}

//! Which samples a request asks for.

use std::sync::Arc;

use crate::profile::{
    LinkFilter, Process, Profile, ProfileSample, UnixTime, WindowSummary, filter,
};

/// Times of samples, the end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    pub(super) from: UnixTime,
    pub(super) until: UnixTime,
}

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
    /// Taken at these times, each by its own: samples without times are not wanted then.
    pub(super) taken: Option<Taken>,
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
        self.thread.is_none() && self.labels.is_empty() && !self.needs_windows()
    }
    /// Do merged windows lack what is asked for: links, times?
    #[must_use]
    pub(super) fn needs_windows(&self) -> bool {
        !self.link.is_everything() || self.taken.is_some()
    }
    /// Does the other filter want the same samples, but for their times?
    #[must_use]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let untimed = |filter: &Self| Self {
            taken: None,
            ..filter.clone()
        };
        untimed(self) == untimed(other)
    }
    /// The part of a profile that was taken at the times that are wanted.
    #[must_use]
    pub(super) fn part_of(&self, profile: Arc<Profile>) -> Arc<Profile> {
        match self.taken {
            None => profile,
            Some(Taken { from, until }) => {
                let has_times = |sample: &ProfileSample| !sample.occurrences.is_empty();
                Arc::new(filter(&profile, Some(&(from..until)), has_times))
            }
        }
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
        let by_name = |label: &&String| {
            label
                .strip_prefix(Process::SERVICE_NAME)
                .is_some_and(|rest| rest.starts_with(':'))
        };
        let (named, others): (Vec<&String>, Vec<&String>) = self.labels.iter().partition(by_name);
        // A process has this label by what it is called, a sample may have it of its own.
        let named = named.into_iter().map(|label| {
            let name = &label[Process::SERVICE_NAME.len() + 1..];
            let is_called = |process: u32| {
                let process = profile.processes.get(process as usize);
                process.is_some_and(|process| process.service() == name)
            };
            let threads = profile.threads.iter();
            Named {
                threads: threads.map(|thread| is_called(thread.process)).collect(),
                label_sets: profile
                    .label_sets
                    .iter()
                    .map(|set| has(set, label))
                    .collect(),
            }
        });
        let sets = profile.label_sets.iter();
        Wanted {
            named: named.collect(),
            threads: threads
                .map(|thread| {
                    let named = self.thread.as_deref();
                    named.is_none_or(|name| *name == *thread.name)
                        && processes.get(thread.process as usize) == Some(&true)
                })
                .collect(),
            label_sets: sets
                .map(|set| others.iter().all(|wanted| has(set, wanted)))
                .collect(),
            link: self.link,
        }
    }
}

/// Which samples of one profile.
pub(super) struct Wanted {
    threads: Vec<bool>,
    label_sets: Vec<bool>,
    named: Vec<Named>,
    link: LinkFilter,
}

/// What has one label that says what a process is called.
struct Named {
    threads: Vec<bool>,
    label_sets: Vec<bool>,
}

impl Wanted {
    /// Is the sample wanted?
    pub(super) fn keeps(&self, sample: &ProfileSample) -> bool {
        self.threads.get(sample.thread.0 as usize) == Some(&true)
            && self.label_sets.get(sample.labels.0 as usize) == Some(&true)
            && self.link.keeps(sample.link.as_ref())
            && self.named.iter().all(|named| {
                named.threads.get(sample.thread.0 as usize) == Some(&true)
                    || named.label_sets.get(sample.labels.0 as usize) == Some(&true)
            })
    }
}

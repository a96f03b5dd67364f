//! The open windows: one for each kind of samples that is wanted.

use std::sync::Arc;

use crate::aggregate::{Aggregator, Config, Limits};
use crate::app::collector::config::Kinds;
use crate::profile::{
    BootTime, Label, LabelSet, LocatedFrame, LocatedSample, Losses, Process, ProfileKind,
    RawSample, STATE_BLOCKED, STATE_RUNNABLE, SampleContext, SampleKind, THREAD_STATE, Window,
};

/// See the module.
pub(super) struct Windows {
    /// Never empty.
    open: Vec<(ProfileKind, Aggregator)>,
}

impl Windows {
    /// Windows of these kinds, the first of which open at `start`.
    pub(super) fn new(kinds: &Kinds, start: BootTime) -> Self {
        let on_cpu = SampleKind::on_cpu(kinds.period);
        let wanted = [
            kinds.on_cpu.then_some(on_cpu),
            kinds.off_cpu.map(|_| SampleKind::OFF_CPU),
        ];
        let wanted = wanted.into_iter().flatten();
        let open = wanted.map(|kind| {
            let config = Config {
                kind,
                limits: Limits::default(),
            };
            (kind.kind, Aggregator::new(config, start))
        });
        Self {
            open: open.collect(),
        }
    }

    /// Are samples of this kind kept?
    pub(super) fn wants(&self, kind: ProfileKind) -> bool {
        self.open.iter().any(|(open, _)| *open == kind)
    }

    /// Adds a sample to the window of its kind. Off a CPU, the time that the thread was blocked and the time that it waited
    /// for a CPU are told apart by a label.
    pub(super) fn add(&mut self, sample: &LocatedSample) {
        let mut open = self.open.iter_mut();
        let Some((kind, aggregator)) = open.find(|(kind, _)| *kind == sample.kind) else {
            return;
        };
        if *kind != ProfileKind::OffCpu {
            return aggregator.add(sample);
        }
        for (value, state) in parts(sample.value, sample.runnable).into_iter().flatten() {
            aggregator.add(&LocatedSample {
                value,
                context: Some(in_state(sample.context.as_deref(), state)),
                ..sample.clone()
            });
        }
    }

    /// See [`Aggregator::amend`].
    pub(super) fn amend(&mut self, process: &Arc<Process>) {
        for (_, aggregator) in &mut self.open {
            aggregator.amend(process);
        }
    }

    /// See [`Aggregator::take_new_locations`].
    pub(super) fn take_new_locations(&mut self) -> Vec<LocatedFrame> {
        let open = self.open.iter_mut();
        open.flat_map(|(_, aggregator)| aggregator.take_new_locations())
            .collect()
    }

    /// When the open windows were opened.
    pub(super) fn start(&self) -> BootTime {
        self.open[0].1.start()
    }

    /// See [`Aggregator::close`]. The losses are told with the first window.
    pub(super) fn close(&mut self, end: BootTime, mut losses: Losses) -> Vec<Window> {
        let open = self.open.iter_mut();
        open.map(|(_, aggregator)| aggregator.close(end, losses.take()))
            .collect()
    }
}

/// The samples that one is counted as.
pub(super) fn count_of(sample: &RawSample) -> u64 {
    match sample.kind {
        ProfileKind::OffCpu => parts(sample.value, sample.runnable)
            .into_iter()
            .flatten()
            .count() as u64,
        ProfileKind::OnCpu | ProfileKind::Wall => 1,
    }
}

/// Time that was blocked and time that waited for a CPU, as far as there is any: there is always one of them.
fn parts(value: u64, runnable: u64) -> [Option<(u64, &'static str)>; 2] {
    let runnable = runnable.min(value);
    let blocked = value - runnable;
    [
        (blocked > 0 || runnable == 0).then_some((blocked, STATE_BLOCKED)),
        (runnable > 0).then_some((runnable, STATE_RUNNABLE)),
    ]
}

/// A context with the label of a state.
fn in_state(context: Option<&SampleContext>, state: &str) -> Arc<SampleContext> {
    let mut context = context.cloned().unwrap_or_default();
    let mut labels = context.labels.labels.into_vec();
    labels.retain(|label| &*label.key != THREAD_STATE);
    let place = labels.partition_point(|label| &*label.key < THREAD_STATE);
    let label = Label {
        key: THREAD_STATE.into(),
        value: state.into(),
    };
    labels.insert(place, label);
    context.labels = LabelSet {
        labels: labels.into(),
        goroutine: context.labels.goroutine,
    };
    Arc::new(context)
}

#[cfg(test)]
mod tests {
    use super::{in_state, parts};
    use crate::profile::{Label, LabelSet, SampleContext};

    #[test]
    fn the_parts_make_the_whole() {
        for (value, runnable) in [(0, 0), (7, 0), (7, 7), (7, 3), (7, 9)] {
            let parts = parts(value, runnable);
            assert!(parts.iter().any(Option::is_some));
            let sum: u64 = parts.iter().flatten().map(|(value, _)| value).sum();
            assert_eq!(sum, value);
        }
    }

    #[test]
    fn a_state_is_a_label_among_the_others() {
        let label = |key: &str, value: &str| Label {
            key: key.into(),
            value: value.into(),
        };
        let labels = [
            label("a", "1"),
            label("thread.state", "mine"),
            label("z", "2"),
        ];
        let context = SampleContext {
            labels: LabelSet {
                labels: Box::new(labels),
                goroutine: Some(5),
            },
            link: None,
        };
        let blocked = in_state(Some(&context), "blocked");
        let expected = [
            label("a", "1"),
            label("thread.state", "blocked"),
            label("z", "2"),
        ];
        assert_eq!(*blocked.labels.labels, expected);
        assert_eq!(blocked.labels.goroutine, Some(5));
        assert_eq!(
            in_state(None, "runnable").labels.get("thread.state"),
            Some("runnable")
        );
    }
}

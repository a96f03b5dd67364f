//! Samples that were read and are not located yet: the side-band is not read up to their time, or an earlier window is still
//! open.

use crate::profile::{BootTime, RawSample};

/// Samples that may wait; more are lost.
const MAX_SAMPLES: usize = 500_000;

/// The samples that wait, in the order in which they were read.
pub(super) struct Held {
    samples: Vec<RawSample>,
    /// Bytes of stacks that they brought along.
    stack_bytes: usize,
    /// Bytes of stacks that may wait.
    most: usize,
}

impl Held {
    /// For stacks of so many bytes at a time.
    pub(super) const fn of(most: usize) -> Self {
        Self {
            samples: Vec::new(),
            stack_bytes: 0,
            most,
        }
    }

    /// Keeps a sample; false where there is no room for it. Where there is none for the stack that it brought along, it
    /// keeps the one that the kernel side walked: a window that waits for its tables at a high frequency would take all
    /// memory otherwise.
    pub(super) fn push(&mut self, mut sample: RawSample) -> bool {
        if self.samples.len() >= MAX_SAMPLES {
            return false;
        }
        let bytes = stack_bytes(&sample);
        if self.stack_bytes + bytes <= self.most {
            self.stack_bytes += bytes;
        } else {
            sample.snapshot = None;
        }
        self.samples.push(sample);
        true
    }

    /// Takes the samples up to a time.
    pub(super) fn take(&mut self, until: BootTime) -> Vec<RawSample> {
        let taken: Vec<RawSample> = self
            .samples
            .extract_if(.., |sample| sample.time <= until)
            .collect();
        self.stack_bytes -= taken.iter().map(stack_bytes).sum::<usize>();
        taken
    }

    /// The time of the earliest.
    pub(super) fn first(&self) -> Option<BootTime> {
        self.samples.iter().map(|sample| sample.time).min()
    }
}

fn stack_bytes(sample: &RawSample) -> usize {
    let snapshot = sample.snapshot.as_ref();
    snapshot.map_or(0, |snapshot| snapshot.stack_bytes())
}

#[cfg(test)]
mod tests {
    use profiler_common::layout::SampleFlags;
    use profiler_common::unwind::Outcome;

    use super::*;
    use crate::profile::{ProfileKind, StackBytes, StackSnapshot, ThreadName, VirtualAddress};

    fn sample(time: u64, stack: usize) -> RawSample {
        let snapshot = StackSnapshot {
            time: BootTime(time),
            tid: 1,
            pc: 0,
            general: Default::default(),
            goroutine: Default::default(),
            go: Default::default(),
            stacks: vec![StackBytes {
                start: VirtualAddress(0),
                bytes: vec![0; stack],
            }],
        };
        RawSample {
            time: BootTime(time),
            kind: ProfileKind::OnCpu,
            value: 1,
            runnable: 0,
            image: BootTime(0),
            cgroup: 0,
            pid: 1,
            tid: 1,
            cpu: 0,
            thread_name: ThreadName::default(),
            outcome: Outcome::TablePending,
            flags: SampleFlags::default(),
            kernel: Vec::new(),
            user: Vec::new(),
            context: None,
            snapshot: (stack > 0).then(|| Box::new(snapshot)),
        }
    }

    fn stacks(samples: &[RawSample]) -> Vec<(u64, usize)> {
        let told = samples
            .iter()
            .map(|sample| (sample.time.0, stack_bytes(sample)));
        told.collect()
    }

    #[test]
    fn stacks_that_find_no_room_are_left_out_and_their_samples_stay() {
        let mut held = Held::of(100);
        for (time, stack) in [(1, 60), (5, 30), (3, 20), (2, 10), (4, 0)] {
            assert!(held.push(sample(time, stack)));
        }
        assert_eq!(held.first(), Some(BootTime(1)));
        assert_eq!(stacks(&held.take(BootTime(2))), [(1, 60), (2, 10)]);
        // There is room again.
        assert!(held.push(sample(6, 70)));
        assert!(held.push(sample(7, 1)));
        assert_eq!(held.first(), Some(BootTime(3)));
        assert_eq!(
            stacks(&held.take(BootTime(u64::MAX))),
            [(5, 30), (3, 0), (4, 0), (6, 70), (7, 0)]
        );
        assert_eq!((held.first(), held.stack_bytes), (None, 0));
    }
}

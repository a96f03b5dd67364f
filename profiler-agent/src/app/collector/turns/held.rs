//! Samples that were read and are not located yet: the side-band is not read up to their time, or an earlier window is still
//! open.

use crate::profile::{BootTime, RawContext, RawSample};

/// Samples that may wait; more are lost.
const MAX_SAMPLES: usize = 500_000;
/// What is kept of the room for samples that are gone.
const MIN_ROOM: usize = 4_096;

/// The samples that wait, in the order in which they were read.
pub(super) struct Held {
    samples: Vec<RawSample>,
    /// Their bytes, without the stacks that they brought along.
    bytes: usize,
    /// Bytes of those stacks.
    stack_bytes: usize,
    most: Most,
}

/// What may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// Bytes of samples with their frames and labels.
    pub(super) samples: usize,
    /// Bytes of stacks that they brought along.
    pub(super) stacks: usize,
}

impl Held {
    /// For so much at a time.
    pub(super) const fn of(most: Most) -> Self {
        Self {
            samples: Vec::new(),
            bytes: 0,
            stack_bytes: 0,
            most,
        }
    }

    /// Keeps a sample; false where there is no room for it. Where there is none for the stack that it brought along, it
    /// keeps the one that the kernel side walked: a window that waits for its tables at a high frequency would take all
    /// memory otherwise.
    pub(super) fn push(&mut self, mut sample: RawSample) -> bool {
        let bytes = bytes(&sample);
        if self.samples.len() >= MAX_SAMPLES || self.bytes + bytes > self.most.samples {
            return false;
        }
        self.bytes += bytes;
        let stack = stack_bytes(&sample);
        if self.stack_bytes + stack <= self.most.stacks {
            self.stack_bytes += stack;
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
        self.bytes -= taken.iter().map(bytes).sum::<usize>();
        self.stack_bytes -= taken.iter().map(stack_bytes).sum::<usize>();
        // Many wait where a window waits for its tables, and then few again.
        if self.samples.len() < self.samples.capacity() / 4 {
            self.samples
                .shrink_to((self.samples.len() * 2).max(MIN_ROOM));
        }
        taken
    }

    /// The time of the earliest.
    pub(super) fn first(&self) -> Option<BootTime> {
        self.samples.iter().map(|sample| sample.time).min()
    }
}

/// Bytes of a sample, without the stack that it brought along.
fn bytes(sample: &RawSample) -> usize {
    let frames = size_of_val(&*sample.kernel) + size_of_val(&*sample.user);
    let context = sample.context.as_ref().map_or(0, |context| {
        let labels = context.labels.iter();
        let texts: usize = labels
            .map(|label| label.key.len() + label.value.len())
            .sum();
        size_of::<RawContext>()
            + size_of_val(&*context.labels)
            + size_of_val(&*context.links)
            + size_of_val(&*context.unread)
            + texts
    });
    size_of::<RawSample>() + frames + context
}

/// Bytes of the stack that a sample brought along.
fn stack_bytes(sample: &RawSample) -> usize {
    let snapshot = sample.snapshot.as_ref();
    snapshot.map_or(0, |snapshot| snapshot.stack_bytes())
}

#[cfg(test)]
mod tests {
    use profiler_common::layout::SampleFlags;
    use profiler_common::unwind::Outcome;

    use super::*;
    use crate::profile::{
        KernelAddress, ProfileKind, StackBytes, StackSnapshot, ThreadName, VirtualAddress,
    };

    const MOST: Most = Most {
        samples: 1 << 20,
        stacks: 100,
    };

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
        let mut held = Held::of(MOST);
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
        assert_eq!(held.bytes, 0);
    }

    /// A sample with so many frames in the kernel.
    fn deep(time: u64, frames: usize) -> RawSample {
        RawSample {
            kernel: vec![KernelAddress(0); frames],
            ..sample(time, 0)
        }
    }

    #[test]
    fn samples_are_bounded_in_bytes_and_a_burst_leaves_no_room_behind() {
        let flat = bytes(&deep(0, 0));
        assert_eq!(bytes(&deep(0, 127)), flat + 127 * 8);
        let mut held = Held::of(Most {
            samples: 3 * flat + 100 * 8,
            ..MOST
        });
        assert!(held.push(deep(1, 100)));
        assert!(!held.push(deep(2, 300)));
        assert!(held.push(deep(3, 0)));
        assert!(!held.push(deep(4, 100)));
        assert_eq!(held.take(BootTime(1)).len(), 1);
        assert!(held.push(deep(5, 100)));

        let mut held = Held::of(Most {
            samples: usize::MAX,
            ..MOST
        });
        for time in 0..100_000 {
            assert!(held.push(sample(time, 0)));
        }
        assert_eq!(held.take(BootTime(99_000)).len(), 99_001);
        assert_eq!(held.samples.len(), 999);
        assert!(held.samples.capacity() <= 2 * MIN_ROOM);
    }

    #[test]
    fn the_labels_of_a_sample_count() {
        let context = RawContext {
            labels: vec![crate::profile::RawLabel {
                key: Box::from(*b"route"),
                value: vec![0; 300].into(),
                cut: false,
            }],
            ..RawContext::default()
        };
        let labelled = RawSample {
            context: Some(Box::new(context)),
            ..sample(0, 0)
        };
        assert!(bytes(&labelled) > bytes(&sample(0, 0)) + 300);
    }
}

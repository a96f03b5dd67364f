//! What happens to a queue, and what it asks for.

use std::time::Duration;

use crate::profile::{DeliveryCause, UnixTime};

/// A moment of a clock that never goes back: nanoseconds since some moment that is at least as long before the
/// queue's start as any payload is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
    /// `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanoseconds))
    }
    /// Time since `earlier`; zero when it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A payload's number in its queue: its place in the order, on disk too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record(pub u64);

/// What a queue knows of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// Which one.
    pub record: Record,
    /// Bytes that it takes in memory.
    pub length: u64,
    /// Bytes that it takes on disk.
    pub stored: u64,
    /// When its window was closed.
    pub end: UnixTime,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A payload is there, in memory. Its number is greater than all before.
    Pushed(Item),
    /// The spool is open: it has `room` for so many bytes and holds these payloads, each of this age, in order.
    Opened {
        /// Bytes.
        room: u64,
        /// What an earlier run left.
        items: Vec<(Item, Duration)>,
    },
    /// The spool could not be opened.
    OpenFailed,
    /// Is on disk now.
    Appended(Record),
    /// Is not on disk.
    AppendFailed(Record),
    /// Is no longer on disk.
    Removed(Record),
    /// May still be on disk.
    RemoveFailed(Record),
    /// Its bytes are in memory.
    Loaded(Record),
    /// The disk did not give its bytes.
    LoadFailed(Record),
    /// Its bytes on disk are damaged.
    Damaged(Record),
    /// The file was damaged and is gone with all that was on disk; what is being appended goes to a new one.
    SetAside,
    /// An attempt ended.
    Finished {
        /// The attempt to send this.
        record: Record,
        /// How.
        outcome: Outcome,
        /// A random number in 0..1.
        chance: f64,
    },
    /// Time passed.
    Tick,
    /// The agent stops: what can be delivered within this time shall be.
    Shutdown(Duration),
}

/// How an attempt ended, as far as the queue is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// The receiver will never take it.
    Refused,
    /// To be repeated, not before this delay where the receiver asked for one.
    Retry {
        /// The receiver's floor.
        after: Option<Duration>,
    },
}

/// Something to be done. What is asked of the disk is done in this order; each is answered by one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Open the spool.
    Open,
    /// Write it to disk.
    Append(Record),
    /// Remove it from disk.
    Remove(Record),
    /// Read it from disk.
    Load(Record),
    /// Make an attempt to deliver it.
    Send(Record),
    /// Stop the attempt; its end is no longer waited for.
    Abandon(Record),
    /// Its bytes are needed in memory no more, but by what was asked before.
    Forget(Record),
    /// It is gone, and was not delivered.
    Lost(Record, DeliveryCause),
    /// It could not be written when it should have been; said once for each.
    Unwritten(Record),
    /// Nothing will be asked for any more.
    Ended,
}

//! Between encode and send.

use std::time::Duration;

use super::{Losses, UnixTime};

/// An encoded profile on its way to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// When its window was opened: names it in logs.
    pub start: UnixTime,
    /// Samples in it.
    pub samples: u64,
    /// The encoded bytes, not compressed.
    pub bytes: Vec<u8>,
}

/// How an attempt to deliver a payload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has all of it.
    Accepted,
    /// The receiver has it and rejected some profiles of it: not to be sent again.
    PartlyRejected {
        /// How many profiles.
        profiles: u64,
        /// What the receiver said.
        message: String,
    },
    /// Not delivered; to be tried again, not before `after` where the receiver asked for it.
    Retry {
        /// The receiver's floor.
        after: Option<Duration>,
        /// What went wrong.
        message: String,
    },
    /// Never to be delivered.
    Refused {
        /// What the receiver said, and the fix where one is known.
        message: String,
    },
}

/// What a destination did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Payloads delivered.
    pub delivered: u64,
    /// Samples in them.
    pub samples: u64,
    /// Attempts that are to be repeated.
    pub retries: u64,
    /// Payloads waiting.
    pub waiting: u64,
    /// What was lost.
    pub losses: Losses,
}

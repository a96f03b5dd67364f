//! Between encode and send.

use std::fmt::{self, Display, Formatter};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{ProfileKind, UnixTime};

pub use super::delivery::{Attempts, BreakerState, DeliveryCounts, Latencies, Waiting};

/// Names a window for ever: the same window has it in every destination and in every attempt, no other
/// window has it, after a restart neither. Sorts by time of opening, as `UUIDv7` does (RFC 9562, section 5.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowUuid(pub [u8; 16]);

impl WindowUuid {
    /// The window that was opened at `start`, by the run of an agent whose random number is `run`.
    #[must_use]
    pub fn new(start: UnixTime, run: u64) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&start.0.to_be_bytes());
        id[8..].copy_from_slice(&run.to_be_bytes());
        Self(id)
    }

    /// The window of this kind that was opened with this one, which is of CPU time. No number of a profile makes the id of one
    /// window's profile that of another's: those count in the last bytes.
    #[must_use]
    pub const fn of_kind(self, kind: ProfileKind) -> Self {
        let Self(mut id) = self;
        id[8] ^= kind as u8;
        Self(id)
    }

    /// The id of the window's profile with this number: what receivers know as `profile_id`.
    #[must_use]
    pub fn profile(self, number: u32) -> [u8; 16] {
        let Self(mut id) = self;
        let last = u32::from_be_bytes([id[12], id[13], id[14], id[15]]);
        id[12..].copy_from_slice(&last.wrapping_add(number).to_be_bytes());
        id
    }
}

impl Display for WindowUuid {
    /// 32 hexadecimal digits.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for WindowUuid {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, formatter)
    }
}

/// Names one payload of one destination: the windows' order, and within one the order of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadId {
    /// The window whose samples it holds.
    pub window: WindowUuid,
    /// Which part of it, from 0 on.
    pub part: u32,
}

/// How a payload's bytes are compressed; its names are those of HTTP's content codings and gRPC's encodings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Not at all.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// As HTTP and gRPC name it; nothing where there is nothing to say.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// An encoded profile on its way to a destination. It is encoded and compressed once, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which one.
    pub id: PayloadId,
    /// When its window was opened.
    pub start: UnixTime,
    /// When its window was closed.
    pub end: UnixTime,
    /// Samples in it.
    pub samples: u64,
    /// How `bytes` are compressed.
    pub coding: Coding,
    /// Length of `bytes` when they are not compressed.
    pub raw_length: u64,
    /// What is sent.
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

/// Where payloads go.
pub trait Destination: Send + Sync + 'static {
    /// One attempt to deliver. It ends by itself, within the destination's own timeout.
    fn send(&self, payload: Arc<Payload>) -> impl Future<Output = Delivery> + Send;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::WindowUuid;
    use crate::profile::{ProfileKind, UnixTime};

    #[test]
    fn profiles_of_windows_of_one_time_have_ids_of_their_own() {
        for run in [0, 7, u64::from(u32::MAX) - 1, u64::MAX] {
            let window = WindowUuid::new(UnixTime(5), run);
            assert_eq!(window.of_kind(ProfileKind::OnCpu), window);
            let kinds = ProfileKind::ALL.map(|kind| window.of_kind(kind));
            let ids = kinds.map(|window| (0..1_000).map(move |number| window.profile(number)));
            let distinct: BTreeSet<_> = ids.into_iter().flatten().collect();
            assert_eq!(distinct.len(), 3_000);
        }
    }
}

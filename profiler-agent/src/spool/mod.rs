//! Payloads on their way to one destination: a durable queue between encode and send.
//!
//! ```text
//! Handle::push -> machine (decides) -> memory -> Destination::send
//!                    |                               ^
//!                    \-> disk thread -> redb file ---/
//! ```
//! [`machine`] decides (pure), [`store`] is the file, the driver ([`Driver::run`]) makes the attempts, a thread of its
//! own does what is asked of the disk. Anyone who has the [`Handle`] pushes.
//!
//! # What it promises
//! - A payload that was pushed is delivered, waits in memory or on disk, or is counted as lost with its cause.
//!   Payloads are sent oldest first.
//! - What is on disk survives a crash of the agent at any moment; with [`SyncPolicy::Always`] power loss too. A payload that
//!   was not written yet does not: one is written when it cannot be sent at once, when an attempt fails, and when it is
//!   not acknowledged within [`Config::write_after`].
//! - At least once: after a crash a payload is sent again when its removal was not on disk yet, and after an
//!   acknowledgement that was lost. [`PayloadId`](crate::profile::PayloadId) is the same each time.
//! - Pushing never waits; a destination or disk that hangs holds back nothing but itself.
//! - Memory, disk and age are bounded ([`Config`]), the oldest is dropped first and counted: `spool_full`,
//!   `spool_expired`; without a spool or while it fails `queue_full`.
//! - Each sample that came is delivered, waiting, left on disk, or lost with its cause, at any moment
//!   ([`DeliveryCounts::is_balanced`](crate::profile::delivery::DeliveryCounts::is_balanced)).
//! - A disk that fails costs durability, not delivery: payloads stay in memory (`spool_failed`), the disk is tried again.
//! - When the agent stops, what is undelivered after the flush is written to disk; without one it counts as
//!   `shutdown_undelivered`.
//!
//! Age is taken by a clock that never goes back; what an earlier run left is as old as the wall clock says at the start.

mod config;
mod disk;
mod driver;
pub mod machine;
mod shared;
pub mod store;
mod trouble;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::bounded_file;
use crate::profile::Destination;

pub use config::{Backoff, Breaker, Config, SyncPolicy};
pub use driver::{Driver, Handle};

/// A queue for `destination`: its [`Handle`] takes payloads, its [`Driver`] is to be run on a tokio runtime. Where there
/// is a `directory`, it is made where it is missing, and what does not fit in memory goes to a file there that has the
/// destination's `name`; what an earlier run left in it is delivered first.
///
/// # Errors
/// The directory cannot be made, or the disk's thread not started. A file that cannot be opened is none: it is tried
/// again, and payloads stay in memory until then.
pub fn start<D: Destination>(
    name: &str,
    config: Config,
    directory: Option<&Path>,
    destination: D,
) -> io::Result<(Handle, Driver<D>)> {
    let shared = Arc::new(shared::Shared::new(config, directory.is_some()));
    let mut ended = None;
    if let Some(directory) = directory {
        bounded_file::make_directory(directory)?;
        let place = disk::Place {
            name: name.to_owned(),
            path: directory.join(store::file_name(name)),
            limit: config.disk.max(Config::MIN_DISK),
            sync: config.sync,
        };
        let answered = Arc::clone(&shared);
        let (operations, end) = disk::spawn(place, move |answers| answered.answered(answers))?;
        shared.ask(Some(operations));
        ended = Some(end);
    }
    let handle = Handle {
        shared: Arc::clone(&shared),
    };
    let driver = Driver {
        name: name.to_owned(),
        shared,
        destination: Arc::new(destination),
        closing: config.store_within,
        disk: ended,
    };
    Ok((handle, driver))
}

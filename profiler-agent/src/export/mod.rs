//! Profiles to bytes, and bytes to where they go: one folder per destination.
//!
//! encode (pure: [`Profile`] to bytes) -> `Payload` -> (stage `spool`) -> send -> `Delivery`.
//! What is read back (`decode`) is untrusted: every reader is bounded by [`ReadLimits`].

mod calendar;
pub mod collapsed;
mod compress;
pub mod connection;
pub mod directory;
mod exporter;
pub mod file;
mod format;
pub mod otlp;
pub mod pprof;
pub mod pyroscope;
mod read;
pub mod settings;
pub mod svg;
mod text;

pub use exporter::{Client, Exporter, Settings, Target, TargetError};
pub use format::{EncodeError, Format, UnknownFormat};
pub use read::{ReadError, ReadLimits, Saved, SavedFormat, read_saved};

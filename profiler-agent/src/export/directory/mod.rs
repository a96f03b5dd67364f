//! A directory of files, one for each window.
//!
//! A file is called `20261121T142205Z-0123..ef-0.pb.gz`: when its window began (UTC, to the second), the window's
//! name, which no other window ever has, and the number of its part. Names sort as the windows do. A payload that
//! comes again takes the place of the same file: nothing is there twice.
//!
//! A file is written beside its place under a hidden name, synced, moved to its place, and the directory
//! synced: it is there whole or not at all, after a power loss too. What a stopped agent left half written is
//! removed when the next one begins. The directory is opened once and files are opened within it, never through a
//! link; what is removed is only ever what is called as above, the oldest first, and no other file is touched. One
//! agent writes to a directory: it holds a lock on it.

mod bounds;
mod config;
mod name;
mod send;
mod settings;
mod write;

#[cfg(test)]
mod tests;

pub use config::{Config, FileFormat};
pub use send::{Client, DirectoryError, encode};
pub use settings::Settings;

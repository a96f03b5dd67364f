//! A redb file that is bounded in bytes, belongs to one process, and is set aside when it is damaged.
//!
//! Below the stages: the local store and the spools keep what they have in such files.
//!
//! - [`open()`]: makes or opens a file of mode 0600. redb locks it: a second owner gets [`FileError::InUse`].
//!   A file that is corrupt, of another format, or no regular file is renamed to `NAME.corrupt-SECONDS` and a new one is
//!   made. One such file is kept, so that the space that it takes stays bounded.
//! - [`room()`]: how much a file may hold so that its length stays within a limit. redb doubles a file that is full and gives
//!   nothing back.
//! - [`guarded()`]: redb states some inconsistencies of a damaged file by panicking; they become errors. [`OpenFile`] is
//!   closed so.

mod bound;
mod error;
mod open;

pub(crate) use bound::{CHUNK, PAGE, room};
pub use error::{FileError, SetAside};
pub(crate) use open::{OpenFile, file_length, guarded, make_directory, open, remove, set_aside};

//! Where Go's runtime keeps its goroutines: what the kernel side needs to get from a thread to the
//! goroutine that it runs.
//!
//! - `offsets`: the fields of `runtime.g` and `runtime.m`, from the file's DWARF where it has it, else
//!   from a table by version ([`Origin`] says which).
//! - `slot`: where a thread keeps its `g`, from the code of the runtime itself.
//!
//! A version that is not known gets the newest known offsets: the kernel side checks at every sample that
//! what it finds does not contradict itself, and finds nothing rather than something wrong.

mod abbreviations;
mod offsets;
mod slot;

use profiler_common::layout::GoRuntime;

use super::elf::Image;
use super::{LineTable, Version};
use crate::profile::ElfAddress;

pub use offsets::Origin;
pub use slot::Slot;

/// The runtime of one Go executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Offsets of fields; `g` in it is absent: that is [`Runtime::slot`]'s matter.
    pub offsets: GoRuntime,
    /// Where the offsets are from.
    pub origin: Origin,
    /// Where a thread keeps its `g`.
    pub slot: Slot,
    /// Where the file's code and read-only data lie; empty where it is not known.
    pub constants: ElfRange,
}

/// A run of addresses of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElfRange {
    /// The first one.
    pub start: ElfAddress,
    /// Bytes from there on.
    pub length: u64,
}

/// Reads what the executable in `data` says of its runtime; `None` where its code does not tell where a
/// thread keeps its `g`.
#[must_use]
pub fn runtime_of(data: &[u8], table: &LineTable<'_>) -> Option<Runtime> {
    let image = Image::parse(data)?;
    let slot = slot::find(&image, table)?;
    let version = super::build_info::version(&image);
    let (offsets, origin) = offsets::find(data, version);
    Some(Runtime {
        offsets,
        origin,
        slot,
        constants: constants(&image),
    })
}

fn constants(image: &Image<'_>) -> ElfRange {
    let run = image.constants().unwrap_or_default();
    ElfRange {
        start: ElfAddress(run.start),
        length: run.end - run.start,
    }
}

/// The version whose offsets serve where nothing is known.
const NEWEST: Version = Version {
    major: 1,
    minor: 27,
    patch: 0,
};

//! The little that is read of an ELF file when it is first seen: executable segments, what is constant, and the GNU
//! build id. Pure over a [`Source`], bounded, total over any bytes. Little-endian files of both
//! classes.

use object::elf::{PF_R, PF_W, PF_X};

use crate::elf::{ElfFile, Source};
use crate::profile::{BuildId, Segment};

pub use crate::elf::{ElfError, htl_hash};

/// What an ELF file says about its code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfSummary {
    /// Its GNU build id.
    pub build_id: Option<BuildId>,
    /// Its executable segments, sorted by offset.
    pub segments: Box<[Segment]>,
    /// The segments that a program reads and cannot write, code included, in the order of the file's headers.
    pub constants: Box<[Segment]>,
}

/// Reads the summary of `source`.
///
/// # Errors
/// When it is no ELF file, or its header or program headers are not all there. A malformed note is
/// no error: the file has no build id then.
pub fn read<S: Source + ?Sized>(source: &S) -> Result<ElfSummary, ElfError> {
    let file = ElfFile::parse(source)?;
    let headers = file.segments()?;
    let code = headers.loaded().filter(|segment| segment.allows(PF_X));
    let mut segments: Vec<Segment> = code.map(|segment| segment.place).collect();
    segments.sort_by_key(|segment| segment.offset);
    let constants = headers
        .loaded()
        .filter(|segment| segment.allows(PF_R) && !segment.allows(PF_W));
    Ok(ElfSummary {
        build_id: file.build_id(&headers),
        segments: segments.into(),
        constants: constants.map(|segment| segment.place).collect(),
    })
}

#[cfg(test)]
mod tests;

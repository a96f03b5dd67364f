//! ELF files as they lie on disk (System V ABI, chapters 4 and 5; `elf(5)`), little-endian, of both classes.
//!
//! Below the stages, and the only place that knows the layout of headers, notes, the dynamic section and hash tables, by the
//! structures of the crate `object`. What is a stage's own (call frame information, Go's line table, which names count)
//! is read there, over this.
//!
//! - [`source`]: where bytes come from: a slice, or an open file that is read piece by piece. [`MappedFile`] is the mapping
//!   of a file that its owner may truncate meanwhile.
//! - [`ElfFile`]: a header that was read; leads to [`Segments`] and [`Sections`].
//! - [`note`]: notes, and the build id among them.
//! - [`htl_hash()`]: what names a file without a build id.
//! - [`compressed`]: sections that are stored compressed, within a budget.
//! - [`symbol`], [`dynamic`], `hash`: symbol tables, relocations, and symbols by hash.
//!
//! Files are untrusted. What a header announces is looked for and absent where it is not there; every count has a bound, and
//! nothing is allocated for a length that the file does not have.

pub mod compressed;
pub mod dynamic;
mod file;
mod hash;
mod header;
mod htl_hash;
pub mod mapped;
pub mod note;
mod section;
mod segment;
pub mod source;
pub mod symbol;

use object::pod::{self, Pod};

pub use file::ElfFile;
pub use header::{Class, ElfError, Header, Machine};
pub use htl_hash::htl_hash;
pub use mapped::MappedFile;
pub use section::{Section, Sections, SectionsOf};
pub use segment::{Segment, Segments};
pub use source::{ReadAt, Source};

/// The structures that `bytes` are, as many as are whole.
#[must_use]
pub fn structures<T: Pod>(bytes: &[u8]) -> &[T] {
    let count = bytes.len().checked_div(size_of::<T>()).unwrap_or(0);
    pod::slice_from_bytes(bytes, count).map_or(&[], |(structures, _)| structures)
}

#[cfg(test)]
mod tests;

//! The sections of DWARF that functions, inlined calls and lines are read from.

use std::ops::Deref;
use std::sync::Arc;

use gimli::{EndianSlice, LittleEndian, SectionId};

/// Bytes of a section.
pub(in crate::symbolize) enum SectionBytes<'data> {
    /// As the file has them.
    Mapped(&'data [u8]),
    /// Decompressed.
    Kept(Arc<[u8]>),
}

impl Deref for SectionBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Kept(bytes) => bytes,
        }
    }
}

/// A file's sections.
pub(in crate::symbolize) type Sections<'data> = gimli::DwarfSections<SectionBytes<'data>>;
/// A reader of bytes of them.
pub(super) type Slice<'data> = EndianSlice<'data, LittleEndian>;
/// A file's debug information.
pub(super) type Dwarf<'data> = gimli::Dwarf<Slice<'data>>;
/// One compilation unit of it.
pub(super) type Unit<'data> = gimli::Unit<Slice<'data>>;

/// The sections that are read. Types, locations of variables, macros and indices by name are not.
pub(in crate::symbolize) const NEEDED: [SectionId; 10] = [
    SectionId::DebugInfo,
    SectionId::DebugAbbrev,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugAddr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugAranges,
];

/// The sections of a file and of the supplementary file that it shares entries and strings with other
/// files through (`.gnu_debugaltlink`, DWARF 5 section 7.3.6).
pub(in crate::symbolize) struct DebugSections<'data> {
    /// Of the file.
    pub(in crate::symbolize) own: Sections<'data>,
    /// Of the supplementary file, where there is one.
    pub(in crate::symbolize) supplementary: Option<Sections<'data>>,
    /// The whole files, one or two.
    pub(in crate::symbolize) files: Vec<&'data [u8]>,
}

impl DebugSections<'_> {
    /// Readers of them.
    pub(super) fn dwarf(&self) -> Dwarf<'_> {
        let read = |bytes| EndianSlice::new(bytes, LittleEndian);
        self.own
            .borrow_with_sup(self.supplementary.as_ref(), |bytes| read(bytes))
    }
}

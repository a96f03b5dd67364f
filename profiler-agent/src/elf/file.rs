//! A file: from its header to its tables.

use object::elf;

use super::header::{ElfError, Header, Table};
use super::note::{self, Notes};
use super::section::{MAX_NOTE_BYTES, Section, Sections, SectionsOf};
use super::segment::{Segment, Segments};
use super::source::Source;
use crate::profile::BuildId;

/// Program headers that are looked at; the kernel itself takes 64 KiB of them.
const MAX_SEGMENTS: usize = 1_170;
/// Section headers of a file whose sections are looked for by name. Linked programs have some tens; an object file has one
/// for each type of its debug information.
const MAX_SECTIONS: u64 = 1 << 14;
/// Bytes of the sections' names.
const MAX_NAMES: u64 = 4 << 20;
/// Section headers of a file of which no more than a build id or one symbol is wanted.
const FEW_SECTIONS: u64 = 4_096;

/// A file whose header was read.
#[derive(Debug)]
pub struct ElfFile<'s, S: ?Sized> {
    /// Where its bytes are.
    pub source: &'s S,
    /// Its header.
    pub header: Header,
}

impl<S: ?Sized> Clone for ElfFile<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for ElfFile<'_, S> {}

impl<'s, S: Source + ?Sized> ElfFile<'s, S> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no ELF file, of another class or byte order, or shorter than its header.
    pub fn parse(source: &'s S) -> Result<Self, ElfError> {
        let header = Header::read(source)?;
        Ok(Self { source, header })
    }

    /// The file, if its addresses are 64 bits wide.
    #[must_use]
    pub fn parse_64(source: &'s S) -> Option<Self> {
        Self::parse(source).ok().filter(|file| file.header.is_64())
    }

    /// The segments: the first 1,170.
    ///
    /// # Errors
    /// The program headers are not all there, or of another size than the class's.
    pub fn segments(&self) -> Result<Segments<S::Bytes<'s>>, ElfError> {
        let class = self.header.class;
        let table = self.header.programs;
        let size = Segments::<S::Bytes<'s>>::header_bytes(class);
        if table.count > 0 && usize::from(table.size) != size {
            return Err(ElfError::ProgramHeaders);
        }
        let count = usize::from(table.count).min(MAX_SEGMENTS);
        let start = if count == 0 { 0 } else { table.offset };
        let headers = self.read(start, (count * size) as u64);
        let headers = headers.ok_or(ElfError::ProgramHeaders)?;
        Ok(Segments { class, headers })
    }

    /// The sections, whose names are not read; `None` when their headers are not all there, or more than 4,096.
    #[must_use]
    pub fn few_sections(&self) -> Option<SectionsOf<'s, S>> {
        self.read_sections(FEW_SECTIONS)
    }

    /// The sections and their names; `None` when their headers are not all there, or more than 16,384. A file that has none
    /// has an empty list.
    #[must_use]
    pub fn sections(&self) -> Option<SectionsOf<'s, S>> {
        let mut sections = self.read_sections(MAX_SECTIONS)?;
        let names = match elf::SymbolSection(self.header.names) {
            elf::SHN_XINDEX => sections.get(0).map_or(0, |first| first.link),
            index => index.0.into(),
        };
        let names = usize::try_from(names).ok();
        let names = names.and_then(|index| sections.get(index));
        if let Some(names) = names.and_then(|names| sections.bytes_within(&names, MAX_NAMES)) {
            sections.names = names;
        }
        Some(sections)
    }

    fn read_sections(&self, most: u64) -> Option<SectionsOf<'s, S>> {
        let class = self.header.class;
        let Table {
            offset,
            size,
            count,
        } = self.header.sections;
        let empty = || self.source.bytes(0..0);
        let header_bytes = SectionsOf::<'s, S>::header_bytes(class);
        let mut sections = Sections {
            source: self.source,
            class,
            headers: empty()?,
            names: empty()?,
        };
        if offset == 0 {
            return Some(sections);
        }
        if usize::from(size) != header_bytes {
            return None;
        }
        let mut count = u64::from(count);
        if count == 0 {
            // There are more than the header can say: the first section does.
            sections.headers = self.read(offset, header_bytes as u64)?;
            count = sections.get(0)?.length;
        }
        if count > most {
            return None;
        }
        sections.headers = self.read(offset, count * header_bytes as u64)?;
        Some(sections)
    }

    /// The bytes of a segment with notes, for [`Notes`]; the first 64 KiB.
    #[must_use]
    fn note_bytes(&self, segment: &Segment) -> Option<S::Bytes<'s>> {
        let length = segment.place.length.min(MAX_NOTE_BYTES);
        self.read(segment.place.offset.0, length)
    }

    /// Has it a note of this owner (with its final zero)?
    #[must_use]
    pub fn has_note(&self, segments: &Segments<S::Bytes<'s>>, owner: &[u8]) -> bool {
        let mut notes = segments
            .iter()
            .filter(|segment| segment.kind == elf::PT_NOTE);
        notes.any(|segment| {
            self.note_bytes(&segment).is_some_and(|bytes| {
                Notes::new(&bytes, segment.align).any(|note| note.owner == owner)
            })
        })
    }

    /// The GNU build id, by the segments with notes; for files without such a segment (some linker scripts drop it) by the
    /// sections.
    #[must_use]
    pub fn build_id(&self, segments: &Segments<S::Bytes<'s>>) -> Option<BuildId> {
        let mut notes = segments
            .iter()
            .filter(|segment| segment.kind == elf::PT_NOTE);
        notes
            .find_map(|segment| note::build_id(&self.note_bytes(&segment)?, segment.align))
            .or_else(|| self.few_sections()?.build_id())
    }

    fn read(&self, offset: u64, length: u64) -> Option<S::Bytes<'s>> {
        self.source.bytes(offset..offset.checked_add(length)?)
    }
}

/// A file in memory, whose bytes cost nothing, however many they are.
impl<'s> ElfFile<'s, [u8]> {
    /// The section's bytes, as far as the file has them.
    #[must_use]
    pub fn beginning(&self, section: &Section) -> Option<&'s [u8]> {
        let start = section.offset.0;
        let rest = self.source.length().checked_sub(start)?;
        self.read(start, section.length.min(rest))
    }
}

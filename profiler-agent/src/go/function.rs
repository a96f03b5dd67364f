//! A function of the line table. Its record, by offset:
//!
//! | what | 1.16 | 1.18 | 1.20- |
//! |---|---|---|---|
//! | entry (address, or offset from text) | 0 | 0 | 0 |
//! | offset of its name | 8 | 4 | 4 |
//! | pcsp, pcfile, pcline: offsets into pctab | 20 | 16 | 16 |
//! | number of pcdata tables | 32 | 28 | 28 |
//! | first file number in cutab | 36 | 32 | 32 |
//! | start line | - | - | 36 |
//! | function id, flags, a zero, number of funcdata | 40 | 36 | 40 |
//! | pcdata: offsets into pctab | 44 | 40 | 44 |
//!
//! and behind pcdata funcdata: offsets from `gofunc` (none: all ones), or aligned addresses in 1.16.

use super::header::Format;
use super::malformed::Malformed;
use super::pc_values::PcValues;
use super::table::LineTable;
use crate::elf::ReadAt as _;
use crate::profile::ElfAddress;

/// Longest name that is read.
const MAX_NAME: usize = 1 << 16;
/// The pcdata table with the inline tree's index by address.
const INLINE_INDEX: u32 = 2;
/// The funcdata with the inline tree.
const INLINE_TREE: u32 = 3;

/// Flags of a function (Go 1.17 and later).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionFlags(pub u8);

impl FunctionFlags {
    /// Stacks end with it.
    #[must_use]
    pub const fn top_frame(self) -> bool {
        self.0 & 1 != 0
    }
    /// It writes the stack pointer in ways that its table of deltas does not tell.
    #[must_use]
    pub const fn writes_stack_pointer(self) -> bool {
        self.0 & 2 != 0
    }
    /// It is written in assembly.
    #[must_use]
    pub const fn assembly(self) -> bool {
        self.0 & 4 != 0
    }
}

/// A function, or the gap behind one that belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Function<'data> {
    pub(super) table: LineTable<'data>,
    pub(super) entry: u64,
    pub(super) end: u64,
    pub(super) record: &'data [u8],
    /// Where the record is in the file's address space.
    pub(super) address: u64,
}

impl<'data> Function<'data> {
    /// Its first address.
    #[must_use]
    pub const fn entry(&self) -> ElfAddress {
        ElfAddress(self.entry)
    }
    /// Where the next function starts.
    #[must_use]
    pub const fn end(&self) -> ElfAddress {
        ElfAddress(self.end)
    }
    /// Its name, with all type arguments.
    #[must_use]
    pub fn name(&self) -> Option<&'data [u8]> {
        self.table.name(self.number(self.fixed())?.cast_signed())
    }
    /// Its name, if it has no more than `most` bytes. A name may be long, and any number of functions may have the same one:
    /// no more of it is read.
    #[must_use]
    pub fn short_name(&self, most: usize) -> Option<&'data [u8]> {
        let offset = self.number(self.fixed())?;
        let found = self.table.names.get(offset as usize..)?;
        let found = &found[..found.len().min(most.saturating_add(1))];
        let length = found.iter().position(|byte| *byte == 0)?;
        Some(&found[..length])
    }
    /// Is this its name?
    #[must_use]
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.short_name(name.len()) == Some(name)
    }
    /// Its flags.
    #[must_use]
    pub fn flags(&self) -> FunctionFlags {
        let flags = self.record.get(self.ids() + 1);
        FunctionFlags(flags.copied().unwrap_or(0))
    }
    /// Which of the functions that the runtime treats specially; the numbers change with versions.
    #[must_use]
    pub fn id(&self) -> u8 {
        self.record.get(self.ids()).copied().unwrap_or(0)
    }
    /// Line of its `func`; 0 where unknown (before Go 1.20).
    #[must_use]
    pub fn start_line(&self) -> u32 {
        if self.table.header.format < Format::Go120 {
            return 0;
        }
        self.number(self.fixed() + 32).unwrap_or(0)
    }
    /// The file of its entry.
    #[must_use]
    pub fn file(&self) -> Option<&'data [u8]> {
        let number = self.files().next()?.ok()?.1;
        self.file_name(number)
    }
    /// How much lower the stack pointer is than at the entry, by address. Nothing for a function without
    /// such a table.
    #[must_use]
    pub fn stack_deltas(&self) -> PcValues<'data> {
        self.values(self.fixed() + 12)
    }
    /// Line numbers by address.
    #[must_use]
    pub fn lines(&self) -> PcValues<'data> {
        self.values(self.fixed() + 20)
    }
    /// File numbers by address; see [`Self::file_name`].
    #[must_use]
    pub fn files(&self) -> PcValues<'data> {
        self.values(self.fixed() + 16)
    }
    /// Indices into the inline tree by address; negative where nothing is inlined.
    #[must_use]
    pub fn inline_indices(&self) -> PcValues<'data> {
        if self.pcdata_count() <= INLINE_INDEX {
            return self.table_at(0);
        }
        self.values(self.ids() + 4 + 4 * INLINE_INDEX as usize)
    }
    /// The file with a number from [`Self::files`].
    #[must_use]
    pub fn file_name(&self, number: i32) -> Option<&'data [u8]> {
        let unit = self.number(self.fixed() + 28)?;
        let index = unit.checked_add(u32::try_from(number).ok()?)? as usize;
        let offset = self.table.units.half_word(index.checked_mul(4)? as u64)?;
        text(self.table.files, usize::try_from(offset).ok()?)
    }

    /// The bytes from its inline tree on; `None` when nothing is inlined into it.
    pub(super) fn inline_tree(&self) -> Result<Option<&'data [u8]>, Malformed> {
        let ids = self.ids();
        let count = self.record.get(ids + 3).ok_or(Malformed::Function)?;
        if u32::from(*count) <= INLINE_TREE {
            return Ok(None);
        }
        let pcdata = (self.pcdata_count() as usize).saturating_mul(4);
        let start = (ids + 4).saturating_add(pcdata);
        let tree = if self.table.header.format == Format::Go116 {
            let misaligned = self.address.wrapping_add(start as u64) % 8;
            let padding = (8 - misaligned as usize) % 8;
            let place = start
                .saturating_add(padding)
                .saturating_add(8 * INLINE_TREE as usize);
            match self.record.word(place as u64).ok_or(Malformed::Function)? {
                0 => return Ok(None),
                address => self.table.image.at(address).map(|part| part.bytes),
            }
        } else {
            let place = start.saturating_add(4 * INLINE_TREE as usize);
            match self.number(place).ok_or(Malformed::Function)? {
                u32::MAX => return Ok(None),
                offset => self
                    .table
                    .funcdata
                    .and_then(|funcdata| funcdata.get(offset as usize..)),
            }
        };
        tree.map(Some).ok_or(Malformed::InlineTree)
    }

    fn pcdata_count(&self) -> u32 {
        self.number(self.fixed() + 24).unwrap_or(0)
    }

    /// Where the fields start that every version has in the same order.
    const fn fixed(&self) -> usize {
        match self.table.header.format {
            Format::Go116 => 8,
            Format::Go118 | Format::Go120 => 4,
        }
    }

    /// Where function id, flags and the number of funcdata are.
    const fn ids(&self) -> usize {
        match self.table.header.format {
            Format::Go116 | Format::Go120 => 40,
            Format::Go118 => 36,
        }
    }

    /// The number at an offset into the record.
    fn number(&self, offset: usize) -> Option<u32> {
        self.record.half_word(offset as u64)
    }

    fn values(&self, field: usize) -> PcValues<'data> {
        self.table_at(self.number(field).unwrap_or(0))
    }

    /// The table at an offset into pctab; there is none at 0.
    fn table_at(&self, offset: u32) -> PcValues<'data> {
        let range = if offset == 0 {
            self.end..self.end
        } else {
            self.entry..self.end
        };
        let bytes = self.table.pctab.get(offset as usize..);
        PcValues::new(bytes.unwrap_or(&[]), self.table.header.quantum, range)
    }
}

/// The zero-terminated text at `offset`.
pub(super) fn text(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = bytes.get(offset..)?;
    let rest = &rest[..rest.len().min(MAX_NAME)];
    let length = rest.iter().position(|byte| *byte == 0)?;
    Some(&rest[..length])
}

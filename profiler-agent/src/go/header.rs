//! The header of a line table. Numbers are of the pointer's size, 8 bytes.
//!
//! | what | 1.16 | 1.18- |
//! |---|---|---|
//! | magic, two zeros, quantum, pointer size | 0 | 0 |
//! | number of functions | 8 | 8 |
//! | number of files | 16 | 16 |
//! | address of the text (0 from 1.26) | - | 24 |
//! | offsets of names, cutab, files, pctab, ftab | 24 | 32 |

use super::malformed::Refusal;
use crate::elf::ReadAt as _;

/// Functions of a table; one that announces more is malformed. The largest programs have less than a million.
const MAX_FUNCTIONS: usize = 4 << 20;

/// Which layout a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    Go116,
    Go118,
    Go120,
}

impl Format {
    const fn from_magic(magic: u32) -> Result<Self, Refusal> {
        match magic {
            0xffff_fffb => Err(Refusal::TooOld),
            0xffff_fffa => Ok(Self::Go116),
            0xffff_fff0 => Ok(Self::Go118),
            0xffff_fff1 => Ok(Self::Go120),
            _ => Err(Refusal::Absent),
        }
    }

    /// Bytes of an entry of ftab.
    pub(super) const fn entry_size(self) -> usize {
        match self {
            Self::Go116 => 16,
            Self::Go118 | Self::Go120 => 8,
        }
    }
}

/// A header, checked against the length of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    /// Bytes that an address delta of 1 stands for.
    pub(super) quantum: u8,
    pub(super) functions: usize,
    /// Where in the header the text's address is, if it has a place there.
    pub(super) text: Option<usize>,
    pub(super) names: usize,
    pub(super) units: usize,
    pub(super) files: usize,
    pub(super) pctab: usize,
    pub(super) ftab: usize,
}

impl Header {
    pub(super) fn parse(table: &[u8]) -> Result<Self, Refusal> {
        let format = Format::from_magic(table.half_word(0).ok_or(Refusal::Absent)?)?;
        Self::parse_as(format, table).ok_or(Refusal::Header)
    }

    fn parse_as(format: Format, table: &[u8]) -> Option<Self> {
        let [.., zero, pad, quantum, pointer] = *table.first_chunk::<8>()?;
        if (zero, pad, pointer) != (0, 0, 8) || ![1, 2, 4].contains(&quantum) {
            return None;
        }
        let text = (format != Format::Go116).then_some(24);
        let parts = if text.is_some() { 32 } else { 24 };
        let number = |offset: usize| usize::try_from(table.word(offset as u64)?).ok();
        let part = |index: usize| {
            let offset = number(parts + 8 * index)?;
            (parts + 40 <= offset && offset < table.len()).then_some(offset)
        };
        let header = Self {
            format,
            quantum,
            functions: number(8)?,
            text,
            names: part(0)?,
            units: part(1)?,
            files: part(2)?,
            pctab: part(3)?,
            ftab: part(4)?,
        };
        let entries = header.functions.checked_add(1)?;
        let length = entries.checked_mul(format.entry_size())?;
        let is_bounded = (1..=MAX_FUNCTIONS).contains(&header.functions);
        (is_bounded && length <= table.len() - header.ftab).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_as_many_functions_as_a_program_may_have() {
        let mut table = vec![0; 128 + 8 * (MAX_FUNCTIONS + 2)];
        table[..8].copy_from_slice(&[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]);
        for part in 0..5 {
            table[32 + 8 * part] = 72;
        }
        for (functions, expected) in [
            (MAX_FUNCTIONS, Ok(MAX_FUNCTIONS)),
            (MAX_FUNCTIONS + 1, Err(Refusal::Header)),
            (0, Err(Refusal::Header)),
        ] {
            table[8..16].copy_from_slice(&functions.to_le_bytes());
            let found = Header::parse(&table).map(|header| header.functions);
            assert_eq!(found, expected);
        }
    }
}

//! Source lines of addresses: a unit's line number program (DWARF 5, section 6.2), run once a batch.
//!
//! A program may have any number of instructions that make no row, so they are counted, not the rows. Files
//! that it defines on its way (an instruction that DWARF 5 dropped, and no compiler wrote) are ignored: they would
//! be kept.

use std::ops::Range;

use gimli::{
    ColumnType, DebugLineOffset, FileEntry, IncompleteLineProgram, LineInstruction, LineProgram,
    LineProgramHeader, LineRow, Reader as _,
};

use super::sections::{Dwarf, Slice, Unit};
use super::unit;
use super::work::Work;

/// Bytes of a program's header. Each may announce a file, which takes 100 bytes in memory; those of the largest
/// units of large programs have less than a third of it.
const MAX_HEADER: u64 = 256 << 10;

/// Bytes of a path.
const MAX_PATH: usize = 4096;

/// A row of the line table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Index into the unit's files.
    pub(super) file: u64,
    /// Line, from 1; 0 for code of no line.
    pub(super) line: u32,
    /// Column, from 1; 0 where unknown.
    pub(super) column: u32,
}

/// A unit's line number program.
pub(super) struct Lines<'data>(IncompleteLineProgram<Slice<'data>>);

/// The header of a program that is run, to which nothing is added.
struct Run<'header, 'data>(&'header LineProgramHeader<Slice<'data>>);

impl<'data> LineProgram<Slice<'data>> for Run<'_, 'data> {
    fn header(&self) -> &LineProgramHeader<Slice<'data>> {
        self.0
    }

    fn add_file(&mut self, _: FileEntry<Slice<'data>>) {}
}

impl<'data> Lines<'data> {
    /// Reads the header at `offset`; `None` when it is malformed, too long, or the budget is empty.
    pub(super) fn open(
        dwarf: &Dwarf<'data>,
        unit: &Unit<'data>,
        offset: DebugLineOffset,
        work: &mut Work<'_, '_, '_>,
    ) -> Option<Self> {
        let mut section = *gimli::Section::reader(&dwarf.debug_line);
        section.skip(offset.0).ok()?;
        let (_, format) = section.read_initial_length().ok()?;
        if section.read_u16().ok()? >= 5 {
            section.skip(2).ok()?;
        }
        let length = section.read_length(format).ok()? as u64;
        if length > MAX_HEADER {
            work.leave_out();
            return None;
        }
        if !work.step(length as usize / 4) {
            return None;
        }
        let program =
            dwarf
                .debug_line
                .program(offset, unit.header.address_size(), unit.comp_dir, unit.name);
        program.ok().map(Self)
    }

    /// The rows of `addresses` (sorted), parallel to them. Sequences outside of `code` are of functions
    /// that the linker dropped.
    pub(super) fn rows(
        &self,
        addresses: &[u64],
        code: &[Range<u64>],
        work: &mut Work<'_, '_, '_>,
    ) -> Vec<Option<Row>> {
        let mut search = Search {
            addresses,
            found: vec![None; addresses.len()],
            before: None,
            next: 0,
            dropped: false,
        };
        let header = self.0.header();
        let highest = match header.address_size() {
            8 => u64::MAX,
            _ => u64::from(u32::MAX),
        };
        let mut instructions = header.instructions();
        let mut row = LineRow::new(header);
        // The address that was set is none, or lower than the one before: code that is not there.
        let mut tombstone = false;
        // A malformed program ends the walk: what was found before it stays.
        while work.step(1)
            && let Ok(Some(instruction)) = instructions.next_instruction(header)
        {
            if let LineInstruction::SetAddress(address) = instruction {
                tombstone = address < row.address() || address >= highest - 1;
            }
            match row.execute(instruction, &mut Run(header)) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => break,
            }
            if !tombstone {
                search.row(&row, code);
            }
            tombstone &= !row.end_sequence();
            row.reset(header);
        }
        search.found
    }
}

struct Search<'search> {
    addresses: &'search [u64],
    found: Vec<Option<Row>>,
    /// The row before, within the sequence, and the first address that it may be for.
    before: Option<(u64, Row)>,
    next: usize,
    dropped: bool,
}

impl Search<'_> {
    fn row(&mut self, row: &LineRow, code: &[Range<u64>]) {
        let (addresses, address) = (self.addresses, row.address());
        match self.before {
            Some((start, known)) if !self.dropped => {
                while self.next < addresses.len() && addresses[self.next] < address {
                    if addresses[self.next] >= start {
                        self.found[self.next].get_or_insert(known);
                    }
                    self.next += 1;
                }
            }
            Some(_) => {}
            None => {
                self.dropped = !code.iter().any(|code| code.contains(&address));
                self.next = addresses.partition_point(|wanted| *wanted < address);
            }
        }
        self.before = (!row.end_sequence()).then(|| {
            let row = Row {
                file: row.file_index(),
                line: row
                    .line()
                    .map_or(0, |line| u32::try_from(line.get()).unwrap_or(0)),
                column: match row.column() {
                    ColumnType::LeftEdge => 0,
                    ColumnType::Column(column) => u32::try_from(column.get()).unwrap_or(0),
                },
            };
            (address, row)
        });
    }
}

/// The path of one of the unit's files: absolute as far as the unit says.
pub(super) fn path<'data>(
    dwarf: &Dwarf<'data>,
    unit: &Unit<'data>,
    lines: &Lines<'data>,
    file: u64,
    work: &mut Work<'_, '_, '_>,
) -> Option<String> {
    let header = lines.0.header();
    let file = header.file(file)?;
    let mut text = |value| {
        let text = unit::text(dwarf, unit, value, work)?;
        let text = text.slice();
        Some(String::from_utf8_lossy(&text[..text.len().min(MAX_PATH)]).into_owned())
    };
    let name = text(file.path_name())?;
    if name.starts_with('/') {
        return Some(name);
    }
    let directory = file
        .directory(header)
        .and_then(&mut text)
        .unwrap_or_default();
    let root = if directory.starts_with('/') {
        String::new()
    } else {
        unit.comp_dir
            .map(|root| {
                String::from_utf8_lossy(&root.slice()[..root.slice().len().min(MAX_PATH)])
                    .into_owned()
            })
            .unwrap_or_default()
    };
    let mut path = String::new();
    for part in [root, directory, name] {
        if part.is_empty() || part == "." {
            continue;
        }
        if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(part.strip_prefix("./").unwrap_or(&part));
    }
    (!path.is_empty()).then_some(path)
}

//! Source lines of addresses: a unit's line number program (DWARF 5, section 6.2), run once a batch.

use std::ops::Range;

use gimli::ColumnType;

use super::sections::{Dwarf, Unit};
use super::work::Work;

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

/// The rows of `addresses` (sorted), parallel to them. Sequences outside of `code` are of functions
/// that the linker dropped.
pub(super) fn rows(
    unit: &Unit<'_>,
    addresses: &[u64],
    code: &[Range<u64>],
    work: &mut Work<'_>,
) -> Vec<Option<Row>> {
    let mut found = vec![None; addresses.len()];
    let Some(program) = unit.line_program.clone() else {
        return found;
    };
    let mut rows = program.rows();
    // The row before, within the sequence, and the first address that it may be for.
    let mut before: Option<(u64, Row)> = None;
    let mut next = 0;
    let mut dropped = false;
    // A malformed program ends the walk: what was found before it stays.
    while let Ok(Some((_, row))) = rows.next_row() {
        if !work.entry() {
            break;
        }
        let address = row.address();
        match before {
            Some((start, known)) if !dropped => {
                while next < addresses.len() && addresses[next] < address {
                    if addresses[next] >= start {
                        found[next].get_or_insert(known);
                    }
                    next += 1;
                }
            }
            Some(_) => {}
            None => {
                dropped = !code.iter().any(|code| code.contains(&address));
                next = addresses.partition_point(|wanted| *wanted < address);
            }
        }
        before = (!row.end_sequence()).then(|| {
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
    found
}

/// The path of one of the unit's files: absolute as far as the unit says.
pub(super) fn path(dwarf: &Dwarf<'_>, unit: &Unit<'_>, file: u64) -> Option<String> {
    let header = unit.line_program.as_ref()?.header();
    let file = header.file(file)?;
    let text = |value| {
        let text = dwarf.attr_string(unit, value).ok()?;
        let text = text.slice();
        Some(String::from_utf8_lossy(&text[..text.len().min(MAX_PATH)]).into_owned())
    };
    let name = text(file.path_name())?;
    if name.starts_with('/') {
        return Some(name);
    }
    let directory = file.directory(header).and_then(text).unwrap_or_default();
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

//! The runtime's description of the module (`runtime.firstmoduledata`), as words of 8 bytes:
//!
//! | word | what |
//! |---|---|
//! | 0 | address of the line table |
//! | 1, 4, 7, 10, 13, 16 | slices (address, length, capacity): names, cutab, files, pctab, records, ftab |
//! | 20, 21 | first address of the functions, first behind them |
//! | 22, 23 | text |
//! | 24- | addresses of the parts of the module, among them `gofunc`, where funcdata starts |
//!
//! The first words are the same in every version since 1.16 and tie it to the line table beyond doubt.
//! Where `gofunc` is among the later ones changes: the place that the version is known to have is tried
//! first, then every other. What it points to must read as inline trees.

use std::ops::ControlFlow;

use super::elf::{Access, Image, Part};
use super::find::MAX_SEARCHED;
use super::function::Function;
use super::header::{Format, Header};
use super::inline::Call;
use super::table::LineTable;
use crate::elf::ReadAt as _;

const WORDS: usize = 64;
const FUNCTIONS: usize = 20;
const TEXT: usize = 22;
/// Where `gofunc` is looked for.
const GOFUNC: std::ops::Range<usize> = 24..WORDS;
/// Candidates that are looked at: no file has two.
const MAX_CANDIDATES: usize = 16;
/// Functions with inline trees that are looked at to tell whether a place is `gofunc`.
const CHECKED_FUNCTIONS: usize = 64;
/// Functions that are looked at to find those.
const VISITED_FUNCTIONS: usize = 4096;
/// Ranges of one function's table that are looked at.
const CHECKED_RANGES: usize = 4096;

/// What moduledata says.
pub(super) struct ModuleData {
    pub(super) text: u64,
    words: [u64; WORDS],
}

impl ModuleData {
    pub(super) fn find(image: &Image<'_>, table: &Part<'_>, header: &Header) -> Option<Self> {
        let read = |address| Self::at(image, address, table, header);
        // A symbol table is larger than what is writable: it comes last.
        image
            .section(".go.module")
            .and_then(|section| read(section.address))
            .or_else(|| stored(image, table.address).find_map(read))
            .or_else(|| {
                let mut left = MAX_CANDIDATES;
                let mut found = None;
                image.relative(|place, addend| {
                    if addend == table.address {
                        left -= 1;
                        found = read(place);
                    }
                    if found.is_some() || left == 0 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
                found
            })
            .or_else(|| read(image.symbol(b"runtime.firstmoduledata")?))
    }

    fn at(image: &Image<'_>, address: u64, table: &Part<'_>, header: &Header) -> Option<Self> {
        let mut words = [0; WORDS];
        image.pointers(address, &mut words);
        let part = |offset: usize| table.address.wrapping_add(offset as u64);
        let expected = [
            (0, part(0)),
            (1, part(header.names)),
            (4, part(header.units)),
            (7, part(header.files)),
            (10, part(header.pctab)),
            (13, part(header.ftab)),
            (16, part(header.ftab)),
            (17, header.functions as u64 + 1),
        ];
        let matches = expected.iter().all(|(index, word)| words[*index] == *word)
            && words[TEXT] <= words[FUNCTIONS]
            && words[FUNCTIONS] < words[FUNCTIONS + 1];
        matches.then(|| Self {
            text: words[TEXT],
            words,
        })
    }

    /// Where funcdata starts in the file, and how many bytes follow in its segment.
    pub(super) fn funcdata(&self, table: &LineTable<'_>) -> Option<(usize, usize)> {
        if table.header.format == Format::Go116 {
            return None;
        }
        let known: usize = match table.layout.version.map_or(20, |version| version.minor) {
            ..20 => 38,
            20..=26 => 40,
            27.. => 43,
        };
        let functions = with_trees(table);
        std::iter::once(known).chain(GOFUNC).find_map(|index| {
            let part = table.image.at(self.words[index])?;
            let candidate = LineTable {
                funcdata: Some(part.bytes),
                ..*table
            };
            let plausible = functions
                .iter()
                .flatten()
                .all(|index| has_plausible_tree(&candidate, *index));
            plausible.then_some((part.offset, part.bytes.len()))
        })
    }
}

/// Addresses of writable memory that hold this pointer.
fn stored<'a>(image: &'a Image<'_>, pointer: u64) -> impl Iterator<Item = u64> + 'a {
    let writable = image
        .segments()
        .filter(|(access, _)| *access == Access::Write);
    let places = writable.flat_map(move |(_, segment)| {
        let searched = &segment.bytes[..segment.bytes.len().min(MAX_SEARCHED)];
        let words = searched.chunks_exact(8).enumerate();
        words
            .filter(move |(_, word)| word.word(0) == Some(pointer))
            .map(move |(index, _)| segment.address.wrapping_add(8 * index as u64))
    });
    places.take(MAX_CANDIDATES)
}

/// Functions with inlined calls, spread over the table.
fn with_trees(table: &LineTable<'_>) -> [Option<usize>; CHECKED_FUNCTIONS] {
    let mut found = [None; CHECKED_FUNCTIONS];
    let stride = (table.len() / VISITED_FUNCTIONS).max(1);
    // All funcdata is out of reach yet: a function has a tree if it cannot be read.
    let has_tree = |index: &usize| {
        let function = table.function(*index);
        function.is_some_and(|function| {
            function.inline_tree().is_err() && greatest_index(&function).is_some()
        })
    };
    let candidates = (0..table.len()).step_by(stride).filter(has_tree);
    for (slot, index) in found.iter_mut().zip(candidates) {
        *slot = Some(index);
    }
    found
}

fn has_plausible_tree(table: &LineTable<'_>, index: usize) -> bool {
    let plausible = || {
        let function = table.function(index)?;
        let tree = function.inline_tree().ok()??;
        let length = function.end.checked_sub(function.entry)?;
        let mut calls = 0..=greatest_index(&function)?.min(64);
        Some(calls.all(|index| {
            Call::read(table.header.format, tree, index).is_some_and(|call| {
                call.id <= table.layout.wrapper
                    && table.is_name(call.name)
                    && u64::try_from(call.parent).is_ok_and(|parent| parent < length)
            })
        }))
    };
    plausible().unwrap_or(false)
}

fn greatest_index(function: &Function<'_>) -> Option<i32> {
    let ranges = function.inline_indices().take(CHECKED_RANGES);
    let indices = ranges.filter_map(|range| Some(range.ok()?.1));
    indices.max().filter(|index| *index >= 0)
}

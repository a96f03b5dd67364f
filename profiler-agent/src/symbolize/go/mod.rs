//! Names of Go code: what the runtime's own tracebacks say of an address (`runtime.CallersFrames`), from
//! the line table that every Go program carries, stripped or not.
//!
//! - The whole inline chain with the file and line of every call and each function's start line.
//! - Functions that the compiler made to call others in another way (wrappers) are left out as the
//!   runtime leaves them out: here where something is inlined into them, in whole stacks by [`Wrappers`].
//! - A generic function's type arguments are `[...]` in its name, and spelled out in its system name.
//!
//! Where the line table covers an address it has the last word: debug information is not asked. Only code
//! that it knows nothing but a name of (C linked in by Go's linker) goes the way of other files first.
//! What is kept of a file between windows is where its table is, a hundred bytes.

mod name;
mod wrappers;

use std::borrow::Cow;
use std::sync::Arc;

pub(super) use wrappers::Wrappers;

use super::names::Names;
use crate::go::{self, Frame, Function, Layout, LineTable, Malformed, Refusal, Steps};
use crate::profile::{
    Degradation, ElfAddress, FrameName, FrameType, LocationKind, Losses, ResolvedFrames, SourceLine,
};

/// Ranges of tables that are walked for one batch at most. A location costs some hundreds.
const MAX_STEPS: u64 = 64 << 20;
/// ... and for one location.
const MAX_LOCATION_STEPS: u64 = 4 << 20;

/// What is known of a file's line table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoCode {
    /// It has one.
    Table(Layout),
    /// It has none, or none that can be read.
    Absent,
}

impl GoCode {
    /// Looks for the line table of the file in `data`.
    pub(super) fn find(data: &[u8], losses: &mut Losses) -> Self {
        if !go::is_go(data) {
            return Self::Absent;
        }
        match LineTable::find(data) {
            Ok(table) => {
                let unreadable = u64::from(!table.has_inline_trees());
                losses.add(Degradation::GoInlineTreeMalformed, unreadable);
                Self::Table(table.layout())
            }
            Err(Refusal::Absent | Refusal::NotElf) => Self::Absent,
            Err(Refusal::TooOld | Refusal::Header | Refusal::Text) => {
                losses.add(Degradation::GoLineTableMalformed, 1);
                Self::Absent
            }
        }
    }

    /// The names of `addresses` (as the file states them), parallel to them; `None` for those outside of
    /// the table.
    pub(super) fn resolve(
        &self,
        data: &[u8],
        addresses: &[u64],
        names: &mut Names,
        losses: &mut Losses,
    ) -> Vec<Option<GoLocation>> {
        let Self::Table(layout) = self else {
            return vec![None; addresses.len()];
        };
        // The file may be another by now: its owner may write to it.
        let Some(table) = LineTable::with(data, *layout) else {
            losses.add(Degradation::GoLineTableMalformed, 1);
            return vec![None; addresses.len()];
        };
        let mut left = MAX_STEPS;
        let locations = addresses.iter().map(|address| {
            let function = table.lookup(ElfAddress(*address))?;
            let allowed = left.min(MAX_LOCATION_STEPS);
            let mut steps = Steps(allowed);
            let location = location(&function, ElfAddress(*address), &mut steps, names, losses);
            left -= allowed - steps.0;
            location
        });
        locations.collect()
    }
}

/// A location in the line table.
#[derive(Clone, Debug)]
pub(super) struct GoLocation {
    /// Its functions.
    pub(super) frames: ResolvedFrames,
    /// Is it C code that the table has a name of, and nothing else?
    pub(super) foreign: bool,
}

fn location(
    function: &Function<'_>,
    address: ElfAddress,
    steps: &mut Steps,
    names: &mut Names,
    losses: &mut Losses,
) -> Option<GoLocation> {
    let found = function.frames(address, steps);
    match found.malformed {
        Some(Malformed::Function) => losses.add(Degradation::GoLineTableMalformed, 1),
        Some(Malformed::InlineTree) => losses.add(Degradation::GoInlineTreeMalformed, 1),
        None => {}
    }
    if found.frames.is_empty() {
        return None;
    }
    let foreign = function.lines().next().is_none();
    let frames: Arc<[FrameName]> = found
        .frames
        .iter()
        .map(|frame| frame_name(frame, names))
        .collect();
    Some(GoLocation {
        frames: ResolvedFrames {
            frames,
            frame_type: if foreign {
                FrameType::Native
            } else {
                FrameType::Go
            },
            kind: LocationKind::Named,
            wrapper: found.frames.iter().all(|frame| frame.wrapper),
        },
        foreign,
    })
}

fn frame_name(frame: &Frame<'_>, names: &mut Names) -> FrameName {
    let name = String::from_utf8_lossy(frame.name);
    let printed = name::for_print(&name).map_or(Cow::Borrowed(&*name), Cow::Owned);
    FrameName {
        name: names.text(&printed),
        system_name: names.raw(frame.name),
        source: frame.file.map(|file| SourceLine {
            file: names.raw(file),
            line: frame.line,
            column: 0,
        }),
        start_line: frame.start_line,
    }
}

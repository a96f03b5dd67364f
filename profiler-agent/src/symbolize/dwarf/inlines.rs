//! What was inlined into a function: its entry's `DW_TAG_inlined_subroutine` descendants.

use gimli::constants as dw;
use gimli::{AttributeValue, UnitOffset};

use super::functions::CodeRanges;
use super::sections::{Dwarf, Slice, Unit};
use super::work::Work;

/// An inlined call.
#[derive(Clone, Debug)]
pub(super) struct InlinedCall<'data> {
    ranges: Vec<(u64, u64)>,
    /// Index of the inlined call that this one is part of.
    parent: Option<usize>,
    /// What was inlined: a reference to its abstract entry.
    pub(super) origin: Option<AttributeValue<Slice<'data>>>,
    /// The call's file, as an index into the unit's files.
    pub(super) call_file: u64,
    /// The call's line; 0 where unknown.
    pub(super) call_line: u32,
    /// The call's column; 0 where unknown.
    pub(super) call_column: u32,
}

/// The inlined calls of one function.
pub(super) struct InlinedCalls<'data> {
    /// In the order of the entries: a call comes before what was inlined into it.
    calls: Vec<InlinedCall<'data>>,
    /// Number of ranges of all of them.
    ranges: usize,
}

impl<'data> InlinedCalls<'data> {
    /// Reads the calls in the function at `function`. What comes behind a malformed entry is left out.
    pub(super) fn read(
        dwarf: &Dwarf<'data>,
        unit: &Unit<'data>,
        function: UnitOffset,
        work: &mut Work<'_>,
    ) -> Self {
        let mut calls = Vec::new();
        read(dwarf, unit, function, work, &mut calls).ok();
        let ranges = calls.iter().map(|call| call.ranges.len().max(1)).sum();
        Self { calls, ranges }
    }

    /// The calls that were inlined at `address`, outermost first.
    pub(super) fn at(&self, address: u64, work: &mut Work<'_>) -> Vec<&InlinedCall<'data>> {
        work.spend(self.ranges);
        let mut chain = Vec::new();
        let mut innermost = None;
        for (index, call) in self.calls.iter().enumerate() {
            let inside = call
                .ranges
                .iter()
                .any(|(start, end)| (*start..*end).contains(&address));
            if inside && call.parent == innermost {
                chain.push(call);
                innermost = Some(index);
            }
        }
        chain
    }
}

fn read<'data>(
    dwarf: &Dwarf<'data>,
    unit: &Unit<'data>,
    function: UnitOffset,
    work: &mut Work<'_>,
    calls: &mut Vec<InlinedCall<'data>>,
) -> gimli::Result<()> {
    let mut entries = unit.entries_raw(Some(function))?;
    let top = entries.next_depth();
    let Some(abbreviation) = entries.read_abbreviation()? else {
        return Ok(());
    };
    entries.skip_attributes(abbreviation.attributes())?;
    // Open inlined calls: depth of the entry, index of the call.
    let mut open: Vec<(isize, usize)> = Vec::new();
    // Depth of an entry whose descendants belong to something else.
    let mut foreign: Option<isize> = None;
    while !entries.is_empty() && entries.next_depth() > top && work.entry() {
        let depth = entries.next_depth();
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        while open.last().is_some_and(|(opened, _)| *opened >= depth) {
            open.pop();
        }
        if foreign.is_some_and(|foreign| depth > foreign) {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        foreign = None;
        match abbreviation.tag() {
            dw::DW_TAG_inlined_subroutine => {}
            dw::DW_TAG_subprogram => {
                foreign = Some(depth);
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            _ => {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
        }
        let mut call = InlinedCall {
            ranges: Vec::new(),
            parent: open.last().map(|(_, index)| *index),
            origin: None,
            call_file: 0,
            call_line: 0,
            call_column: 0,
        };
        let mut code = CodeRanges::default();
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            let number = || attribute.udata_value().unwrap_or(0);
            match attribute.name() {
                dw::DW_AT_abstract_origin => call.origin = Some(attribute.value()),
                dw::DW_AT_call_file => {
                    call.call_file = match attribute.value() {
                        AttributeValue::FileIndex(file) => file,
                        _ => number(),
                    };
                }
                dw::DW_AT_call_line => call.call_line = u32::try_from(number()).unwrap_or(0),
                dw::DW_AT_call_column => call.call_column = u32::try_from(number()).unwrap_or(0),
                name => code.attribute(name, attribute.value()),
            }
        }
        code.each(dwarf, unit, |start, end| {
            if work.entry() {
                call.ranges.push((start, end));
            }
        });
        open.push((depth, calls.len()));
        calls.push(call);
    }
    Ok(())
}

//! What was inlined into a function: its entry's `DW_TAG_inlined_subroutine` descendants.
//!
//! A function may have any number of inlined calls, each without code. Only those are kept that cover an
//! address that is asked for, and nothing below a call that covers none of them is looked into.

use gimli::constants as dw;
use gimli::{AttributeValue, UnitOffset};

use super::functions::CodeRanges;
use super::sections::{Dwarf, Slice, Unit};
use super::work::Work;

/// Inlined calls at one address. The compilers' own limits are lower; what is deeper is left out.
const MAX_DEPTH: usize = 512;

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

/// The inlined calls of one function that cover some of its addresses.
pub(super) struct InlinedCalls<'data> {
    /// In the order of the entries: a call comes before what was inlined into it.
    calls: Vec<InlinedCall<'data>>,
    /// Bytes charged for them.
    bytes: usize,
}

impl<'data> InlinedCalls<'data> {
    /// Reads the calls in the function at `function` that cover one of `addresses` (sorted). What comes behind
    /// a malformed entry is left out.
    pub(super) fn read(
        dwarf: &Dwarf<'data>,
        unit: &Unit<'data>,
        function: UnitOffset,
        addresses: &[u64],
        work: &mut Work<'_, '_, '_>,
    ) -> Self {
        let mut found = Self {
            calls: Vec::new(),
            bytes: 0,
        };
        found.walk(dwarf, unit, function, addresses, work).ok();
        found
    }

    /// The calls that were inlined at `address`, outermost first.
    pub(super) fn at(&self, address: u64, work: &mut Work<'_, '_, '_>) -> Vec<&InlinedCall<'data>> {
        let mut chain = Vec::new();
        let mut innermost = None;
        for (index, call) in self.calls.iter().enumerate() {
            if !work.step(call.ranges.len()) {
                break;
            }
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

    /// Drops them.
    pub(super) fn release(self, work: &mut Work<'_, '_, '_>) {
        work.release(self.bytes);
    }

    fn walk(
        &mut self,
        dwarf: &Dwarf<'data>,
        unit: &Unit<'data>,
        function: UnitOffset,
        addresses: &[u64],
        work: &mut Work<'_, '_, '_>,
    ) -> gimli::Result<()> {
        let mut entries = unit.entries_raw(Some(function))?;
        let top = entries.next_depth();
        let Some(abbreviation) = entries.read_abbreviation()? else {
            return Ok(());
        };
        entries.skip_attributes(abbreviation.attributes())?;
        // Open inlined calls: depth of the entry, index of the call.
        let mut open: Vec<(isize, usize)> = Vec::new();
        // Depth of an entry whose descendants are not of interest.
        let mut foreign: Option<isize> = None;
        let mut before = function.0;
        while !entries.is_empty() && entries.next_depth() > top && work.step(1) {
            let (depth, offset) = (entries.next_depth(), entries.next_offset().0);
            if !work.bytes(offset - before) {
                break;
            }
            before = offset;
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            let attributes = abbreviation.attributes();
            if !work.step(attributes.len()) {
                break;
            }
            while open.last().is_some_and(|(opened, _)| *opened >= depth) {
                open.pop();
            }
            let inside = foreign.is_some_and(|foreign| depth > foreign);
            if inside || abbreviation.tag() != dw::DW_TAG_inlined_subroutine {
                if !inside {
                    let another = abbreviation.tag() == dw::DW_TAG_subprogram;
                    foreign = another.then_some(depth);
                }
                entries.skip_attributes(attributes)?;
                continue;
            }
            foreign = None;
            let mut call = InlinedCall {
                ranges: Vec::new(),
                parent: open.last().map(|(_, index)| *index),
                origin: None,
                call_file: 0,
                call_line: 0,
                call_column: 0,
            };
            let mut code = CodeRanges::default();
            for specification in attributes {
                let attribute = entries.read_attribute(*specification)?;
                call.attribute(attribute.name(), attribute.value(), &mut code);
            }
            code.each(dwarf, unit, work, |start, end, work| {
                let first = addresses.partition_point(|address| *address < start);
                let covers = addresses.get(first).is_some_and(|address| *address < end);
                if covers && work.keep(size_of::<(u64, u64)>()) {
                    self.bytes += size_of::<(u64, u64)>();
                    call.ranges.push((start, end));
                }
            });
            let bytes = 2 * size_of::<InlinedCall<'_>>();
            let covers = !call.ranges.is_empty();
            if covers && open.len() >= MAX_DEPTH {
                work.leave_out();
            }
            if !covers || open.len() >= MAX_DEPTH || !work.keep(bytes) {
                foreign = Some(depth);
                continue;
            }
            self.bytes += bytes;
            open.push((depth, self.calls.len()));
            self.calls.push(call);
        }
        Ok(())
    }
}

impl<'data> InlinedCall<'data> {
    fn attribute(
        &mut self,
        name: gimli::DwAt,
        value: AttributeValue<Slice<'data>>,
        code: &mut CodeRanges<'data>,
    ) {
        let number = || value.udata_value().unwrap_or(0);
        match name {
            dw::DW_AT_abstract_origin => self.origin = Some(value),
            dw::DW_AT_call_file => {
                self.call_file = match value {
                    AttributeValue::FileIndex(file) => file,
                    _ => number(),
                };
            }
            dw::DW_AT_call_line => self.call_line = u32::try_from(number()).unwrap_or(0),
            dw::DW_AT_call_column => self.call_column = u32::try_from(number()).unwrap_or(0),
            name => code.attribute(name, value),
        }
    }
}

//! ELF file to unwind table.
//!
//! Go's line table comes first: it is exact at every instruction, assembly included, where `.debug_frame`
//! of Go programs is not; `.eh_frame` is that of C code beside it.
//!
//! First pass: find every entry and where its function starts; sort. Second pass: convert
//! rows in ascending order of address and write them as they come, so that beside the
//! section's bytes and 8 bytes an entry only the table itself is held. Where two entries overlap,
//! the one that starts later ends the other, as a binary search by start finds it.

use std::borrow::Cow;

use gimli::{DebugFrame, UnwindSection};

use super::absent::{Absent, Malformed};
use super::augmentation;
use super::base_register::BaseRegister;
use super::code::Code;
use super::context;
use super::convert::Converter;
use super::elf::{Image, Machine, Placed};
use super::entries::{
    self, Bytes, Entry, Frames, Origin, eh_frame_address, entry_offsets, offsets_by_header,
};
use super::go_function::{self, GoFunctions};
use super::inferred;
use super::output::Output;
use super::statistics::Statistics;
use super::supplement::{self, Supplement};
use super::trampoline;
use crate::elf::Source;
use crate::go::LineTable;
use crate::profile::UnwindTable;

/// A table and what its build saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The table.
    pub table: UnwindTable,
    /// What was seen and what was given up.
    pub statistics: Statistics,
}

/// Builds the table of an ELF executable or shared object (x86_64 or aarch64, 64-bit,
/// little-endian): from `.eh_frame`, and from `.debug_frame` for functions that `.eh_frame` does not
/// have.
///
/// # Errors
/// The reason why there is none.
pub fn build<S: Source + ?Sized>(source: &S) -> Result<Built, Absent> {
    build_with(source, None)
}

/// Builds the table of a file with this Go line table: as [`build`], and Go's functions from there.
///
/// # Errors
/// The reason why there is none.
pub fn build_go<S: Source + ?Sized>(source: &S, lines: &LineTable<'_>) -> Result<Built, Absent> {
    build_with(source, Some(lines))
}

fn build_with<S: Source + ?Sized>(
    source: &S,
    lines: Option<&LineTable<'_>>,
) -> Result<Built, Absent> {
    let mut image = Image::parse(source)?;
    let code = Code::of(&image, source.length())?;
    let mut fallback = image.eh_frame_header.as_ref().and_then(|header| {
        let frames = image.loaded_from(source, eh_frame_address(header)?)?;
        let offsets = offsets_by_header(header, &frames);
        Some((frames, offsets))
    });
    if image.machine == Machine::Aarch64 {
        let by_header = fallback.as_mut().map(|(section, _)| section);
        for section in image.eh_frame.as_mut().into_iter().chain(by_header) {
            augmentation::normalize(section.bytes.to_mut(), Origin::Exception);
        }
        if let Some(section) = &mut image.debug_frame {
            augmentation::normalize(section.bytes.to_mut(), Origin::Debug);
        }
    }
    let (exception, by_header) = match (&image.eh_frame, &fallback) {
        (Some(section), _) => (Some(section), None),
        (None, Some((section, offsets))) => (Some(section), Some(offsets)),
        (None, None) => (None, None),
    };
    let race_call = lines.and_then(|lines| race_call(source, &image, lines));
    let base_register = match &race_call {
        Some(_) => BaseRegister::R12,
        None => BaseRegister::Rbx,
    };
    let mut builder = Builder {
        exception: exception
            .map(|section| entries::exception_frames(section, image.machine, image.text)),
        debug: image
            .debug_frame
            .as_ref()
            .map(|section| entries::debug_frames(section, image.machine)),
        converter: Converter::new(image.machine),
        go: lines.map(|lines| Go {
            lines,
            functions: GoFunctions::new(
                image.machine,
                base_register,
                foreign_call_layout(source, &image, lines),
            ),
        }),
        supplements: Vec::new(),
        statistics: Statistics::default(),
        code,
    };

    let mut list = builder.entries(exception, by_header, image.debug_frame.as_ref())?;
    let mut trampolines = builder.go(&mut list);
    trampolines.extend(lines.and_then(|lines| given_up(source, &image, lines)));
    trampolines.extend(race_call.into_iter().flatten());
    builder.supplement(&mut list, Origin::Trampoline, trampolines);
    builder.supplement(&mut list, Origin::Linkage, supplement::linkage(&image));
    let contexts = context::search(source, &image, &builder.code, &list);
    builder.supplement(&mut list, Origin::Trampoline, contexts);
    let (mut table, seen) = builder.table(&list)?;
    let searched = trampoline::search(source, &image, &table);
    builder.statistics.unsearched_bytes = searched.skipped;
    let inferred = inferred::infer(source, &image, &table, &builder.code, base_register);
    if !searched.found.is_empty() || !inferred.rules.is_empty() {
        drop(table);
        let trampolines = searched.found.len() as u32;
        builder.supplement(&mut list, Origin::Trampoline, searched.found);
        builder.supplement(&mut list, Origin::Linkage, inferred.rules);
        (table, _) = builder.table(&list)?;
        builder.statistics.trampolines = trampolines;
        builder.statistics.inferred_functions = inferred.functions;
    } else if seen == 0 {
        return Err(if builder.statistics.malformed_entries > 0 {
            Absent::Malformed(Malformed::CallFrames)
        } else {
            Absent::NoUnwindInfo
        });
    }
    Ok(Built {
        table,
        statistics: builder.statistics,
    })
}

fn sort(list: &mut Vec<Entry>) {
    list.sort_unstable();
    list.dedup_by_key(|entry| entry.start);
}

/// Go's functions.
struct Go<'a> {
    lines: &'a LineTable<'a>,
    functions: GoFunctions,
}

/// Bytes of a function in assembly that are read; what is longer is none of those that are looked for.
const MAX_ASSEMBLY_BYTES: u64 = 64 << 10;

/// The code of a function in assembly, and its address.
fn assembly<'s, S: Source + ?Sized>(
    source: &'s S,
    image: &Image<'s>,
    lines: &LineTable<'_>,
    name: &[u8],
) -> Option<(Cow<'s, [u8]>, u64)> {
    let function = lines
        .functions()
        .find(|function| function.flags().assembly() && function.is_named(name))?;
    let (start, end) = (function.entry().0, function.end().0);
    let length = (end - start <= MAX_ASSEMBLY_BYTES).then_some(end - start)?;
    Some((image.code(source, start, length)?, start))
}

/// Where `asmcgocall` leaves the goroutine, by its instructions.
fn foreign_call_layout<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    lines: &LineTable<'_>,
) -> Option<i32> {
    let (code, _) = assembly(source, image, lines, go_function::FOREIGN_CALL)?;
    go_function::foreign_call_goroutine(image.machine, &code)
}

/// What only instructions say of `systemstack`.
fn given_up<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    lines: &LineTable<'_>,
) -> Option<Supplement> {
    let (code, start) = assembly(source, image, lines, go_function::SYSTEM_STACK)?;
    go_function::given_up(image.machine, &code, start)
}

/// What only instructions say of `racecall`; `None` in programs without the race detector.
fn race_call<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    lines: &LineTable<'_>,
) -> Option<[Supplement; 2]> {
    let (code, start) = assembly(source, image, lines, go_function::RACE_CALL)?;
    go_function::race_call(image.machine, &code, start)
}

/// Builds tables out of entries.
pub(super) struct Builder<'a> {
    go: Option<Go<'a>>,
    exception: Option<Frames<'a, gimli::EhFrame<Bytes<'a>>>>,
    debug: Option<Frames<'a, DebugFrame<Bytes<'a>>>>,
    converter: Converter,
    supplements: Vec<Supplement>,
    statistics: Statistics,
    code: Code,
}

impl<'a> Builder<'a> {
    /// A builder of tables of `code` out of the entries of `.eh_frame` alone.
    pub(super) fn of_exceptions(
        exception: Frames<'a, gimli::EhFrame<Bytes<'a>>>,
        machine: Machine,
        code: Code,
    ) -> Self {
        Self {
            go: None,
            exception: Some(exception),
            debug: None,
            converter: Converter::new(machine),
            supplements: Vec::new(),
            statistics: Statistics::default(),
            code,
        }
    }

    /// Whose tables it builds.
    pub(super) const fn code(&self) -> &Code {
        &self.code
    }

    /// All entries, sorted, each start once.
    fn entries(
        &mut self,
        exception: Option<&Placed<'_>>,
        by_header: Option<&Vec<usize>>,
        debug: Option<&Placed<'_>>,
    ) -> Result<Vec<Entry>, Absent> {
        let mut list = Vec::new();
        if let (Some(frames), Some(section)) = (&mut self.exception, exception) {
            let mut collect = |offsets: &mut dyn Iterator<Item = usize>| {
                let origin = Origin::Exception;
                collect(
                    frames,
                    offsets,
                    origin,
                    &self.code,
                    &mut list,
                    &mut self.statistics,
                )
            };
            match by_header.filter(|offsets| !offsets.is_empty()) {
                Some(offsets) => collect(&mut offsets.iter().copied())?,
                None => collect(&mut entry_offsets(
                    &section.bytes,
                    Origin::Exception,
                    by_header.is_some(),
                ))?,
            }
        }
        if let (Some(frames), Some(section)) = (&mut self.debug, debug) {
            let mut offsets = entry_offsets(&section.bytes, Origin::Debug, false);
            let origin = Origin::Debug;
            collect(
                frames,
                &mut offsets,
                origin,
                &self.code,
                &mut list,
                &mut self.statistics,
            )?;
        }
        sort(&mut list);
        Ok(list)
    }

    /// Adds Go's functions; those that are signal trampolines are returned.
    fn go(&self, list: &mut Vec<Entry>) -> Vec<Supplement> {
        let mut trampolines = Vec::new();
        let Some(Go { lines, functions }) = &self.go else {
            return trampolines;
        };
        for index in 0..lines.len() {
            let Some(function) = lines.function(index) else {
                continue;
            };
            if let Some(trampoline) = functions.trampoline(&function) {
                trampolines.extend(trampoline);
            } else if let Some(start) = self.code.offset(function.entry().0)
                && function.stack_deltas().next().is_some()
            {
                list.extend(Entry::new(start, Origin::Go, index));
            }
        }
        trampolines
    }

    /// Adds entries for code of known shape.
    pub(super) fn supplement(
        &mut self,
        list: &mut Vec<Entry>,
        origin: Origin,
        more: Vec<Supplement>,
    ) {
        for supplement in more {
            if let Some(start) = self.code.offset(supplement.address) {
                list.extend(Entry::new(start, origin, self.supplements.len()));
                self.supplements.push(supplement);
            }
        }
        sort(list);
    }

    /// The table of `list`, and how many of its entries were used.
    fn table(&mut self, list: &[Entry]) -> Result<(UnwindTable, u32), Absent> {
        self.table_of(list, None)
    }

    /// The table of `page` alone, or of all code, and how many entries were used.
    pub(super) fn table_of(
        &mut self,
        list: &[Entry],
        page: Option<u32>,
    ) -> Result<(UnwindTable, u32), Absent> {
        let statistics = Statistics {
            malformed_entries: self.statistics.malformed_entries,
            foreign_entries: self.statistics.foreign_entries,
            unsearched_bytes: self.statistics.unsearched_bytes,
            ..Statistics::default()
        };
        let mut output = match page {
            None => Output::new(&self.code, self.converter, statistics)?,
            Some(page) => Output::of_page(&self.code, page, self.converter, statistics)?,
        };
        // Up to where the entries so far say something: a linkage table's own information wins.
        let mut described = 0;
        for (index, entry) in list.iter().enumerate() {
            let linkage = entry.origin() == Origin::Linkage;
            let next = list[index + 1..]
                .iter()
                .find(|next| linkage || next.origin() != Origin::Linkage);
            let end = next.map_or(self.code.span, |next| next.start);
            described = match entry.origin() {
                Origin::Linkage if entry.start < described => continue,
                Origin::Trampoline | Origin::Linkage => {
                    let Some(supplement) = self.supplements.get(entry.offset()) else {
                        continue;
                    };
                    output.supplement(supplement, *entry, end)?
                }
                Origin::Go => {
                    let Some(go) = &self.go else { continue };
                    let Some(function) = go.lines.function(entry.offset()) else {
                        continue;
                    };
                    output.deltas(&mut go.functions.deltas(&function), *entry, end)?
                }
                Origin::Exception => output.convert(self.exception.as_mut(), *entry, end)?,
                Origin::Debug => output.convert(self.debug.as_mut(), *entry, end)?,
            };
        }
        let (table, statistics) = output.finish()?;
        self.statistics = statistics;
        Ok((table, self.statistics.entries))
    }
}

fn collect<'a, S: UnwindSection<Bytes<'a>>>(
    frames: &mut Frames<'a, S>,
    offsets: &mut dyn Iterator<Item = usize>,
    origin: Origin,
    code: &Code,
    list: &mut Vec<Entry>,
    statistics: &mut Statistics,
) -> Result<(), Absent> {
    frames.renew();
    for offset in offsets {
        let Some(entry) = frames.entry(offset)? else {
            statistics.malformed_entries += 1;
            continue;
        };
        if entry.len() == 0 {
            continue;
        }
        match code.offset(entry.initial_address()) {
            Some(start) => list.extend(Entry::new(start, origin, offset)),
            None => statistics.foreign_entries += 1,
        }
    }
    frames.renew();
    Ok(())
}

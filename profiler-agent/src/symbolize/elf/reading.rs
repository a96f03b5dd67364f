//! Reads the names of a batch of addresses from one file. Runs where it may be left behind, so it owns what it
//! works with and gives it back.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gimli::constants as dw;
use object::elf;

use super::debug_sections::debug_sections;
use super::image::ElfImage;
use super::known_file::{DebugInfo, KnownFile};
use super::split::{self, Split};
use super::symtab::{self, Sizeless};
use super::{debug_file, mini_debug, plt};
use crate::elf::MappedFile;
use crate::profile::{
    Degradation, Executable, FrameName, FrameType, LocationKind, Losses, Mark, ResolvedFrames,
};
use crate::symbolize::budget::Budget;
use crate::symbolize::demangle::{self, Mangling};
use crate::symbolize::dwarf::{DwarfFrame, DwarfIndex, DwarfLocation};
use crate::symbolize::go::GoLocation;
use crate::symbolize::names::Names;

/// Bytes of one file's indices, and of what a batch collects.
const MAX_BYTES: usize = 16 << 20;
/// Batches that the budget ended, after which the file's debug information is not read any more.
const MAX_OVERRUNS: u8 = 2;

/// What a batch may cost.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Bytes of debug information that are mapped, and that are decompressed.
    pub(super) debug_info: (u64, u64),
    /// Read debug information at all?
    pub(super) wants_debug_info: bool,
    /// Items that are looked at.
    pub(super) steps: u64,
    /// When debug information is left at what it says by then.
    pub(super) deadline: Instant,
    /// Is that all the time that a file has, or what others left of the window's?
    pub(super) is_whole: bool,
    /// Set: the agent is stopping.
    pub(super) hurry: Arc<AtomicBool>,
}

/// A batch.
pub(super) struct Reading {
    pub(super) executable: Arc<Executable>,
    /// Sorted, each once.
    pub(super) addresses: Vec<u64>,
    /// What is kept of the file.
    pub(super) known: Option<KnownFile>,
    pub(super) names: Names,
    pub(super) losses: Losses,
    pub(super) limits: Limits,
    /// Was debug information left out that another batch may read?
    pub(super) partial: bool,
}

/// The names of a batch's addresses, parallel to them.
pub(super) type Found = Vec<Option<ResolvedFrames>>;

impl Reading {
    /// Reads the names. `None` counts for each address that has none.
    pub(super) fn read(&mut self) -> Found {
        let executable = Arc::clone(&self.executable);
        let nothing = vec![None; self.addresses.len()];
        if let Some(image) = &executable.image {
            return self.resolve(image).unwrap_or(nothing);
        }
        let Some(file) = &executable.file else {
            return nothing;
        };
        let Ok(mapped) = MappedFile::new(file) else {
            self.losses.add(Degradation::SymbolsMalformed, 1);
            return nothing;
        };
        match self.resolve(&mapped) {
            Some(found) if !mapped.truncated() => found,
            _ => {
                self.losses.add(Degradation::SymbolsMalformed, 1);
                nothing
            }
        }
    }

    fn resolve(&mut self, data: &[u8]) -> Option<Found> {
        let image = ElfImage::parse(data)?;
        let hurry = Arc::clone(&self.limits.hurry);
        let deadline = self.limits.deadline;
        let expired = move || hurry.load(Ordering::Relaxed) || Instant::now() >= deadline;
        let mut budget = Budget::new(self.limits.steps, MAX_BYTES, &expired);
        let is_new = self.known.is_none();
        let known = self.known.get_or_insert_with(|| {
            KnownFile::new(
                &self.executable,
                &image,
                self.limits.wants_debug_info,
                &mut self.losses,
                &mut budget,
            )
        });
        // What was not found in time is not known to be absent.
        let is_unsure = is_new && budget.is_cut();
        let go = known
            .go
            .resolve(data, &self.addresses, &mut self.names, &mut self.losses);
        let others: Vec<u64> = self
            .addresses
            .iter()
            .zip(&go)
            .filter(|(_, found)| found.as_ref().is_none_or(|found| found.foreign))
            .map(|(address, _)| *address)
            .collect();
        let mut found = if others.is_empty() {
            Vec::new()
        } else {
            self.compiled(&image, &others, &mut budget)?
        }
        .into_iter();
        if is_unsure {
            self.known = None;
            self.partial = true;
        }
        Some(
            go.into_iter()
                .map(|location| match location {
                    Some(GoLocation {
                        frames,
                        foreign: false,
                    }) => Some(frames),
                    Some(GoLocation { frames, .. }) => found.next().flatten().or(Some(frames)),
                    None => found.next().flatten(),
                })
                .collect(),
        )
    }

    /// Names from debug information and symbol tables.
    fn compiled(
        &mut self,
        image: &ElfImage<'_>,
        addresses: &[u64],
        budget: &mut Budget<'_>,
    ) -> Option<Found> {
        let known = self.known.as_mut()?;
        let separate = match &known.debug_info {
            DebugInfo::Separate(file) => MappedFile::new(file).ok(),
            _ => None,
        };
        let separate = separate.as_deref().and_then(ElfImage::parse);
        let source = match &known.debug_info {
            DebugInfo::Own => Some(image),
            DebugInfo::Separate(_) => separate.as_ref(),
            DebugInfo::Absent | DebugInfo::Refused => None,
        };
        let debug = source.and_then(|source| {
            let found = debug_info(
                known,
                source,
                (&self.executable, addresses),
                &self.limits,
                (&mut self.names, budget),
            );
            let partial = found.is_none() || budget.is_partial();
            let partial = u64::from(partial);
            self.losses.add(Degradation::DebugInfoBudget, partial);
            if budget.is_cut() {
                known.overruns += u8::from(self.limits.is_whole);
                self.partial = known.overruns < MAX_OVERRUNS;
            }
            if found.is_none() || known.overruns >= MAX_OVERRUNS {
                known.refuse();
            }
            found
        });
        let debug = debug.unwrap_or_else(|| vec![None; addresses.len()]);
        let symbols = symbols(image, separate.as_ref(), &mut known.mini, addresses);
        let found = debug.into_iter().zip(symbols);
        Some(
            found
                .map(|(debug, symbol)| compose(debug, symbol.as_ref(), &mut self.names))
                .collect(),
        )
    }
}

/// What debug information says of the addresses, as far as the budget reaches; `None` when its sections are too large or
/// cannot be decompressed.
fn debug_info(
    known: &mut KnownFile,
    source: &ElfImage<'_>,
    (executable, addresses): (&Executable, &[u64]),
    limits: &Limits,
    (names, budget): (&mut Names, &mut Budget<'_>),
) -> Option<Vec<Option<DwarfLocation>>> {
    if known.index.is_none() {
        known.supplementary = debug_file::find_supplementary(executable, source);
    }
    let shared = known
        .supplementary
        .as_ref()
        .and_then(|file| MappedFile::new(file).ok());
    let shared = shared.as_deref().and_then(ElfImage::parse);
    let sections = debug_sections(
        source,
        shared.as_ref(),
        limits.debug_info,
        &mut known.decompressed,
    )?;
    let code = code_ranges(executable);
    let mut index = match known.index.take() {
        Some(index) => index,
        None => DwarfIndex::build(&sections, &code, budget),
    };
    // What the budget ended is not all there is.
    let whole = !budget.is_cut();
    let package = split::package_of(executable);
    let split = Split::new(executable, package.as_deref(), limits.debug_info);
    let found = index.resolve(&sections, &code, addresses, names, &split, budget);
    known.index = whole.then_some(index);
    Some(found)
}

/// The raw symbols of `addresses`, from the first table that has each.
fn symbols(
    image: &ElfImage<'_>,
    separate: Option<&ElfImage<'_>>,
    mini: &mut Option<Option<Box<[u8]>>>,
    addresses: &[u64],
) -> Vec<Option<String>> {
    let mut found: Vec<Option<String>> = vec![None; addresses.len()];
    let mut look = |find: &mut dyn FnMut(&[u64]) -> Vec<Option<String>>| {
        let missing: Vec<usize> = (0..found.len()).filter(|at| found[*at].is_none()).collect();
        if missing.is_empty() {
            return;
        }
        let wanted: Vec<u64> = missing.iter().map(|at| addresses[*at]).collect();
        for (at, name) in missing.into_iter().zip(find(&wanted)) {
            found[at] = name;
        }
    };
    look(&mut |wanted| table(image, elf::SHT_SYMTAB, Sizeless::ToTheNext, wanted));
    if let Some(separate) = separate {
        look(&mut |wanted| table(separate, elf::SHT_SYMTAB, Sizeless::ToTheNext, wanted));
    }
    look(&mut |wanted| {
        let mini = mini.get_or_insert_with(|| mini_debug::read(image));
        let mini = mini.as_deref().and_then(ElfImage::parse);
        mini.map_or(vec![None; wanted.len()], |mini| {
            table(&mini, elf::SHT_SYMTAB, Sizeless::OwnAddress, wanted)
        })
    });
    look(&mut |wanted| table(image, elf::SHT_DYNSYM, Sizeless::OwnAddress, wanted));
    look(&mut |wanted| plt::names(image, wanted));
    found
}

fn table(
    image: &ElfImage<'_>,
    kind: elf::SectionType,
    sizeless: Sizeless,
    addresses: &[u64],
) -> Vec<Option<String>> {
    let symbols = symtab::find(image, kind, sizeless, addresses).into_iter();
    symbols
        .map(|symbol| Some(String::from_utf8_lossy(symbol?.name).into_owned()))
        .collect()
}

/// One location from what debug information and symbol table say.
fn compose(
    debug: Option<DwarfLocation>,
    symbol: Option<&String>,
    names: &mut Names,
) -> Option<ResolvedFrames> {
    let Some(DwarfLocation { frames, language }) = debug else {
        return symbol.map(|symbol| names.single(symbol, FrameType::Native));
    };
    let outermost = frames.len() - 1;
    let mut mangling = Mangling::None;
    let mut named = true;
    let frames: Arc<[FrameName]> = frames
        .into_iter()
        .enumerate()
        .map(|(depth, frame)| {
            let raw = if depth == outermost {
                outer_name(&frame, symbol)
            } else {
                frame.raw.as_deref()
            };
            named &= depth != outermost || raw.is_some();
            let raw = raw.unwrap_or(Mark::Unknown.name());
            let (name, of_name) = names.function(raw, frame.source.clone(), frame.start_line);
            mangling = of_name;
            name
        })
        .collect();
    named.then_some(ResolvedFrames {
        frames,
        frame_type: match (language, mangling) {
            (Some(dw::DW_LANG_Rust), _) | (_, Mangling::Rust) => FrameType::Rust,
            (Some(dw::DW_LANG_Go), _) => FrameType::Go,
            _ => FrameType::Native,
        },
        kind: LocationKind::Named,
        wrapper: false,
    })
}

/// The raw name of the function that has the code. Debug information knows the function's own name
/// where the symbol table may know an alias of it (`__libc_malloc`, `malloc`); but without a linkage
/// name it says too little of a C++ or Rust function, and nothing of a compiler's copies.
fn outer_name<'name>(
    frame: &'name DwarfFrame,
    symbol: Option<&'name String>,
) -> Option<&'name str> {
    let (Some(raw), Some(symbol)) = (frame.raw.as_deref(), symbol) else {
        return frame.raw.as_deref().or(symbol.map(String::as_str));
    };
    let (readable, mangling) = demangle::demangle(symbol);
    let better = !frame.mangled && (mangling != Mangling::None || readable == raw);
    Some(if better { symbol } else { raw })
}

fn code_ranges(executable: &Executable) -> Vec<Range<u64>> {
    let range = |start: u64, length: u64| start..start.saturating_add(length);
    let segments = executable.segments.iter();
    segments
        .map(|segment| range(segment.address.0, segment.length))
        .collect()
}

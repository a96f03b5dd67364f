//! Resolves batches of addresses of one file each, and keeps what is slow to find again.

use std::ops::Range;
use std::sync::Arc;

use gimli::{RunTimeEndian, SectionId, constants as dw};
use hashbrown::HashMap;
use object::{Endianness, elf};

use super::image::ElfImage;
use super::known_file::{DebugInfo, KnownFile};
use super::mapped::MappedFile;
use super::symtab::{self, Sizeless};
use super::{debug_file, mini_debug, plt};
use crate::profile::{
    Executable, ExecutableId, FrameName, FrameType, LossCause, Losses, ResolvedFrames,
};
use crate::symbolize::config::SymbolizeConfig;
use crate::symbolize::demangle::{self, Mangling};
use crate::symbolize::dwarf::{
    DebugSections, DwarfFrame, DwarfIndex, DwarfLocation, NEEDED, SectionBytes, Sections,
};
use crate::symbolize::go::GoLocation;
use crate::symbolize::names::Names;
use crate::symbolize::placeholder;

/// Files of which something is kept at most: each may hold an open debug file.
const MAX_FILES: usize = 256;

/// Names locations in files.
#[derive(Debug)]
pub(in crate::symbolize) struct ElfSymbols {
    files: HashMap<ExecutableId, KnownFile>,
    index_bytes: usize,
    debug_info_bytes: u64,
    decompressed_bytes: u64,
    debug_info: bool,
    window: u64,
}

impl ElfSymbols {
    /// Knows no file yet.
    pub(in crate::symbolize) fn new(config: &SymbolizeConfig) -> Self {
        Self {
            files: HashMap::new(),
            index_bytes: config.index_bytes,
            debug_info_bytes: config.debug_info_bytes,
            decompressed_bytes: config.decompressed_bytes,
            debug_info: config.debug_info,
            window: 0,
        }
    }

    /// Bytes held between windows.
    pub(in crate::symbolize) fn bytes(&self) -> usize {
        self.files.values().map(KnownFile::bytes).sum()
    }

    /// Ends a window: what was asked for least recently goes until the budget holds.
    pub(in crate::symbolize) fn end_window(&mut self) {
        self.window += 1;
        let mut bytes = self.bytes();
        while bytes > self.index_bytes || self.files.len() > MAX_FILES {
            let oldest = self
                .files
                .iter()
                .min_by_key(|(id, file)| (file.window, **id));
            let Some(id) = oldest.map(|(id, _)| *id) else {
                return;
            };
            bytes -= self.files.remove(&id).map_or(0, |file| file.bytes());
        }
    }

    /// The names of `addresses` (as the file states them, sorted, each once), parallel to them; `None` where
    /// there is none.
    pub(in crate::symbolize) fn resolve(
        &mut self,
        executable: &Executable,
        addresses: &[u64],
        names: &mut Names,
        losses: &mut Losses,
    ) -> Vec<Option<ResolvedFrames>> {
        let nothing = vec![None; addresses.len()];
        if let Some(image) = &executable.image {
            return self
                .resolve_in(executable, image, addresses, names, losses)
                .unwrap_or(nothing);
        }
        let Some(file) = &executable.file else {
            return nothing;
        };
        let Ok(mapped) = MappedFile::new(file) else {
            losses.add(LossCause::SymbolsMalformed, 1);
            return nothing;
        };
        let found = self.resolve_in(executable, &mapped, addresses, names, losses);
        match found {
            Some(found) if !mapped.truncated() => found,
            _ => {
                losses.add(LossCause::SymbolsMalformed, 1);
                nothing
            }
        }
    }

    fn resolve_in(
        &mut self,
        executable: &Executable,
        data: &[u8],
        addresses: &[u64],
        names: &mut Names,
        losses: &mut Losses,
    ) -> Option<Vec<Option<ResolvedFrames>>> {
        let image = ElfImage::parse(data)?;
        let known = self.known(executable, &image, losses);
        let go = known.go.resolve(data, addresses, names, losses);
        let others: Vec<u64> = addresses
            .iter()
            .zip(&go)
            .filter(|(_, found)| found.as_ref().is_none_or(|found| found.foreign))
            .map(|(address, _)| *address)
            .collect();
        let mut found = if others.is_empty() {
            Vec::new()
        } else {
            self.resolve_compiled(executable, &image, &others, names, losses)?
        }
        .into_iter();
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

    /// What is kept of a file, looked for when it is met first.
    fn known(
        &mut self,
        executable: &Executable,
        image: &ElfImage<'_>,
        losses: &mut Losses,
    ) -> &mut KnownFile {
        let (window, wanted) = (self.window, self.debug_info);
        let known = self
            .files
            .entry(executable.id)
            .or_insert_with(|| KnownFile::new(executable, image, wanted, losses));
        known.window = window;
        known
    }

    /// Names from debug information and symbol tables.
    fn resolve_compiled(
        &mut self,
        executable: &Executable,
        image: &ElfImage<'_>,
        addresses: &[u64],
        names: &mut Names,
        losses: &mut Losses,
    ) -> Option<Vec<Option<ResolvedFrames>>> {
        let known = self.files.get_mut(&executable.id)?;
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
        let mut debug = vec![None; addresses.len()];
        if let Some(source) = source {
            let limits = (self.debug_info_bytes, self.decompressed_bytes);
            if known.index.is_none() {
                known.supplementary = debug_file::find_supplementary(executable, source);
            }
            let shared = known
                .supplementary
                .as_ref()
                .and_then(|file| MappedFile::new(file).ok());
            let shared = shared.as_deref().and_then(ElfImage::parse);
            match debug_sections(source, shared.as_ref(), limits, &mut known.decompressed) {
                Some(sections) => {
                    let code = code_ranges(executable);
                    let index = known
                        .index
                        .get_or_insert_with(|| DwarfIndex::build(&sections, &code));
                    let (found, whole) = index.resolve(&sections, &code, addresses, names);
                    losses.add(LossCause::DebugInfoBudget, u64::from(!whole));
                    debug = found;
                }
                None => {
                    losses.add(LossCause::DebugInfoBudget, 1);
                    known.debug_info = DebugInfo::Refused;
                    known.decompressed = HashMap::new();
                }
            }
        }
        let symbols = symbols(image, separate.as_ref(), &mut known.mini, addresses);
        let found = debug.into_iter().zip(symbols);
        Some(
            found
                .map(|(debug, symbol)| compose(debug, symbol.as_ref(), names))
                .collect(),
        )
    }
}

/// The sections of debug information, and of the supplementary file's; `None` when they are too large or
/// cannot be decompressed.
fn debug_sections<'data>(
    image: &ElfImage<'data>,
    supplementary: Option<&ElfImage<'data>>,
    (mapped_limit, decompressed_limit): (u64, u64),
    kept: &mut HashMap<(bool, SectionId), Arc<[u8]>>,
) -> Option<DebugSections<'data>> {
    let (mut mapped, mut decompressed) = (0_u64, 0_u64);
    for image in std::iter::once(image).chain(supplementary) {
        for section in NEEDED.iter().filter_map(|id| image.section(id.name())) {
            let total = if section.compressed() {
                &mut decompressed
            } else {
                &mut mapped
            };
            *total = total.saturating_add(section.size);
        }
    }
    if mapped > mapped_limit || decompressed > decompressed_limit {
        return None;
    }
    let files = std::iter::once(image)
        .chain(supplementary)
        .map(|image| image.data)
        .collect();
    let supplementary = match supplementary {
        Some(image) => Some(sections(image, true, decompressed_limit, kept)?),
        None => None,
    };
    Some(DebugSections {
        own: sections(image, false, decompressed_limit, kept)?,
        supplementary,
        files,
        endian: run_time_endian(image.endian),
    })
}

fn sections<'data>(
    image: &ElfImage<'data>,
    supplementary: bool,
    limit: u64,
    kept: &mut HashMap<(bool, SectionId), Arc<[u8]>>,
) -> Option<Sections<'data>> {
    Sections::load(|id| {
        let needed = NEEDED.contains(&id);
        let Some(section) = needed.then(|| image.section(id.name())).flatten() else {
            return Ok::<_, ()>(SectionBytes::Mapped(&[]));
        };
        if !section.compressed() {
            return Ok(SectionBytes::Mapped(section.stored));
        }
        if let Some(bytes) = kept.get(&(supplementary, id)) {
            return Ok(SectionBytes::Kept(Arc::clone(bytes)));
        }
        let bytes: Arc<[u8]> = section.decompress(limit).ok_or(())?.into();
        kept.insert((supplementary, id), Arc::clone(&bytes));
        Ok(SectionBytes::Kept(bytes))
    })
    .ok()
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
            let raw = raw.unwrap_or(placeholder::UNKNOWN);
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
        named,
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

const fn run_time_endian(endian: Endianness) -> RunTimeEndian {
    match endian {
        Endianness::Little => RunTimeEndian::Little,
        Endianness::Big => RunTimeEndian::Big,
    }
}

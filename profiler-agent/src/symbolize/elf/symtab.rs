//! Function symbols of an ELF file (`.symtab`, `.dynsym`).
//!
//! Nothing is indexed or kept: a batch asks for a few addresses, the table is streamed over once,
//! and each symbol looks for the addresses that it covers (a binary search among the few). That
//! is some nanoseconds a symbol, and no memory; a sorted index of libLLVM alone would take megabytes.

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::Sym as _;

use super::image::ElfImage;
use crate::elf::Source as _;
use crate::elf::mapped::let_go;
use crate::elf::structures;
use crate::elf::symbol::Symbol as RawSymbol;
use crate::symbolize::demangle::MAX_RAW;

/// Symbols of a table that are looked at.
const MAX_SYMBOLS: usize = 16 << 20;

/// Symbols (1.5 MiB of them) after which those behind leave the resident set.
const LET_GO_EVERY: usize = 1 << 16;

/// Pairs of a symbol and an address that it covers that are compared: a file whose every symbol covers
/// everything costs no more.
const MAX_COVERED: usize = 32 << 20;

/// A symbol that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol<'data> {
    /// Its address, as the file states it.
    pub(super) start: u64,
    /// Its name.
    pub(super) name: &'data [u8],
}

/// What a symbol without a size covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizeless {
    /// Up to the next symbol of its section: the table has all functions.
    ToTheNext,
    /// Its own address alone: the table has some functions only (those that are exported), and what lies behind the symbol
    /// may be any other.
    OwnAddress,
}

/// The best symbol so far for an address.
#[derive(Clone, Copy)]
struct Candidate {
    start: u64,
    size: u64,
    rank: u8,
    name: u32,
    section: u16,
}

impl Candidate {
    /// Is this one better for the address that both cover? The one that starts later (nested), then
    /// global before weak before local, then the one that was there.
    fn beats(&self, other: &Self) -> bool {
        (self.start, std::cmp::Reverse(self.rank)) > (other.start, std::cmp::Reverse(other.rank))
    }
}

/// The symbols of `addresses` (sorted, each once) in the table of this type (`SHT_SYMTAB`, `SHT_DYNSYM`).
pub(super) fn find<'data>(
    image: &ElfImage<'data>,
    table: elf::SectionType,
    sizeless: Sizeless,
    addresses: &[u64],
) -> Vec<Option<Symbol<'data>>> {
    let mut covering: Vec<Option<Candidate>> = vec![None; addresses.len()];
    // The nearest symbol at or before the address: hand-written assembly states no size.
    let mut nearest: Vec<Option<Candidate>> = vec![None; addresses.len()];
    let table = image.sections.symbols(table);
    let bytes = |range| image.data.bytes(range).unwrap_or_default();
    let symbols = table.as_ref().map(|table| table.symbols.clone());
    let symbols: &[RawSymbol] = structures(symbols.map_or(&[], bytes));
    let mut covered = 0;
    let symbols = &symbols[..symbols.len().min(MAX_SYMBOLS)];
    for (index, symbol) in symbols.iter().enumerate() {
        if index % LET_GO_EVERY == 0 && index > 0 {
            let behind = &symbols[index - LET_GO_EVERY..index];
            let_go(behind.as_ptr().cast(), size_of_val(behind));
        }
        let Some(candidate) = candidate(symbol) else {
            continue;
        };
        let first = addresses.partition_point(|address| *address < candidate.start);
        if first == addresses.len() {
            continue;
        }
        let end = candidate.start.saturating_add(candidate.size);
        for (address, best) in addresses[first..].iter().zip(&mut covering[first..]) {
            if *address >= end || covered >= MAX_COVERED {
                break;
            }
            covered += 1;
            if best.is_none_or(|best| candidate.beats(&best)) {
                *best = Some(candidate);
            }
        }
        // Only the first address behind the symbol needs to hear of it: `inherit` passes it on.
        let best = &mut nearest[first];
        if best.is_none_or(|best| candidate.beats(&best)) {
            *best = Some(candidate);
        }
    }
    inherit(&mut nearest);
    let strings = table.map_or(&[][..], |table| bytes(table.names));
    addresses
        .iter()
        .zip(covering.into_iter().zip(nearest))
        .map(|(address, (covering, nearest))| {
            let nearest = nearest.filter(|nearest| {
                (sizeless == Sizeless::ToTheNext || nearest.start == *address)
                    && reaches(image, nearest, *address)
            });
            let found = covering.or(nearest)?;
            let name = name_at(strings, found.name)?;
            Some(Symbol {
                start: found.start,
                name,
            })
        })
        .collect()
}

fn candidate(symbol: &RawSymbol) -> Option<Candidate> {
    let section = symbol.st_shndx(LE);
    let kind = symbol.st_type();
    if section == elf::SHN_UNDEF
        || !matches!(kind, elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_NOTYPE)
    {
        return None;
    }
    let start = symbol.st_value(LE);
    let typed = kind != elf::STT_NOTYPE;
    // An untyped symbol may be a label within a function or data: only where nothing better is.
    let size = if typed { symbol.st_size(LE) } else { 0 };
    let rank = match symbol.st_bind() {
        elf::STB_GLOBAL => 0,
        elf::STB_WEAK => 1,
        _ => 2,
    } + if typed { 0 } else { 3 };
    (start != 0 && section.0 < elf::SHN_LORESERVE).then_some(Candidate {
        start,
        size,
        rank,
        name: symbol.st_name(LE),
        section: section.0,
    })
}

fn inherit(nearest: &mut [Option<Candidate>]) {
    let mut before: Option<Candidate> = None;
    for slot in nearest {
        match (&before, &slot) {
            (Some(known), Some(own)) if !own.beats(known) => *slot = before,
            (Some(_), None) => *slot = before,
            _ => before = *slot,
        }
    }
}

/// Does a symbol without size reach to the address: is it code of the same section?
fn reaches(image: &ElfImage<'_>, candidate: &Candidate, address: u64) -> bool {
    if candidate.size != 0 {
        return false;
    }
    let section = image.sections.get(usize::from(candidate.section));
    section.is_some_and(|section| {
        section.flags.0 & elf::SHF_EXECINSTR.0 != 0 && section.contains(address)
    })
}

fn name_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = strings.get(offset as usize..)?;
    let rest = &rest[..rest.len().min(MAX_RAW)];
    let name = rest.split(|byte| *byte == 0).next()?;
    // `$x` and `$d` mark code and data within functions (ELF for the Arm 64-bit architecture).
    (!name.is_empty() && !name.starts_with(b"$")).then_some(name)
}

//! Names of procedure linkage stubs: `malloc@plt`.
//!
//! Stubs have no symbols, yet samples fall into them, and they are the whole body of some hot paths. A stub
//! jumps through a slot of the global offset table, and the relocation of that slot names the function.
//! x86-64 stubs are found by their `jmp *displacement(%rip)` (ff 25), whatever the linker's layout
//! (.plt, .plt.sec, .plt.got); aarch64 ones by `adrp x16, page` and `ldr x17, [x16, #offset]`.

use std::ops::ControlFlow;

use object::LittleEndian as LE;
use object::elf;

use super::image::ElfImage;
use crate::elf::dynamic::Relocation;
use crate::elf::symbol::{self, Symbol, SymbolTable};
use crate::elf::{Source as _, structures};
use crate::symbolize::demangle::MAX_RAW;

/// Bytes of a stub.
const STUB: u64 = 16;
/// Relocations that are looked at.
const MAX_RELOCATIONS: u64 = 1 << 22;

/// The names of those of `addresses` that lie in stubs, parallel to them.
pub(super) fn names(image: &ElfImage<'_>, addresses: &[u64]) -> Vec<Option<String>> {
    let slots: Vec<Option<u64>> = addresses
        .iter()
        .map(|address| slot(image, *address))
        .collect();
    let mut wanted: Vec<u64> = slots.iter().copied().flatten().collect();
    if wanted.is_empty() {
        return vec![None; addresses.len()];
    }
    wanted.sort_unstable();
    wanted.dedup();
    let functions = slot_functions(image, &wanted);
    slots
        .into_iter()
        .map(|slot| {
            let index = wanted.binary_search(&slot?).ok()?;
            Some(match &functions[index] {
                Some(name) => format!("{name}@plt"),
                None => "[plt]".to_owned(),
            })
        })
        .collect()
}

/// The slot that the stub at `address` jumps through; `None` when there is no stub. The table's first
/// entry jumps through a slot that no relocation fills: the resolver's.
fn slot(image: &ElfImage<'_>, address: u64) -> Option<u64> {
    let section = image
        .sections
        .iter()
        .find(|section| section.contains(address) && image.sections.begins(section, b".plt"))?;
    let bytes = image.sections.bytes(&section)?;
    let size = match section.entry_length {
        size @ (8 | 16) => size,
        _ => STUB,
    };
    // The first entry of an aarch64 .plt is twice as long.
    let header = if image.machine == elf::EM_AARCH64 && image.sections.begins(&section, b".plt\0") {
        2 * STUB
    } else {
        0
    };
    let within = address - section.address.0;
    let size = if image.machine == elf::EM_AARCH64 {
        STUB
    } else {
        size
    };
    let start = if within < header {
        0
    } else {
        within - (within - header) % size
    };
    let stub = bytes.get(usize::try_from(start).ok()?..)?;
    let stub = &stub[..stub.len().min(size as usize)];
    let place = section.address.0.checked_add(start)?;
    match image.machine {
        elf::EM_X86_64 => {
            let jump = stub.windows(2).position(|bytes| bytes == [0xff, 0x25])?;
            let displacement = stub.get(jump + 2..)?.first_chunk()?;
            let next = place.checked_add(jump as u64 + 6)?;
            next.checked_add_signed(i64::from(i32::from_le_bytes(*displacement)))
        }
        elf::EM_AARCH64 => stub.chunks_exact(4).zip(0_u64..).find_map(|(word, index)| {
            let adrp = u32::from_le_bytes(*word.first_chunk()?);
            let load = stub.get(index as usize * 4 + 4..)?.first_chunk()?;
            aarch64_slot(
                adrp,
                u32::from_le_bytes(*load),
                place.checked_add(index * 4)?,
            )
        }),
        _ => None,
    }
}

/// `adrp x16, PAGE` at `place` followed by `ldr x17, [x16, #OFFSET]`.
fn aarch64_slot(adrp: u32, load: u32, place: u64) -> Option<u64> {
    if adrp & 0x9f00_001f != 0x9000_0010 || load & 0xffc0_03ff != 0xf940_0211 {
        return None;
    }
    let immediate = (adrp >> 29 & 3) | (adrp >> 5 & 0x7_ffff) << 2;
    let pages = i64::from((immediate << 11) as i32 >> 11);
    let page = (place & !0xfff).checked_add_signed(pages << 12)?;
    page.checked_add(u64::from(load >> 10 & 0xfff) * 8)
}

/// The functions whose addresses the loader puts into `slots` (sorted), parallel to them.
fn slot_functions(image: &ElfImage<'_>, slots: &[u64]) -> Vec<Option<String>> {
    let mut found = vec![None; slots.len()];
    let sections = &image.sections;
    let tables = sections.iter().filter(|table| table.kind == elf::SHT_RELA);
    for table in tables {
        let (Some(range), Some(symbols)) = (table.range(), sections.symbols_at(table.link)) else {
            continue;
        };
        let raw = image.data.bytes(symbols.symbols.clone());
        let raw: &[Symbol] = structures(raw.unwrap_or_default());
        symbol::for_each(
            image.data,
            &range,
            MAX_RELOCATIONS,
            |relocation: &Relocation| {
                if let Ok(index) = slots.binary_search(&relocation.r_offset.get(LE)) {
                    let symbol = raw.get(relocation.r_sym(LE, false) as usize);
                    found[index] = symbol.and_then(|symbol| name(image, &symbols, symbol));
                }
                ControlFlow::Continue(())
            },
        );
    }
    found
}

fn name(image: &ElfImage<'_>, table: &SymbolTable, symbol: &Symbol) -> Option<String> {
    let bytes = table.name(image.data, symbol, MAX_RAW as u64)?;
    let name = bytes.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

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
use crate::elf::{Section, Source as _, structures};
use crate::symbolize::demangle::MAX_RAW;

/// Bytes of a stub.
const STUB: u64 = 16;
/// Procedure linkage tables that are looked at. Linkers make four at most.
const MAX_LINKAGE: usize = 64;
/// Relocations that are looked at, over all tables: a file may have thousands, of the same bytes.
const MAX_RELOCATIONS: u64 = 1 << 22;

/// The names of those of `addresses` that lie in stubs, parallel to them.
pub(super) fn names(image: &ElfImage<'_>, addresses: &[u64]) -> Vec<Option<String>> {
    let sections = &image.sections;
    let linkage = sections
        .iter()
        .filter(|section| sections.begins(section, b".plt"));
    let linkage: Vec<Section> = linkage.take(MAX_LINKAGE).collect();
    let slots: Vec<Option<u64>> = addresses
        .iter()
        .map(|address| slot(image, &linkage, *address))
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
fn slot(image: &ElfImage<'_>, linkage: &[Section], address: u64) -> Option<u64> {
    let section = linkage.iter().find(|section| section.contains(address))?;
    let bytes = image.sections.bytes(section)?;
    let size = match section.entry_length {
        size @ (8 | 16) => size,
        _ => STUB,
    };
    // The first entry of an aarch64 .plt is twice as long.
    let header = if image.machine == elf::EM_AARCH64 && image.sections.begins(section, b".plt\0") {
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
    let mut found: Vec<Option<(SymbolTable, Symbol)>> = vec![None; slots.len()];
    for_each_relocation(image, MAX_RELOCATIONS, |relocation, table, symbols| {
        if let Ok(index) = slots.binary_search(&relocation.r_offset.get(LE)) {
            let symbol = symbols.get(relocation.r_sym(LE, false) as usize);
            found[index] = symbol.map(|symbol| (table.clone(), *symbol));
        }
    });
    // Names are read at the end: any number of relocations may be of one slot.
    found
        .into_iter()
        .map(|found| {
            let (table, symbol) = found?;
            name(image, &table, &symbol)
        })
        .collect()
}

/// Calls `visit` with the relocations of all tables, `most` of them, and with the symbols of their table.
fn for_each_relocation(
    image: &ElfImage<'_>,
    most: u64,
    mut visit: impl FnMut(&Relocation, &SymbolTable, &[Symbol]),
) {
    let sections = &image.sections;
    let tables = sections.iter().filter(|table| table.kind == elf::SHT_RELA);
    let mut left = most;
    for table in tables {
        let (Some(range), Some(symbols)) = (table.range(), sections.symbols_at(table.link)) else {
            continue;
        };
        let raw = image.data.bytes(symbols.symbols.clone());
        let raw: &[Symbol] = structures(raw.unwrap_or_default());
        symbol::for_each(image.data, &range, left, |relocation: &Relocation| {
            left -= 1;
            visit(relocation, &symbols, raw);
            ControlFlow::Continue(())
        });
        if left == 0 {
            return;
        }
    }
}

fn name(image: &ElfImage<'_>, table: &SymbolTable, symbol: &Symbol) -> Option<String> {
    let bytes = table.name(image.data, symbol, MAX_RAW as u64)?;
    let name = bytes.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with so many tables of the same three relocations, and a table of symbols.
    fn file(tables: u32) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        file[18] = 62; // e_machine
        file[40] = 64; // e_shoff
        file[58] = 64; // e_shentsize
        file[60] = tables as u8 + 2; // e_shnum
        let content = 64 * (u64::from(tables) + 3);
        let mut section = |kind: elf::SectionType, length: u64, link: u32| {
            file.extend(0_u32.to_le_bytes());
            file.extend(kind.0.to_le_bytes());
            for field in [0, 0, content, length] {
                file.extend(field.to_le_bytes());
            }
            file.extend(link.to_le_bytes());
            file.resize(file.len() + 20, 0);
        };
        section(elf::SHT_NULL, 0, 0);
        for _ in 0..tables {
            section(elf::SHT_RELA, 3 * 24, tables + 1);
        }
        section(elf::SHT_DYNSYM, 24, 0);
        file.resize(file.len() + 3 * 24, 0);
        file
    }

    #[test]
    fn relocations_are_bounded_over_all_tables() {
        for (tables, most, expected) in [(2, 100, 6), (2, 4, 4), (50, 4, 4), (50, 100, 100)] {
            let file = file(tables);
            let image = ElfImage::parse(&file).unwrap();
            let mut visited = 0;
            for_each_relocation(&image, most, |_, _, symbols| {
                assert_eq!(symbols.len(), 1);
                visited += 1;
            });
            assert_eq!(visited, expected, "{tables} tables");
        }
    }
}

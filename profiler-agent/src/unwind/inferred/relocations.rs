//! Addresses that the dynamic linker writes into data (System V ABI, chapter 4, "Relocation"): of functions, where they are code.

use crate::unwind::elf::{Image, Machine};
use crate::unwind::source::Source;

/// Bytes of a relocation with an addend (`Elf64_Rela`).
const RELOCATION_BYTES: usize = 24;
/// Most relocations that are read.
const MAX_RELOCATIONS: u64 = 1 << 16;
/// "The address that the file was loaded at, plus the addend."
const X86_64_RELATIVE: u64 = 8;
const AARCH64_RELATIVE: u64 = 1027;

/// What relative relocations point to.
pub(super) fn taken<S: Source + ?Sized>(source: &S, image: &Image<'_>) -> Vec<u64> {
    let relative = match image.machine {
        Machine::X86_64 => X86_64_RELATIVE,
        Machine::Aarch64 => AARCH64_RELATIVE,
    };
    let Some(place) = &image.relocations else {
        return Vec::new();
    };
    let most = place
        .start
        .saturating_add(MAX_RELOCATIONS * RELOCATION_BYTES as u64);
    let Some(bytes) = source.bytes(place.start..place.end.min(most)) else {
        return Vec::new();
    };
    let word = |[a, b, c, d, e, f, g, h]: [u8; 8]| u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let relocations = bytes.as_chunks::<RELOCATION_BYTES>().0.iter();
    let taken = relocations.filter_map(|relocation| {
        let words = relocation.as_chunks::<8>().0;
        let [_, kind, addend] = *words else {
            return None;
        };
        (word(kind) == relative).then_some(word(addend))
    });
    taken.collect()
}

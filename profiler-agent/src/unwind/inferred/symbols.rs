//! Functions by the symbol table (System V ABI, chapter 4, "Symbol Table").

use object::elf;

use crate::unwind::elf::{Image, SymbolTable};
use crate::unwind::source::Source;

/// Bytes of a symbol (`Elf64_Sym`).
const SYMBOL_BYTES: u64 = 24;
/// Symbols that are read at a time.
const AT_A_TIME: u64 = 4096;
/// Most symbols that are read.
const MAX_SYMBOLS: u64 = 1 << 20;
/// Bytes of a name that are looked at.
const MAX_NAME_BYTES: u64 = 256;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) address: u64,
    /// Bytes; 0 where nobody said.
    pub(super) length: u64,
}

/// The functions that are `wanted` and no parts of others.
pub(super) fn functions<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    mut wanted: impl FnMut(&Function) -> bool,
) -> Vec<Function> {
    let mut functions = Vec::new();
    let Some(table) = &image.symbols else {
        return functions;
    };
    let count = (table.length / SYMBOL_BYTES).min(MAX_SYMBOLS);
    for first in (0..count).step_by(AT_A_TIME as usize) {
        let end = (first + AT_A_TIME).min(count);
        let range = table
            .offset
            .checked_add(first * SYMBOL_BYTES)
            .zip(table.offset.checked_add(end * SYMBOL_BYTES));
        let Some(symbols) = range.and_then(|(from, to)| source.bytes(from..to)) else {
            return functions;
        };
        for symbol in symbols.as_chunks::<{ SYMBOL_BYTES as usize }>().0 {
            let [n0, n1, n2, n3, info, ..] = *symbol;
            let [
                ..,
                a0,
                a1,
                a2,
                a3,
                a4,
                a5,
                a6,
                a7,
                l0,
                l1,
                l2,
                l3,
                l4,
                l5,
                l6,
                l7,
            ] = *symbol;
            let function = Function {
                address: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
                length: u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]),
            };
            let name = u32::from_le_bytes([n0, n1, n2, n3]);
            // What is written in assembly often has no type.
            let kind = info & 0xf;
            let is_code = kind == elf::STT_FUNC.0 || kind == elf::STT_NOTYPE.0;
            if is_code && wanted(&function) && is_whole(source, table, name) {
                functions.push(function);
            }
        }
    }
    functions
}

/// Is it no part that compilers split off (`name.cold`, `name.cold.1`) and jump to, and no mark of an assembler (`$x`)?
fn is_whole<S: Source + ?Sized>(source: &S, table: &SymbolTable, name: u32) -> bool {
    let start = table.names.start.saturating_add(u64::from(name));
    let end = start.saturating_add(MAX_NAME_BYTES).min(table.names.end);
    let Some(bytes) = (start < end).then(|| source.bytes(start..end)).flatten() else {
        return false;
    };
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
    !name.is_empty() && name[0] != b'$' && !name.windows(5).any(|part| part == b".cold")
}

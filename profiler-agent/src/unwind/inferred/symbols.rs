//! Functions by the symbol table (System V ABI, chapter 4, "Symbol Table").

use std::ops::ControlFlow;

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::Sym as _;

use crate::elf::Source;
use crate::elf::symbol::{Symbol, SymbolTable, for_each};
use crate::unwind::elf::Image;

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
    for_each(source, &table.symbols, MAX_SYMBOLS, |symbol: &Symbol| {
        let function = Function {
            address: symbol.st_value(LE),
            length: symbol.st_size(LE),
        };
        // What is written in assembly often has no type.
        let is_code = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_NOTYPE);
        if is_code && wanted(&function) && is_whole(source, table, symbol) {
            functions.push(function);
        }
        ControlFlow::Continue(())
    });
    functions
}

/// Is it no part that compilers split off (`name.cold`, `name.cold.1`) and jump to, and no mark of an assembler (`$x`)?
fn is_whole<S: Source + ?Sized>(source: &S, table: &SymbolTable, symbol: &Symbol) -> bool {
    let Some(bytes) = table.name(source, symbol, MAX_NAME_BYTES) else {
        return false;
    };
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
    !name.is_empty() && name[0] != b'$' && !name.windows(5).any(|part| part == b".cold")
}

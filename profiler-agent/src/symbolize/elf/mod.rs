//! Names of code in ELF files: Go's line table, symbol tables, and DWARF where the file or a file of its own has it.

mod debug_file;
mod debug_sections;
mod image;
mod known_file;
mod mini_debug;
mod plt;
mod reading;
mod split;
mod symbols;
mod symtab;

pub(super) use symbols::{ElfSymbols, Outcome};

//! Names of code in ELF files: symbol tables, and DWARF where the file or a file of its own has it.

mod debug_file;
mod image;
pub(crate) mod mapped;
mod mini_debug;
mod plt;
mod symbols;
mod symtab;

pub use mapped::MappedFile;
pub(super) use symbols::ElfSymbols;

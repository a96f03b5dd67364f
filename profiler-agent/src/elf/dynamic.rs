//! The dynamic section: exported symbols by hash, and relocations (System V ABI, chapter 5).

use std::ops::ControlFlow;

use object::LittleEndian as LE;
use object::elf::{self, Dyn64, Rela64};
use object::pod;

use super::file::ElfFile;
use super::hash;
use super::header::Machine;
use super::segment::Segments;
use super::source::Source;
use super::structures;
use super::symbol::{self, Symbol, SymbolTable};
use crate::profile::ElfAddress;

/// Bytes of the dynamic section that are looked at.
const MAX_BYTES: u64 = 64 << 10;
/// Relocations that are looked at, over both tables: four times what the largest browsers have.
const MAX_RELOCATIONS: u64 = 4 << 20;

/// A relocation with an addend, of a 64-bit file.
pub type Relocation = Rela64<LE>;

/// The type of the relocations of this machine that put the address of the file plus the addend.
#[must_use]
pub const fn relative_kind(machine: Machine) -> elf::RelocationType {
    match machine {
        Machine::X86_64 => elf::R_X86_64_RELATIVE,
        Machine::Aarch64 => elf::R_AARCH64_RELATIVE,
    }
}

/// What the dynamic linker is told; addresses are 0 for what there is not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dynamic {
    symbols: ElfAddress,
    names: ElfAddress,
    gnu_hash: ElfAddress,
    hash: ElfAddress,
    /// The tables of relocations with addends: address and bytes. Those of the file, then those of its procedure linkage table.
    pub relocations: [(ElfAddress, u64); 2],
    /// Is the file a program, although it may be placed anywhere?
    pub is_program: bool,
}

impl Dynamic {
    /// Reads the dynamic section of a 64-bit file; `None` when there is none, or not all of it.
    #[must_use]
    pub fn read<'s, S: Source + ?Sized>(
        file: &ElfFile<'s, S>,
        segments: &Segments<S::Bytes<'s>>,
    ) -> Option<Self> {
        let place = segments.last(elf::PT_DYNAMIC)?.place;
        let length = place.length.min(MAX_BYTES);
        let start = place.offset.0;
        let bytes = file.source.bytes(start..start.checked_add(length)?)?;
        Some(Self::of(&bytes))
    }

    fn of(bytes: &[u8]) -> Self {
        let mut dynamic = Self::default();
        for entry in structures::<Dyn64<LE>>(bytes) {
            let value = entry.d_val.get(LE);
            let address = ElfAddress(value);
            match entry.d_tag.get(LE) {
                elf::DT_NULL => break,
                elf::DT_HASH => dynamic.hash = address,
                elf::DT_GNU_HASH => dynamic.gnu_hash = address,
                elf::DT_STRTAB => dynamic.names = address,
                elf::DT_SYMTAB => dynamic.symbols = address,
                elf::DT_RELA => dynamic.relocations[0].0 = address,
                elf::DT_RELASZ => dynamic.relocations[0].1 = value,
                elf::DT_JMPREL => dynamic.relocations[1].0 = address,
                elf::DT_PLTRELSZ => dynamic.relocations[1].1 = value,
                elf::DT_FLAGS_1 => dynamic.is_program = value & elf::DF_1_PIE.0 != 0,
                _ => {}
            }
        }
        dynamic
    }

    /// The symbols and their names, from where they start to the end of their segments; `None` where they are not loaded.
    #[must_use]
    pub fn symbols<B: std::ops::Deref<Target = [u8]>>(
        &self,
        segments: &Segments<B>,
    ) -> Option<SymbolTable> {
        let range = |address| {
            let (start, length) = segments.position(address)?;
            Some(start.0..start.0.checked_add(length)?)
        };
        Some(SymbolTable {
            symbols: range(self.symbols)?,
            names: range(self.names)?,
        })
    }

    /// The symbol `name` that is `wanted`, with its number among the dynamic symbols: by the hash table, so that it costs a
    /// few short reads, however many symbols a file has.
    #[must_use]
    pub fn symbol<'s, S: Source + ?Sized>(
        &self,
        file: &ElfFile<'s, S>,
        segments: &Segments<S::Bytes<'s>>,
        name: &[u8],
        wanted: impl Fn(&Symbol) -> bool,
    ) -> Option<(u32, Symbol)> {
        let source = file.source;
        let table = self.symbols(segments)?;
        let check = |index: u32| {
            let at = (size_of::<Symbol>() as u64).checked_mul(index.into())?;
            let at = table.symbols.start.checked_add(at)?;
            if at >= table.symbols.end {
                return None;
            }
            let bytes: [u8; size_of::<Symbol>()] = source.array(at)?;
            let (symbol, _) = pod::from_bytes::<Symbol>(&bytes).ok()?;
            let is_it = wanted(symbol) && table.is_named(source, symbol, name);
            is_it.then_some((index, *symbol))
        };
        let place = |address: ElfAddress| Some(segments.position(address)?.0.0);
        if let Some(table) = place(self.gnu_hash).filter(|_| self.gnu_hash.0 != 0) {
            return hash::gnu(source, table, name, check);
        }
        let table = place(self.hash).filter(|_| self.hash.0 != 0)?;
        hash::system_v(source, table, name, check)
    }

    /// Calls `visit` with each relocation until it breaks.
    pub fn for_each_relocation<'s, S: Source + ?Sized>(
        &self,
        file: &ElfFile<'s, S>,
        segments: &Segments<S::Bytes<'s>>,
        mut visit: impl FnMut(&Relocation) -> ControlFlow<()>,
    ) {
        let mut left = MAX_RELOCATIONS;
        for (address, length) in self.relocations {
            let place = segments.position(address).filter(|_| address.0 != 0);
            let Some((start, _)) = place else {
                continue;
            };
            let range = start.0..start.0.saturating_add(length);
            let mut is_over = false;
            symbol::for_each(file.source, &range, left, |relocation| {
                left -= 1;
                let flow = visit(relocation);
                is_over = flow.is_break();
                flow
            });
            if is_over {
                return;
            }
        }
    }
}

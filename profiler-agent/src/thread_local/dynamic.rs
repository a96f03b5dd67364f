//! The dynamic section: exported symbols by hash, and relocations (`elf(5)`; System V ABI, chapter 5).

use super::file::{Image, Machine, Slot, SlotKind, half, long, word};
use super::hash;
use super::source::Source;

/// Bytes of the dynamic section that are looked at.
const MAX_DYNAMIC: u64 = 64 << 10;
const ENTRY: usize = 16;
/// A relocation with addend.
const RELOCATION: u64 = 24;
/// Relocations of one table that are looked at: four times what the largest browsers have.
const MAX_RELOCATIONS: u64 = 4 << 20;
/// Relocations that are read at once.
const CHUNK: u64 = 4096;
/// Slots of one variable that are kept: a linker makes one of each kind.
const MAX_SLOTS: usize = 8;
pub(super) const SYMBOL: u64 = 24;
/// Thread-local (`STT_TLS`).
const THREAD_LOCAL: u8 = 6;

const DT_PLTRELSZ: u64 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_JMPREL: u64 = 23;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
/// Flag of `DT_FLAGS_1`: a program, not a library.
const PROGRAM: u64 = 0x0800_0000;

/// Addresses of the parts; 0 for what there is not.
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    symbols: u64,
    names: u64,
    gnu_hash: u64,
    hash: u64,
    /// Address and bytes of the tables of relocations.
    relocations: [(u64, u64); 2],
    /// Is the file a program, although it may be placed anywhere?
    pub(super) program: bool,
}

/// A thread-local symbol that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Its number among the dynamic symbols; 0 when it is not one.
    pub(super) index: u32,
    /// Its offset in the file's block.
    pub(super) offset: u64,
}

impl Dynamic {
    pub(super) fn read<S: Source + ?Sized>(
        source: &S,
        image: &Image,
        position: u64,
        length: u64,
    ) -> Option<Self> {
        let length = usize::try_from(length.min(MAX_DYNAMIC)).ok()?;
        let bytes = source.bytes(position, length - length % ENTRY)?;
        let mut dynamic = Self::default();
        for entry in bytes.as_chunks::<ENTRY>().0 {
            let value = word(entry, 8);
            match word(entry, 0) {
                0 => break,
                DT_HASH => dynamic.hash = value,
                DT_GNU_HASH => dynamic.gnu_hash = value,
                DT_STRTAB => dynamic.names = value,
                DT_SYMTAB => dynamic.symbols = value,
                DT_RELA => dynamic.relocations[0].0 = value,
                DT_RELASZ => dynamic.relocations[0].1 = value,
                DT_JMPREL => dynamic.relocations[1].0 = value,
                DT_PLTRELSZ => dynamic.relocations[1].1 = value,
                DT_FLAGS_1 => dynamic.program = value & PROGRAM != 0,
                _ => {}
            }
        }
        let complete =
            image.position(dynamic.symbols).is_some() && image.position(dynamic.names).is_some();
        complete.then_some(dynamic)
    }

    /// The symbol `name`, if the file defines it as thread-local.
    pub(super) fn symbol<S: Source + ?Sized>(
        &self,
        source: &S,
        image: &Image,
        name: &[u8],
    ) -> Option<Symbol> {
        let check = |index: u32| {
            let address = self.symbols.checked_add(SYMBOL * u64::from(index))?;
            let symbol: [u8; SYMBOL as usize] = source.array(image.position(address)?)?;
            let place = self.names.checked_add(u64::from(long(&symbol, 0)))?;
            let named = is_named(source, image.position(place)?, name);
            (named && is_thread_local(&symbol)).then(|| Symbol {
                index,
                offset: word(&symbol, 8),
            })
        };
        if let Some(table) = image.position(self.gnu_hash).filter(|_| self.gnu_hash != 0) {
            return hash::gnu(source, table, name, check);
        }
        let table = image.position(self.hash).filter(|_| self.hash != 0)?;
        hash::system_v(source, table, name, check)
    }

    /// Where the dynamic linker notes the place of `symbol`, best first.
    pub(super) fn slots<S: Source + ?Sized>(
        &self,
        source: &S,
        image: &Image,
        symbol: Symbol,
    ) -> Box<[Slot]> {
        let mut slots = Vec::new();
        for (address, length) in self.relocations {
            let Some(position) = image.position(address).filter(|_| address != 0) else {
                continue;
            };
            let count = (length / RELOCATION).min(MAX_RELOCATIONS);
            let mut first = 0;
            while first < count && slots.len() < MAX_SLOTS {
                let number = (count - first).min(CHUNK);
                let place = position.checked_add(first * RELOCATION);
                let chunk =
                    place.and_then(|place| source.bytes(place, (number * RELOCATION) as usize));
                let Some(chunk) = chunk else {
                    break;
                };
                let relocations = chunk.as_chunks::<{ RELOCATION as usize }>().0;
                slots.extend(
                    relocations
                        .iter()
                        .filter_map(|relocation| slot(image.machine, relocation, symbol))
                        .take(MAX_SLOTS),
                );
                first += number;
            }
        }
        slots.truncate(MAX_SLOTS);
        slots.sort_unstable();
        slots.dedup();
        slots.into()
    }
}

/// What a relocation says of `symbol`. One without a symbol is about the module itself (symbols that
/// are bound when the file is linked), its addend an offset in the module's block.
fn slot(machine: Machine, relocation: &[u8; 24], symbol: Symbol) -> Option<Slot> {
    let (address, kind) = (word(relocation, 0), long(relocation, 8));
    let (index, addend) = (long(relocation, 12), word(relocation, 16));
    let by_name = index != 0 && index == symbol.index && addend == 0;
    let by_offset = index == 0 && addend == symbol.offset;
    let kind = match (machine, kind) {
        (Machine::X86_64, 16) | (Machine::Aarch64, 1028) if by_name => SlotKind::ModuleAndOffset,
        (Machine::X86_64, 16) | (Machine::Aarch64, 1028) if index == 0 => SlotKind::OwnModule,
        (Machine::X86_64, 18) | (Machine::Aarch64, 1030) if by_name || by_offset => {
            SlotKind::ThreadPointerOffset
        }
        (Machine::X86_64, 36) | (Machine::Aarch64, 1031) if by_name || by_offset => {
            SlotKind::Descriptor
        }
        _ => return None,
    };
    Some(Slot { kind, address })
}

/// Does the file define this symbol as thread-local?
pub(super) fn is_thread_local(symbol: &[u8; SYMBOL as usize]) -> bool {
    symbol[4] & 0xf == THREAD_LOCAL && half(symbol, 6) != 0
}

/// Is the string at `position` `name`?
pub(super) fn is_named<S: Source + ?Sized>(source: &S, position: u64, name: &[u8]) -> bool {
    source
        .bytes(position, name.len() + 1)
        .is_some_and(|found| found.strip_suffix(&[0]) == Some(name))
}

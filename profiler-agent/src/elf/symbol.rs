//! Symbol tables, and other tables of structures of one size.

use std::ops::{ControlFlow, Range};

use object::LittleEndian as LE;
use object::elf::{self, Sym64};
use object::pod::Pod;
use object::read::elf::Sym as _;

use super::source::Source;
use super::structures;

/// Structures that are read at a time.
const AT_A_TIME: u64 = 4096;

/// A symbol of a 64-bit file.
pub type Symbol = Sym64<LE>;

/// Where a symbol table and its names lie in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolTable {
    /// The symbols.
    pub symbols: Range<u64>,
    /// Their names, each with a final zero.
    pub names: Range<u64>,
}

impl SymbolTable {
    /// Up to `most` bytes of a symbol's name and of what follows it; `None` where that is not in the file.
    pub fn name<'s, S: Source + ?Sized>(
        &self,
        source: &'s S,
        symbol: &Symbol,
        most: u64,
    ) -> Option<S::Bytes<'s>> {
        let start = self.names.start.saturating_add(symbol.st_name(LE).into());
        let end = start.saturating_add(most).min(self.names.end);
        (start < end).then(|| source.bytes(start..end))?
    }

    /// The first symbol `name` that is `wanted`, among the first `most`.
    pub fn find<S: Source + ?Sized>(
        &self,
        source: &S,
        most: u64,
        name: &[u8],
        wanted: impl Fn(&Symbol) -> bool,
    ) -> Option<Symbol> {
        let mut found = None;
        for_each(source, &self.symbols, most, |symbol: &Symbol| {
            if wanted(symbol) && self.is_named(source, symbol, name) {
                found = Some(*symbol);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// Is this the symbol's name?
    #[must_use]
    pub fn is_named<S: Source + ?Sized>(&self, source: &S, symbol: &Symbol, name: &[u8]) -> bool {
        let found = self.name(source, symbol, name.len() as u64 + 1);
        found.is_some_and(|found| found.strip_suffix(&[0]) == Some(name))
    }
}

/// Does the file define this symbol as thread-local?
#[must_use]
pub fn is_thread_local(symbol: &Symbol) -> bool {
    symbol.st_type() == elf::STT_TLS && symbol.st_shndx(LE) != elf::SHN_UNDEF
}

/// Calls `visit` with each structure of the table at `range`, `most` of them, until it breaks or the rest is not in the file.
/// A part of a structure at the end is none.
pub fn for_each<T: Pod, S: Source + ?Sized>(
    source: &S,
    range: &Range<u64>,
    most: u64,
    mut visit: impl FnMut(&T) -> ControlFlow<()>,
) {
    let size = size_of::<T>() as u64;
    let count = range.end.saturating_sub(range.start) / size;
    let count = count.min(most);
    let mut first = 0;
    while first < count {
        let number = (count - first).min(AT_A_TIME);
        let start = range.start.checked_add(first * size);
        let end = start.and_then(|start| start.checked_add(number * size));
        let bytes = start
            .zip(end)
            .and_then(|(start, end)| source.bytes(start..end));
        let Some(bytes) = bytes else { return };
        if structures(&bytes)
            .iter()
            .try_for_each(&mut visit)
            .is_break()
        {
            return;
        }
        first += number;
    }
}

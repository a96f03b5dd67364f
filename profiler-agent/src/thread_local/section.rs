//! Symbols of a static program, by its section headers.

use super::dynamic::{SYMBOL, is_named, is_thread_local};
use super::file::{Image, long, word};
use super::source::Source;

const HEADER: usize = 64;
/// Section headers that are looked at.
const MAX_HEADERS: u16 = 4096;
/// Symbols that are looked at.
const MAX_SYMBOLS: u64 = 4 << 20;
/// Symbols that are read at once.
const CHUNK: u64 = 4096;
/// A symbol table (`SHT_SYMTAB`).
const SYMBOLS: u32 = 2;

/// The offset of the thread-local symbol `name` in the file's block.
pub(super) fn symbol<S: Source + ?Sized>(source: &S, image: &Image, name: &[u8]) -> Option<u64> {
    let (position, size, count) = image.sections;
    if usize::from(size) != HEADER || count > MAX_HEADERS {
        return None;
    }
    let table = source.bytes(position, usize::from(count) * HEADER)?;
    let headers = table.as_chunks::<HEADER>().0;
    let symbols = headers.iter().find(|header| long(*header, 4) == SYMBOLS)?;
    let names = headers.get(usize::try_from(long(symbols, 40)).ok()?)?;
    let (start, names) = (word(symbols, 24), word(names, 24));
    let count = (word(symbols, 32) / SYMBOL).min(MAX_SYMBOLS);
    let mut first = 0;
    while first < count {
        let number = (count - first).min(CHUNK);
        let place = start.checked_add(first * SYMBOL)?;
        let chunk = source.bytes(place, (number * SYMBOL) as usize)?;
        for symbol in chunk.as_chunks::<{ SYMBOL as usize }>().0 {
            if is_thread_local(symbol)
                && let Some(place) = names.checked_add(u64::from(long(symbol, 0)))
                && is_named(source, place, name)
            {
                return Some(word(symbol, 8));
            }
        }
        first += number;
    }
    None
}

//! Hash tables of symbols: a look-up costs a few short reads, however many symbols a file has.

use object::LittleEndian as LE;
use object::endian::U32;

use super::source::ReadAt;
use super::structures;

/// Symbols of one chain that are looked at.
const MAX_CHAIN: u32 = 4096;

/// Looks `name` up in the GNU table at `table`: number of buckets, first symbol, words of the filter,
/// its shift; the filter, the buckets, a hash for each symbol whose lowest bit ends a chain.
pub(super) fn gnu<S: ReadAt + ?Sized, T>(
    source: &S,
    table: u64,
    name: &[u8],
    check: impl Fn(u32) -> Option<T>,
) -> Option<T> {
    let header: [u8; 16] = source.array(table)?;
    let [buckets, first, filter, _] = *structures::<U32<LE>>(&header) else {
        return None;
    };
    let (buckets, first, filter) = (buckets.get(LE), first.get(LE), filter.get(LE));
    let hash = name.iter().fold(5381u32, |hash, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
    });
    let buckets_at = table.checked_add(16 + 8 * u64::from(filter))?;
    let bucket = hash.checked_rem(buckets)?;
    let mut symbol = number(source, buckets_at, bucket)?;
    let hashes_at = buckets_at.checked_add(4 * u64::from(buckets))?;
    for _ in 0..MAX_CHAIN {
        let entry = number(source, hashes_at, symbol.checked_sub(first)?)?;
        if (entry ^ hash) >> 1 == 0
            && let Some(found) = check(symbol)
        {
            return Some(found);
        }
        if entry & 1 == 1 {
            return None;
        }
        symbol = symbol.checked_add(1)?;
    }
    None
}

/// Looks `name` up in the System V table at `table`: number of buckets, number of symbols; the buckets,
/// the next symbol of each symbol's chain.
pub(super) fn system_v<S: ReadAt + ?Sized, T>(
    source: &S,
    table: u64,
    name: &[u8],
    check: impl Fn(u32) -> Option<T>,
) -> Option<T> {
    let buckets = number(source, table, 0)?;
    let hash = name.iter().fold(0u32, |hash, byte| {
        let hash = hash.wrapping_shl(4).wrapping_add(u32::from(*byte));
        let high = hash & 0xf000_0000;
        (hash ^ high >> 24) & !high
    });
    let buckets_at = table.checked_add(8)?;
    let mut symbol = number(source, buckets_at, hash.checked_rem(buckets)?)?;
    let chains_at = buckets_at.checked_add(4 * u64::from(buckets))?;
    for _ in 0..MAX_CHAIN {
        if symbol == 0 {
            return None;
        }
        if let Some(found) = check(symbol) {
            return Some(found);
        }
        symbol = number(source, chains_at, symbol)?;
    }
    None
}

/// Number `index` of those at `position`.
fn number<S: ReadAt + ?Sized>(source: &S, position: u64, index: u32) -> Option<u32> {
    let at = position.checked_add(4 * u64::from(index))?;
    source.half_word(at)
}

//! The search table of `.eh_frame_hdr` (Linux Standard Base, section 10.6.2): which entries describe the code of a page.

use profiler_common::unwind::table::PAGE_BITS;

use super::code::Code;
use super::elf::Placed;
use super::entries::{Entry, Origin};
use super::trampoline::Gaps;
use crate::profile::UnwindTable;

/// Version; encodings of the pointer to `.eh_frame` (relative to itself, 4 bytes), of the number of rows (4 bytes) and of the
/// rows (relative to the header, 4 bytes): what every linker writes.
const HEAD: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
/// Bytes before the rows.
const HEAD_BYTES: usize = 12;
/// Functions are aligned to this: what is shorter before one that begins so is padding.
const PADDING: u64 = 16;
/// Bytes of a page without rules that are looked into alone.
const FEW: u64 = 4 << 10;

/// The entries of `frames` for the code of `page`, and the one before; `None` where the table is not as every linker writes
/// it.
pub(super) fn entries(
    header: &Placed<'_>,
    frames: &Placed<'_>,
    code: &Code,
    page: u32,
) -> Option<Vec<Entry>> {
    let (head, rows) = header.bytes.split_at_checked(HEAD_BYTES)?;
    if head[..4] != HEAD {
        return None;
    }
    let count = u32::from_le_bytes(*head[8..].first_chunk()?);
    let rows = rows.get(..(count as usize).checked_mul(8)?)?;
    let rows = rows.as_chunks::<8>().0;
    let place = |bytes: [u8; 4]| {
        let from_header = i64::from(i32::from_le_bytes(bytes));
        header.address.wrapping_add_signed(from_header)
    };
    let start_of = |[a, b, c, d, ..]: &[u8; 8]| place([*a, *b, *c, *d]);
    let start = code.start + (u64::from(page) << PAGE_BITS);
    let end = start + (1 << PAGE_BITS);
    let first = rows.partition_point(|row| start_of(row) < start);
    let behind = rows.partition_point(|row| start_of(row) < end);
    let rows = rows.get(first.saturating_sub(1)..behind)?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let [.., a, b, c, d] = row;
        let offset = place([*a, *b, *c, *d]).checked_sub(frames.address)?;
        let offset = usize::try_from(offset).ok()?;
        if let Some(start) = code.offset(start_of(row)) {
            entries.push(Entry::new(start, Origin::Exception, offset)?);
        }
    }
    entries.is_sorted().then_some(entries)
}

/// How much code of a page has no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// None but what may be padding.
    Padding,
    /// A little, all of it within the page.
    Some,
    /// More than that, or it goes on in another page.
    Much,
}

/// How much code of `page`, whose table this is, has no rule.
pub(super) fn without_rules(table: &UnwindTable, code: &Code, page: u32) -> Without {
    let base = u64::from(page) << PAGE_BITS;
    let mut bytes = 0;
    for gap in Gaps::new(table) {
        let length = code.bytes_in(&(base + gap.start..base + gap.end));
        if length < PADDING && gap.end % PADDING == 0 {
            continue;
        }
        let is_cut = |edge: u64, outside: u64| {
            gap.start <= edge && edge <= gap.end && code.bytes_in(&(outside..outside + 1)) > 0
        };
        if base > 0 && is_cut(0, base - 1) || is_cut(1 << PAGE_BITS, base + (1 << PAGE_BITS)) {
            return Without::Much;
        }
        bytes += length;
    }
    match bytes {
        0 => Without::Padding,
        1..=FEW => Without::Some,
        _ => Without::Much,
    }
}

//! Trace and span that a thread publishes.

use super::Bytes;
use crate::layout::context::LINK_BYTES;
use crate::layout::{RuntimeEntry, ThreadLocal};
use crate::unwind::goroutine::value;

/// Words that a reader needs room for.
pub const LINK_ROOM: usize = 4;
/// Words of a link: trace id, span id.
pub const LINK_WORDS: usize = LINK_BYTES / 8;

/// Reads the record of the OpenTelemetry thread context (OTEP 4947): trace id at 0, span id at 16, a
/// byte at 24 that is 1 while they are valid. Is there one? Its ids are at the beginning of `into`.
#[inline(always)]
pub fn thread_context<M: Bytes>(
    entry: &RuntimeEntry,
    thread_pointer: u64,
    memory: &mut M,
    into: &mut [u64; LINK_ROOM],
) -> bool {
    let Some(record) = pointer(&entry.thread_context, entry, thread_pointer, memory) else {
        return false;
    };
    memory.read_bytes(record, 28, into) && into[3].to_le() & 0xff == 1 && is_set(into)
}

/// Reads Elastic's correlation record: a byte at 2 that is 1 while it is valid, one at 3 that is 1
/// while there is a trace, trace id at 5, span id at 21. Is there one?
#[inline(always)]
pub fn elastic<M: Bytes>(
    entry: &RuntimeEntry,
    thread_pointer: u64,
    memory: &mut M,
    into: &mut [u64; LINK_ROOM],
) -> bool {
    let Some(record) = pointer(&entry.elastic, entry, thread_pointer, memory) else {
        return false;
    };
    let Some(head) = memory.read_word(record) else {
        return false;
    };
    (head.to_le() >> 16) & 0xffff == 0x0101
        && memory.read_bytes(record.wrapping_add(5), LINK_BYTES as u64, into)
        && is_set(into)
}

/// Is there a span? Its id is never zero.
#[inline(always)]
pub fn is_set(link: &[u64; LINK_ROOM]) -> bool {
    link[2] != 0
}

#[inline(always)]
fn pointer<M: Bytes>(
    variable: &ThreadLocal,
    entry: &RuntimeEntry,
    thread_pointer: u64,
    memory: &mut M,
) -> Option<u64> {
    match value(variable, entry, thread_pointer, memory) {
        Some(0) | None => None,
        found => found,
    }
}

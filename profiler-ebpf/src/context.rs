//! What a sample says of its request: entries behind the frames of its record.

use core::ptr::NonNull;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use profiler_common::context::constants::Owner;
use profiler_common::context::labels::{Found, Text};
use profiler_common::context::links::{self, LINK_ROOM, LINK_WORDS};
use profiler_common::layout::RuntimeEntry;
use profiler_common::layout::context::{
    ENTRY_GOROUTINE, ENTRY_INCOMPLETE, ENTRY_LABEL, ENTRY_LINK, FLAG_CUT, FLAG_KEY_UNREAD,
    FLAG_VALUE_UNREAD, LINK_BYTES, LINK_ELASTIC, LINK_INSTRUMENTATION, LINK_THREAD_CONTEXT,
    MAX_KEY, MAX_VALUE, UNREAD_BYTES,
};
use profiler_common::unwind::Memory as _;

use crate::launder::Cell;
use crate::maps::{Link, TRACES, TRACES_UNTYPED};
use crate::memory::{UserMemory, copy};
use crate::purpose::Purpose;
use crate::repeat::{Next, Repeat};
use crate::runtime;
use crate::sample::{RECORD_WORDS, Scratch};

/// Words of the longest label, its header included.
const LABEL_WORDS: u64 = 1 + (MAX_KEY + MAX_VALUE) as u64 / 8;
/// What is left of lengths of keys and values: masks bound them for every verifier. One that knows a minimum from
/// a comparison with a constant on its left came late.
const KEY_MASK: u64 = 2 * MAX_KEY as u64 - 1;
const VALUE_MASK: u64 = 2 * MAX_VALUE as u64 - 1;
/// Words behind a record that texts of masked lengths may reach into.
pub const MASK_SLACK_WORDS: usize = (MAX_KEY + MAX_VALUE) / 8;
const _: () = assert!(MAX_KEY.is_power_of_two() && MAX_VALUE.is_power_of_two());

/// Appends what is known of the sample's request to the record, whose frames end at `scratch.position`.
#[inline(always)]
pub fn append<R: Repeat>(scratch: &mut Scratch, purpose: Purpose) {
    let end = scratch.position;
    if let Some(runtime) = runtime::of(scratch.runtime) {
        if scratch.goroutine.user != 0 {
            goroutine::<R>(scratch, runtime, purpose);
        }
        published(scratch, runtime);
    }
    instrumented(scratch);
    scratch.header.context_bytes = 8 * (scratch.position - end) as u32;
}

/// The goroutine's id and labels.
#[inline(always)]
fn goroutine<R: Repeat>(scratch: &mut Scratch, runtime: &RuntimeEntry, purpose: Purpose) {
    let address = scratch.goroutine.user;
    let go = &runtime.go;
    let general = &scratch.general;
    let mut memory = UserMemory { general };
    if go.g_goid != 0
        && let Some(id) = memory.read_word(address.wrapping_add(u64::from(go.g_goid)))
        && push(scratch, header(ENTRY_GOROUTINE, 0, 0, 8))
    {
        push(scratch, id);
    }
    let general = &scratch.general;
    let mut memory = UserMemory { general };
    if scratch.labels.begin(go, address, &mut memory) {
        R::labels(purpose);
    }
    if scratch.labels.is_incomplete() {
        push(scratch, header(ENTRY_INCOMPLETE, 0, 0, 0));
    }
}

/// One step of the walk over the labels.
#[inline(always)]
pub fn label_step(scratch: &mut Scratch) -> Next {
    let general = &scratch.general;
    let mut memory = UserMemory { general };
    match scratch.labels.next(&mut memory) {
        Found::End => Next::Stop,
        Found::Nothing => Next::Continue,
        Found::Label { key, value, cut } => {
            let key = bounded(scratch, key, KEY_MASK);
            let value = bounded(scratch, value, VALUE_MASK);
            label(scratch, key, value, cut);
            // A call fewer than to find the end.
            if scratch.labels.is_over() {
                Next::Stop
            } else {
                Next::Continue
            }
        }
    }
}

/// `text`, whose length the verifier knows to be at most `mask`.
#[inline(always)]
fn bounded(scratch: &mut Scratch, text: Text, mask: u64) -> Text {
    // SAFETY: the cell is this CPU's.
    let length = unsafe { Cell::launder(&raw mut scratch.cell, text.length) } & mask;
    Text {
        address: text.address,
        length,
    }
}

#[inline(always)]
fn label(scratch: &mut Scratch, key: Text, value: Text, cut: bool) {
    let position = scratch.position;
    if position > RECORD_WORDS as u64 - LABEL_WORDS {
        return scratch.labels.unreadable();
    }
    // SAFETY: a label of the longest key and value fits behind `position`, and what the masks leave into the
    // slack behind the record.
    let (key_bytes, is_key_read) = unsafe { text_or_place(scratch, position + 1, key) };
    // SAFETY: the cell is this CPU's.
    let key_bytes = unsafe { Cell::launder(&raw mut scratch.cell, key_bytes) } & KEY_MASK;
    let behind_key = position + 1 + key_bytes.div_ceil(8);
    // SAFETY: as above.
    let (value_bytes, is_value_read) = unsafe { text_or_place(scratch, behind_key, value) };
    let flags = (if cut { FLAG_CUT } else { 0 })
        | (if is_key_read { 0 } else { FLAG_KEY_UNREAD })
        | (if is_value_read { 0 } else { FLAG_VALUE_UNREAD });
    scratch.frames[position as usize] = header(ENTRY_LABEL, flags, key_bytes, value_bytes);
    scratch.position = behind_key + value_bytes.div_ceil(8);
}

/// Copies a text to the record from the word `at` on, or where it cannot be read its place: how many bytes that are, and
/// whether they are the text.
///
/// # Safety
/// There is room for it, and for two words.
#[inline(always)]
unsafe fn text_or_place(scratch: &mut Scratch, at: u64, wanted: Text) -> (u64, bool) {
    // SAFETY: the caller answers for it.
    if unsafe { text(scratch, at, wanted) } {
        return (wanted.length, true);
    }
    // SAFETY: the caller answers for it.
    unsafe {
        let into = (&raw mut scratch.frames).cast::<u64>().add(at as usize);
        into.write(wanted.address);
        into.add(1).write(wanted.length);
    }
    (UNREAD_BYTES as u64, false)
}

/// Copies a text of the thread's memory to the record from the word `at` on.
///
/// # Safety
/// There is room for it.
#[inline(always)]
unsafe fn text(scratch: &mut Scratch, at: u64, text: Text) -> bool {
    // SAFETY: the caller answers for it.
    let into = unsafe { (&raw mut scratch.frames).cast::<u64>().add(at as usize) };
    if !scratch.labels.is_constant(text) {
        // SAFETY: the caller answers for the room.
        return unsafe { copy(into, text.length, text.address) };
    }
    let owner = Owner {
        pid: scratch.header.pid,
        image: scratch.header.image,
    };
    let general = &scratch.general;
    let Some(words) = scratch
        .constants
        .get(owner, text, &mut UserMemory { general })
    else {
        return false;
    };
    for (index, word) in words.iter().enumerate() {
        if text.length <= 8 * index as u64 {
            break;
        }
        // SAFETY: the caller answers for the room.
        unsafe { into.add(index).write(*word) };
    }
    true
}

/// The links that the thread publishes itself.
#[inline(always)]
fn published(scratch: &mut Scratch, runtime: &RuntimeEntry) {
    let thread_pointer = scratch.thread_pointer;
    let general = &scratch.general;
    let mut memory = UserMemory { general };
    if links::thread_context(runtime, thread_pointer, &mut memory, &mut scratch.link) {
        link(scratch, LINK_THREAD_CONTEXT);
    }
    let general = &scratch.general;
    let mut memory = UserMemory { general };
    if links::elastic(runtime, thread_pointer, &mut memory, &mut scratch.link) {
        link(scratch, LINK_ELASTIC);
    }
}

/// The link that an instrumentation from outside has noted for the thread.
#[inline(always)]
fn instrumented(scratch: &mut Scratch) {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the element may change while it is read: then the link is one that the thread was just
    // given or has just lost.
    let typed = TRACES.get(0).and_then(|map| unsafe { map.get(thread) });
    let found = match typed {
        Some(found) => *found,
        None => {
            let Some(map) = TRACES_UNTYPED.get(0) else {
                return;
            };
            // SAFETY: the agent compares the sizes of keys and values before it puts a map there.
            let Some(found): Option<NonNull<Link>> = (unsafe { map.value(&thread) }) else {
                return;
            };
            // SAFETY: as above.
            unsafe { *found.as_ptr() }
        }
    };
    scratch.link = [found[0], found[1], found[2], 0];
    if links::is_set(&scratch.link) {
        link(scratch, LINK_INSTRUMENTATION);
    }
}

/// Appends `Scratch::link`.
#[inline(always)]
fn link(scratch: &mut Scratch, source: u8) {
    if push(scratch, header(ENTRY_LINK, source, 0, LINK_BYTES as u64)) {
        for index in 0..LINK_WORDS {
            let word = scratch.link[index];
            push(scratch, word);
        }
    }
}

/// Appends a word to the record.
#[inline(always)]
fn push(scratch: &mut Scratch, word: u64) -> bool {
    let position = scratch.position;
    if position >= RECORD_WORDS as u64 {
        return false;
    }
    scratch.frames[position as usize] = word;
    scratch.position = position + 1;
    true
}

/// An `EntryHeader` as a word.
#[inline(always)]
const fn header(kind: u8, flags: u8, key: u64, value: u64) -> u64 {
    kind as u64 | (flags as u64) << 8 | key << 16 | value << 32
}

const _: () = assert!(cfg!(target_endian = "little"));
const _: () = assert!(LINK_ROOM > LINK_WORDS);

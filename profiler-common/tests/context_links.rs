//! Links by example.

mod space;

use profiler_common::context::links::{elastic, thread_context};
use profiler_common::layout::{RuntimeEntry, ThreadLocal};
use space::Space;

const THREAD: u64 = 0x1000;
const RECORD: u64 = 0x2000;

/// A thread's variable at `THREAD - 16`, and the record that it points to.
fn thread(pointer: u64, record: &[u8]) -> Space {
    let mut space = Space::default();
    space.put(THREAD - 16, &pointer.to_ne_bytes());
    space.put(RECORD, record);
    space
}

fn entry() -> RuntimeEntry {
    let variable = ThreadLocal {
        kind: ThreadLocal::STATIC,
        offset: -16,
        ..ThreadLocal::default()
    };
    RuntimeEntry {
        thread_context: variable,
        elastic: variable,
        ..RuntimeEntry::default()
    }
}

fn ids() -> Vec<u8> {
    (1..=24).collect()
}

fn bytes_of(words: [u64; 4]) -> Vec<u8> {
    words[..3]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}

#[test]
fn the_thread_context_is_read_while_it_is_valid() {
    for (valid, span, expected) in [(1, 9, true), (0, 9, false), (2, 9, false), (1, 0, false)] {
        let mut record = ids();
        if span == 0 {
            record[16..].fill(0);
        }
        record.extend([valid, 1, 0, 0]);
        let wanted = record[..24].to_vec();
        let mut thread = thread(RECORD, &record);
        let mut words = [0; 4];
        let found = thread_context(&entry(), THREAD, &mut thread, &mut words);
        assert_eq!(found, expected, "valid {valid}, span {span}");
        if expected {
            assert_eq!(bytes_of(words), wanted);
        }
    }
}

#[test]
fn the_correlation_record_is_read_while_it_has_a_trace() {
    for (valid, present, expected) in [(1, 1, true), (0, 1, false), (1, 0, false)] {
        let mut record = vec![1, 0, valid, present, 0];
        record.extend(ids());
        record.extend([0x77; 8]);
        let mut thread = thread(RECORD, &record);
        let mut words = [0; 4];
        let found = elastic(&entry(), THREAD, &mut thread, &mut words);
        assert_eq!(found, expected, "valid {valid}, present {present}");
        if expected {
            assert_eq!(bytes_of(words), ids());
        }
    }
}

#[test]
fn a_thread_without_variable_pointer_or_record_has_no_link() {
    let mut record = ids();
    record.extend([1, 1, 0, 0]);
    let mut words = [0; 4];
    let mut thread = thread(0, &record);
    assert!(!thread_context(&entry(), THREAD, &mut thread, &mut words));
    assert!(!elastic(&entry(), THREAD, &mut thread, &mut words));
    thread.put(THREAD - 16, &RECORD.to_ne_bytes());
    assert!(!thread_context(
        &RuntimeEntry::default(),
        THREAD,
        &mut thread,
        &mut words
    ));
    assert!(!thread_context(&entry(), 0, &mut thread, &mut words));
    thread.bytes.remove(&(RECORD + 27));
    assert!(!thread_context(&entry(), THREAD, &mut thread, &mut words));
}

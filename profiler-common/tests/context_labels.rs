//! Labels by example in both forms, and what holds for every memory.

mod space;

use profiler_common::context::Bytes;
use profiler_common::context::labels::{Found, LabelWalk, MAX_STEPS, Text};
use profiler_common::layout::GoRuntime;
use profiler_common::layout::context::{MAX_KEY, MAX_LABELS, MAX_VALUE};
use profiler_common::unwind::{AddressMask, Memory};
use proptest::prelude::*;
use space::Space;

const GOROUTINE: u64 = 0x1000;
const LABELS: u16 = 0x60;

impl Space {
    fn word(&mut self, address: u64, word: u64) {
        self.put(address, &word.to_ne_bytes());
    }
    /// Where new memory lies. What is next to each other cannot be read through.
    fn free(&self) -> u64 {
        let behind = self.bytes.last_key_value().map_or(0, |(last, _)| last + 65);
        behind.next_multiple_of(8).max(0x10_0000)
    }
    /// New memory with these bytes.
    fn add(&mut self, bytes: &[u8]) -> u64 {
        let address = self.free();
        self.put(address, bytes);
        address
    }
    fn words(&mut self, words: &[u64]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.add(&bytes)
    }
    fn string(&mut self, text: &str) -> [u64; 2] {
        [self.add(text.as_bytes()), text.len() as u64]
    }

    /// The labels of Go 1.24 and later.
    fn slice(&mut self, labels: &[(&str, &str)]) {
        let mut words = Vec::new();
        for (key, value) in labels {
            words.extend(self.string(key));
            words.extend(self.string(value));
        }
        let array = self.words(&words);
        let header = self.words(&[array, labels.len() as u64, labels.len() as u64]);
        self.word(GOROUTINE + u64::from(LABELS), header);
    }

    /// A bucket of a map: labels in slots, with the byte of hash that each slot has.
    fn bucket(&mut self, slots: &[(u8, &str, &str)], overflow: u64) -> Vec<u64> {
        let mut hashes = [0; 8];
        let mut words = vec![0; 34];
        for (slot, (hash, key, value)) in slots.iter().enumerate() {
            hashes[slot] = *hash;
            words[1 + 2 * slot..3 + 2 * slot].copy_from_slice(&self.string(key));
            words[17 + 2 * slot..19 + 2 * slot].copy_from_slice(&self.string(value));
        }
        words[0] = u64::from_ne_bytes(hashes);
        words[33] = overflow;
        words
    }

    /// The labels of Go 1.23 and earlier.
    fn map(&mut self, count: u64, flags: u8, logarithm: u8, buckets: u64, old: u64) {
        let second = u64::from(flags) | u64::from(logarithm) << 8;
        let header = self.words(&[count, second, buckets, old, 0, 0]);
        let labels = self.words(&[header]);
        self.word(GOROUTINE + u64::from(LABELS), labels);
    }
}

/// What a walk found: labels, whether any was cut, whether it is incomplete.
#[derive(Debug, Default, PartialEq)]
struct Walked {
    labels: Vec<(String, String)>,
    cut: bool,
    incomplete: bool,
}

fn walk(space: &mut Space, form: u16) -> Walked {
    let go = GoRuntime {
        g_labels: LABELS,
        labels: form,
        ..GoRuntime::default()
    };
    let mut walk = LabelWalk::default();
    let mut walked = Walked::default();
    if walk.begin(&go, GOROUTINE, space) {
        let mut ended = false;
        for _ in 0..MAX_STEPS {
            match walk.next(space) {
                Found::Label { key, value, cut } => {
                    assert!(key.length <= MAX_KEY as u64 && value.length <= MAX_VALUE as u64);
                    walked.cut |= cut;
                    let read = |text: Text| {
                        let bytes = space.get(text.address, text.length)?;
                        Some(String::from_utf8_lossy(&bytes).into_owned())
                    };
                    match (read(key), read(value)) {
                        (Some(key), Some(value)) => walked.labels.push((key, value)),
                        _ => walk.unreadable(),
                    }
                }
                Found::Nothing => {}
                Found::End => {
                    ended = true;
                    break;
                }
            }
        }
        assert!(ended, "a walk ends within {MAX_STEPS} steps");
    }
    walked.incomplete = walk.is_incomplete();
    assert!(walked.labels.len() <= MAX_LABELS);
    walked
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_slice_is_read_in_two_reads_whatever_its_length() {
    let labels = [
        ("endpoint", "/cart"),
        ("empty", ""),
        ("span_id", "0123456789abcdef"),
    ];
    let mut space = Space::default();
    space.slice(&labels);
    let walked = walk(&mut space, GoRuntime::LABELS_SLICE);
    assert_eq!(walked.labels, owned(&labels));
    assert!(!walked.incomplete && !walked.cut);
    assert_eq!(space.reads, 3, "the pointer, the header, the array");
}

#[test]
fn sixteen_labels_are_all_and_the_seventeenth_is_missed() {
    let names: Vec<String> = (0..20).map(|index| format!("key{index:02}")).collect();
    let labels: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    for count in [15, 16, 17, 20] {
        let mut space = Space::default();
        space.slice(&labels[..count]);
        let walked = walk(&mut space, GoRuntime::LABELS_SLICE);
        assert_eq!(walked.labels, owned(&labels[..count.min(MAX_LABELS)]));
        assert_eq!(walked.incomplete, count > MAX_LABELS, "{count}");
    }
}

#[test]
fn long_keys_and_values_are_cut() {
    let long = "x".repeat(300);
    for (key, value, cut) in [
        (&long[..MAX_KEY], &long[..MAX_VALUE], false),
        (&long[..MAX_KEY + 1], "v", true),
        ("k", &long[..MAX_VALUE + 1], true),
    ] {
        let mut space = Space::default();
        space.slice(&[(key, value)]);
        let walked = walk(&mut space, GoRuntime::LABELS_SLICE);
        let kept = (
            &key[..key.len().min(MAX_KEY)],
            &value[..value.len().min(MAX_VALUE)],
        );
        assert_eq!(walked.labels, owned(&[kept]));
        assert_eq!((walked.cut, walked.incomplete), (cut, false));
    }
}

#[test]
fn nothing_is_read_where_nothing_is_known() {
    let mut space = Space::default();
    space.slice(&[("key", "value")]);
    assert_eq!(walk(&mut space, GoRuntime::LABELS_NONE), Walked::default());
    space.word(GOROUTINE + u64::from(LABELS), 0);
    for form in [GoRuntime::LABELS_SLICE, GoRuntime::LABELS_MAP] {
        assert_eq!(walk(&mut space, form), Walked::default(), "no labels");
    }
}

#[test]
fn a_map_of_one_bucket() {
    let mut space = Space::default();
    // Slots 0 and 2 were emptied.
    let words = space.bucket(
        &[
            (0, "gone", "x"),
            (5, "a", "1"),
            (1, "gone", "x"),
            (255, "b", "2"),
        ],
        0,
    );
    let buckets = space.words(&words);
    space.map(2, 0, 0, buckets, 0);
    let walked = walk(&mut space, GoRuntime::LABELS_MAP);
    assert_eq!(walked.labels, owned(&[("a", "1"), ("b", "2")]));
    assert!(!walked.incomplete);
}

#[test]
fn a_map_with_overflow_buckets() {
    let mut space = Space::default();
    let third = space.bucket(&[(9, "e", "5")], 0);
    let third = space.words(&third);
    let second = space.bucket(&[(9, "c", "3"), (9, "d", "4")], third);
    let second = space.words(&second);
    let mut array = space.bucket(&[(9, "a", "1")], 0);
    array.extend(space.bucket(&[(9, "b", "2")], second));
    let buckets = space.words(&array);
    space.map(5, 0, 1, buckets, 0);
    let walked = walk(&mut space, GoRuntime::LABELS_MAP);
    let all = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")];
    assert_eq!(walked.labels, owned(&all));
    assert!(!walked.incomplete);
}

#[test]
fn a_map_in_the_middle_of_a_growth() {
    let mut space = Space::default();
    // Four buckets grow to eight (or to four new ones); the second old bucket was not moved yet.
    for (flags, logarithm) in [(0, 3), (8, 2)] {
        let mut new = Vec::new();
        for bucket in 0..1 << logarithm {
            let slots: &[(u8, &str, &str)] = if bucket == 0 { &[(77, "a", "1")] } else { &[] };
            new.extend(space.bucket(slots, 0));
        }
        let buckets = space.words(&new);
        let mut old = space.bucket(&[(2, "a", "1"), (4, "", "")], 0);
        old.extend(space.bucket(&[(88, "b", "2"), (89, "c", "3")], 0));
        old.extend(space.bucket(&[(4, "", "")], 0));
        old.extend(space.bucket(&[(90, "d", "4")], 0));
        let old = space.words(&old);
        space.map(4, flags, logarithm, buckets, old);
        let walked = walk(&mut space, GoRuntime::LABELS_MAP);
        let all = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
        assert_eq!(walked.labels, owned(&all));
        assert!(!walked.incomplete);
    }
}

#[test]
fn a_map_without_entries_and_a_nil_map() {
    let mut space = Space::default();
    space.map(0, 0, 0, 0, 0);
    assert_eq!(walk(&mut space, GoRuntime::LABELS_MAP), Walked::default());
    let nil = space.words(&[0]);
    space.word(GOROUTINE + u64::from(LABELS), nil);
    assert_eq!(walk(&mut space, GoRuntime::LABELS_MAP), Walked::default());
}

#[test]
fn a_chain_that_leads_to_itself_ends() {
    let mut space = Space::default();
    let address = space.free();
    let words = space.bucket(&[], address);
    // The bucket's strings took no room: it lies where its own chain says.
    assert_eq!(space.words(&words), address);
    space.map(3, 0, 0, address, 0);
    let walked = walk(&mut space, GoRuntime::LABELS_MAP);
    assert!(walked.labels.is_empty() && walked.incomplete);
    assert!(space.reads < 40, "{} reads", space.reads);
}

#[test]
fn a_map_that_claims_more_than_it_has_is_incomplete() {
    let mut space = Space::default();
    let words = space.bucket(&[(9, "a", "1")], 0);
    let buckets = space.words(&words);
    for logarithm in [0, 1, 63, 255] {
        space.map(2, 0, logarithm, buckets, 0);
        let walked = walk(&mut space, GoRuntime::LABELS_MAP);
        assert_eq!(walked.labels, owned(&[("a", "1")]), "{logarithm}");
        assert!(walked.incomplete);
    }
}

#[test]
fn what_cannot_be_read_is_incomplete() {
    let mut space = Space::default();
    space.slice(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let header = space.read_word(GOROUTINE + u64::from(LABELS)).unwrap();
    let array = space.read_word(header).unwrap();
    // A value that lies nowhere, and a length that no string has.
    space.word(array + 16, 0xdead_0000);
    space.word(array + 40, u64::MAX);
    let walked = walk(&mut space, GoRuntime::LABELS_SLICE);
    assert_eq!(walked.labels, owned(&[("c", "3")]));
    assert!(walked.incomplete);
    space.word(header, 0xdead_0000);
    let walked = walk(&mut space, GoRuntime::LABELS_SLICE);
    assert!(walked.labels.is_empty() && walked.incomplete);
}

/// Memory where every address can be read and holds anything.
struct Anything(u64);

impl Memory for Anything {
    fn address_mask(&self) -> AddressMask {
        AddressMask::X86_64
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        let mixed = (address ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Small numbers, addresses and garbage alike.
        match mixed >> 61 {
            0 => None,
            1 => Some(0),
            2 | 3 => Some(mixed >> 50 & 31),
            _ => Some(mixed),
        }
    }
    fn interrupted_register(&mut self, _: u8) -> Option<u64> {
        None
    }
}

impl Bytes for Anything {
    fn read_bytes<const N: usize>(
        &mut self,
        address: u64,
        bytes: u64,
        into: &mut [u64; N],
    ) -> bool {
        assert!(bytes <= 8 * N as u64);
        for (at, word) in into.iter_mut().take(bytes.div_ceil(8) as usize).enumerate() {
            *word = self
                .read_word(address.wrapping_add(8 * at as u64))
                .unwrap_or(u64::MAX);
        }
        bytes == 0 || self.read_word(address).is_some()
    }
}

proptest! {
    #[test]
    fn every_memory_is_walked_to_an_end(seed: u64, goroutine: u64, slice: bool) {
        let form = if slice { GoRuntime::LABELS_SLICE } else { GoRuntime::LABELS_MAP };
        let go = GoRuntime { g_labels: LABELS, labels: form, ..GoRuntime::default() };
        let mut memory = Anything(seed);
        let mut walk = LabelWalk::default();
        let mut labels = 0;
        if walk.begin(&go, goroutine, &mut memory) {
            let mut steps = 0;
            loop {
                match walk.next(&mut memory) {
                    Found::End => break,
                    Found::Nothing => {}
                    Found::Label { key, value, .. } => {
                        prop_assert!(key.length <= MAX_KEY as u64);
                        prop_assert!(value.length <= MAX_VALUE as u64);
                        labels += 1;
                    }
                }
                steps += 1;
                prop_assert!(steps <= MAX_STEPS);
            }
        }
        prop_assert!(labels <= MAX_LABELS);
    }

    #[test]
    fn a_slice_holds_what_was_put_into_it(
        labels in prop::collection::vec(("[a-z]{0,70}", "[ -~]{0,270}"), 0..24)
    ) {
        let borrowed: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut space = Space::default();
        space.slice(&borrowed);
        let walked = walk(&mut space, GoRuntime::LABELS_SLICE);
        let kept: Vec<(String, String)> = labels
            .iter()
            .take(MAX_LABELS)
            .map(|(key, value)| {
                let (key_end, value_end) = (key.len().min(MAX_KEY), value.len().min(MAX_VALUE));
                (key[..key_end].to_owned(), value[..value_end].to_owned())
            })
            .collect();
        prop_assert_eq!(walked.labels, kept);
        prop_assert_eq!(walked.incomplete, labels.len() > MAX_LABELS);
    }
}

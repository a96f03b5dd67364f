//! A table in a file. All numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PROFUNWT` |
//! | 4 | version of the format and of the rules' meaning |
//! | 4 | buckets |
//! | 8 | start address |
//! | 4 | number of words |
//! | 4 | number of rules |
//! | 4 each | words |
//! | 32 each | rules: six bytes, a number of two bytes and six offsets, as in `Rule` |
//! | 32 | SHA-256 of all before |
//!
//! Nothing is repaired: a file with another version, length, checksum or an inconsistent index is
//! no table.

use std::io::{self, Read, Write};

use profiler_common::unwind::Rule;
use profiler_common::unwind::table::MAX_WORDS;
use sha2::{Digest, Sha256};

use crate::profile::{ElfAddress, UnwindTable};

const MAGIC: &[u8; 8] = b"PROFUNWT";
/// To be raised when the format, the meaning of a rule or what a builder makes of a file changes.
const VERSION: u32 = 10;
const HEADER_BYTES: usize = 32;
const RULE_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 32;
/// Words that are converted at a time.
const CHUNK_WORDS: usize = 4096;

/// Length of `table`'s file.
pub(super) fn encoded_length(table: &UnwindTable) -> u64 {
    length(table.words.len() as u64, table.rules.len() as u64)
}

const fn length(words: u64, rules: u64) -> u64 {
    HEADER_BYTES as u64 + 4 * words + RULE_BYTES as u64 * rules + CHECKSUM_BYTES as u64
}

/// Writes `table`.
pub(super) fn encode(table: &UnwindTable, output: &mut impl Write) -> io::Result<()> {
    let mut hash = Sha256::new();
    let mut write = |bytes: &[u8]| {
        hash.update(bytes);
        output.write_all(bytes)
    };
    write(MAGIC)?;
    write(&VERSION.to_le_bytes())?;
    write(&table.buckets.to_le_bytes())?;
    write(&table.start.0.to_le_bytes())?;
    write(&(table.words.len() as u32).to_le_bytes())?;
    write(&(table.rules.len() as u32).to_le_bytes())?;
    let mut chunk = Vec::with_capacity(4 * CHUNK_WORDS);
    for words in table.words.chunks(CHUNK_WORDS) {
        chunk.clear();
        chunk.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        write(&chunk)?;
    }
    for rule in &table.rules {
        write(&encode_rule(rule))?;
    }
    let checksum = hash.finalize();
    output.write_all(&checksum)
}

/// Reads a table from a file of `file_length` bytes; `None` when it is not exactly one.
pub(super) fn decode(input: &mut impl Read, file_length: u64) -> Option<UnwindTable> {
    let mut hash = Sha256::new();
    let mut header = [0; HEADER_BYTES];
    input.read_exact(&mut header).ok()?;
    hash.update(header);
    let u32_at = |at: usize| {
        let bytes = header[at..].first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let buckets = u32_at(12)?;
    let start = u64::from_le_bytes(*header[16..].first_chunk()?);
    let (word_count, rule_count) = (u32_at(24)? as usize, u32_at(28)? as usize);
    // The length is checked before anything of that length is allocated.
    if header[..8] != *MAGIC
        || u32_at(8)? != VERSION
        || word_count > MAX_WORDS
        || rule_count > Rule::MAX
        || length(word_count as u64, rule_count as u64) != file_length
    {
        return None;
    }

    let mut words = Vec::with_capacity(word_count);
    let mut chunk = vec![0; 4 * CHUNK_WORDS];
    while words.len() < word_count {
        let part = &mut chunk[..4 * CHUNK_WORDS.min(word_count - words.len())];
        input.read_exact(part).ok()?;
        hash.update(&*part);
        let (numbers, _) = part.as_chunks();
        words.extend(numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)));
    }
    let mut rules = Vec::with_capacity(rule_count);
    for _ in 0..rule_count {
        let mut bytes = [0; RULE_BYTES];
        input.read_exact(&mut bytes).ok()?;
        hash.update(bytes);
        rules.push(decode_rule(&bytes));
    }
    let mut checksum = [0; CHECKSUM_BYTES];
    input.read_exact(&mut checksum).ok()?;
    let table = UnwindTable {
        start: ElfAddress(start),
        buckets,
        words,
        rules,
    };
    (checksum == *hash.finalize() && consistent(&table)).then_some(table)
}

/// Does the index ascend from the first row to behind the last?
fn consistent(table: &UnwindTable) -> bool {
    let Some((index, _)) = table.words.split_at_checked(table.buckets as usize + 1) else {
        return false;
    };
    index.is_sorted()
        && index
            .first()
            .is_some_and(|first| *first as usize == index.len())
        && index
            .last()
            .is_some_and(|last| *last as usize == table.words.len())
}

fn encode_rule(rule: &Rule) -> [u8; RULE_BYTES] {
    let Rule {
        cfa,
        cfa_register,
        return_address,
        frame_pointer,
        base_register,
        signal,
        switch,
        cfa_offset,
        cfa_addend,
        return_address_offset,
        frame_pointer_offset,
        base_register_offset,
        switch_offset,
    } = *rule;
    let mut bytes = [0; RULE_BYTES];
    bytes[..6].copy_from_slice(&[
        cfa,
        cfa_register,
        return_address,
        frame_pointer,
        base_register,
        signal,
    ]);
    bytes[6..8].copy_from_slice(&switch.to_le_bytes());
    let offsets = [
        cfa_offset,
        cfa_addend,
        return_address_offset,
        frame_pointer_offset,
        base_register_offset,
        switch_offset,
    ];
    for (place, offset) in bytes[8..].chunks_exact_mut(4).zip(offsets) {
        place.copy_from_slice(&offset.to_le_bytes());
    }
    bytes
}

fn decode_rule(bytes: &[u8; RULE_BYTES]) -> Rule {
    let offset = |number: usize| {
        let at = 8 + 4 * number;
        i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    Rule {
        cfa: bytes[0],
        cfa_register: bytes[1],
        return_address: bytes[2],
        frame_pointer: bytes[3],
        base_register: bytes[4],
        signal: bytes[5],
        switch: u16::from_le_bytes([bytes[6], bytes[7]]),
        cfa_offset: offset(0),
        cfa_addend: offset(1),
        return_address_offset: offset(2),
        frame_pointer_offset: offset(3),
        base_register_offset: offset(4),
        switch_offset: offset(5),
    }
}

//! Targets of a jump by a table on aarch64.
//!
//! ```text
//! cmp   w0, #LAST
//! b.hi  default
//! adrp  x1, TABLE
//! add   x1, x1, TABLE
//! ldrh  w1, [x1, w0, uxtw #1]
//! adr   x0, ANCHOR
//! add   x1, x0, w1, sxth #2
//! br    x1
//! ```
//!
//! Other instructions may lie in between, and parts of the function between the comparison and the jump. Entries have 1, 2 or 4 bytes.
//! gcc sign-extends them in the sum; clang loads them as they are, and counts from the table itself where they have 4 bytes. How long
//! the table is only the comparison says that bounds the index.

use super::super::a64::{self, Instruction};
use super::{MAX_BEFORE, MAX_ENTRIES, Read};

/// Conditions, as `b.cond` encodes them (C1.2.4): unsigned, higher; and its opposite.
const HIGHER: u32 = 8;
const LOWER_OR_SAME: u32 = 9;

/// An instruction on the way to a jump.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Before {
    /// Its address.
    pub(in super::super) at: u64,
    /// The instruction.
    pub(in super::super) word: u32,
    /// Did it branch to what is next on the way?
    pub(in super::super) branched: bool,
}

/// The targets of a jump to the address in `register`; `before` are the instructions on a way to it, the last one first. `None`
/// where it is no jump by a table.
pub(in super::super) fn targets(
    register: u8,
    before: impl Iterator<Item = Before>,
    read: &Read<'_>,
) -> Option<Vec<u64>> {
    let mut search = Search {
        target: Some(register),
        ..Search::default()
    };
    let mut bounded = false;
    for instruction in before.take(MAX_BEFORE) {
        if bounded && let Some(last) = search.bound(instruction.word) {
            return search.read(last.checked_add(1)?, read);
        }
        bounded = if instruction.word & 0xff00_0010 == 0x5400_0000 {
            let condition = instruction.word & 0xf;
            (condition == HIGHER && !instruction.branched)
                || (condition == LOWER_OR_SAME && instruction.branched)
        } else {
            bounded && keeps_flags(instruction.word)
        };
        search.pass(&instruction)?;
    }
    None
}

/// How the sum makes a distance of an entry.
#[derive(Clone, Copy)]
enum Extension {
    /// The lowest bits count, with their sign.
    Signed(u32),
    /// As it was loaded.
    None,
}

/// The parts of the target, once they were seen.
#[derive(Clone, Copy)]
struct Sum {
    extension: Extension,
    shift: u32,
}

#[derive(Clone, Copy)]
struct Load {
    bytes: u64,
    signed: bool,
}

/// What is still looked for, backwards: registers, and what was found of them.
#[derive(Default)]
struct Search {
    /// Holds the target, until the sum was seen that made it.
    target: Option<u8>,
    sum: Option<Sum>,
    /// Holds what entries are counted from.
    base: Option<u8>,
    anchor: Option<u64>,
    /// Holds the entry.
    entry: Option<u8>,
    load: Option<Load>,
    /// Holds the table's address.
    table: Option<u8>,
    /// Its low bits, where they were added.
    low: u64,
    place: Option<u64>,
    /// Does the base hold the table's address as well?
    counts_from_table: bool,
    index: Option<u8>,
}

impl Search {
    /// The last index, where everything else was found and `word` compares it.
    fn bound(&self, word: u32) -> Option<u64> {
        let is_found = self.place.is_some()
            && self.load.is_some()
            && (self.anchor.is_some() || self.counts_from_table);
        // `subs` (immediate) of the zero register, without shift.
        let compares = word & 0x7fc0_001f == 0x7100_001f;
        (is_found && compares && self.index == Some(first(word)))
            .then_some(u64::from(word >> 10 & 0xfff))
    }

    fn read(&self, entries: u64, read: &Read<'_>) -> Option<Vec<u64>> {
        if entries > MAX_ENTRIES {
            return None;
        }
        let (load, sum, table) = (self.load?, self.sum?, self.place?);
        let anchor = self.anchor.unwrap_or(table);
        let bytes = read(table, entries * load.bytes)?;
        let entries = bytes.chunks_exact(load.bytes as usize).map(|entry| {
            let mut wide = [0; 8];
            wide[..entry.len()].copy_from_slice(entry);
            let entry = i64::from_le_bytes(wide);
            let bits = match sum.extension {
                Extension::Signed(bits) => bits,
                Extension::None if load.signed => load.bytes as u32 * 8,
                Extension::None => 64,
            };
            let distance = entry << (64 - bits) >> (64 - bits);
            anchor.wrapping_add_signed(distance << sum.shift)
        });
        Some(entries.collect())
    }

    /// Goes back over an instruction; `None` where it puts something else into what is looked for.
    fn pass(&mut self, instruction: &Before) -> Option<()> {
        let word = instruction.word;
        let writes = Instruction::decode(word).writes;
        let is_written =
            |register: Option<u8>| register.is_some_and(|register| writes >> register & 1 == 1);
        let is_plain = self.sum.is_some_and(|sum| sum.shift == 0);
        if is_plain && is_written(self.base) && load(word).is_some() {
            // Of two registers that are added as they are, either may hold the entry.
            std::mem::swap(&mut self.base, &mut self.entry);
        }
        if is_written(self.target) {
            self.sum = Some(sum(word)?);
            self.target = None;
            (self.base, self.entry) = (Some(first(word)), Some(second(word)));
        } else if is_written(self.entry) {
            let (load, table, index) = load(word)?;
            // The base may be where the table's address is.
            (self.counts_from_table, self.table) = (self.base == Some(table), Some(table));
            (self.load, self.index, self.entry) = (Some(load), Some(index), None);
        } else if is_written(self.table) {
            if let Some(address) = a64::relative(word, instruction.at) {
                self.place = Some(address.wrapping_add(self.low));
                self.table = None;
            } else {
                let sum = Instruction::decode(word).sum?;
                self.low = self.low.wrapping_add_signed(sum.number.into());
                self.table = Some(sum.from);
            }
            if self.counts_from_table {
                self.base = self.table;
            }
        } else if is_written(self.base) {
            self.anchor = Some(a64::relative(word, instruction.at)?);
            self.base = None;
        } else if is_written(self.index) {
            // `mov`: `orr` with the zero register.
            self.index = Some((word & 0x7fe0_ffe0 == 0x2a00_03e0).then_some(second(word))?);
        }
        Some(())
    }
}

/// `add` of 64 bits of two registers (C4.1.95): extended with sign, or shifted left.
fn sum(word: u32) -> Option<Sum> {
    if word & 0xffe0_0000 == 0x8b20_0000 {
        let shift = word >> 10 & 7;
        let bits = match word >> 13 & 7 {
            4 => 8,
            5 => 16,
            6 => 32,
            _ => return None,
        };
        let extension = Extension::Signed(bits);
        return (shift <= 4).then_some(Sum { extension, shift });
    }
    let shift = word >> 10 & 0x3f;
    (word & 0xffe0_0000 == 0x8b00_0000 && shift <= 4).then_some(Sum {
        extension: Extension::None,
        shift,
    })
}

/// A load with a register as offset (C4.1.94), which counts entries: what it loads, and the registers of table and index.
fn load(word: u32) -> Option<(Load, u8, u8)> {
    if word & 0x3f20_0c00 != 0x3820_0800 {
        return None;
    }
    let (size, kind, scaled) = (word >> 30, word >> 22 & 3, word >> 12 & 1 == 1);
    let counts = size == 0 || scaled;
    let load = Load {
        bytes: 1 << size,
        signed: kind > 1,
    };
    (counts && size < 3 && kind > 0).then_some((load, first(word), second(word)))
}

/// Does it leave the flags as they are? Loads, stores, addresses, sums and moves that are not told to set them.
const fn keeps_flags(word: u32) -> bool {
    let memory = word & 0x0a00_0000 == 0x0800_0000;
    let immediate = word & 0x1c00_0000 == 0x1000_0000 && word & 0x2000_0000 == 0;
    let address = word & 0x1f00_0000 == 0x1000_0000;
    let wide = word & 0x1f80_0000 == 0x1280_0000;
    let register = word & 0x7f20_0000 == 0x2a00_0000 || word & 0x3f00_0000 == 0x0b00_0000;
    let jump = word & 0xfc00_0000 == 0x1400_0000;
    let hint = word & 0xffff_f01f == 0xd503_201f;
    memory || immediate || address || wide || register || jump || hint
}

const fn first(word: u32) -> u8 {
    (word >> 5 & 0x1f) as u8
}
const fn second(word: u32) -> u8 {
    (word >> 16 & 0x1f) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The targets of the jump that `words` end with, which lie at `start` one behind the other; the conditional branch at
    /// `branched` is one that branches over what lies between.
    fn check(
        start: u64,
        words: &[u32],
        branched: Option<usize>,
        table: (u64, &[u8]),
    ) -> Option<Vec<u64>> {
        let (jump, before) = words.split_last()?;
        let before = before.iter().enumerate().rev().map(|(index, word)| Before {
            at: start + 4 * index as u64,
            word: *word,
            branched: branched == Some(index),
        });
        let read = |address: u64, length: u64| {
            let from = usize::try_from(address.checked_sub(table.0)?).ok()?;
            let bytes = table.1.get(from..from + usize::try_from(length).ok()?)?;
            Some(bytes.to_vec())
        };
        targets((jump >> 5 & 0x1f) as u8, before, &read)
    }

    /// musl's `iswctype` as gcc makes it: cmp w1, #2; b.ls; adrp x2; add x2, x2, #0x28; ldrb w2, [x2, w1, uxtw]; adr x1;
    /// add x2, x1, w2, sxtb #2; br x2.
    const OF_GCC: [u32; 8] = [
        0x7100_083f,
        0x5400_0069,
        0xd000_04e2,
        0x9100_a042,
        0x3861_4842,
        0x1000_0061,
        0x8b22_8822,
        0xd61f_0040,
    ];

    #[test]
    fn entries_are_counted_from_an_address_of_their_own() {
        let table = (0xb_a028, &[0, 4, 0xff][..]);
        let targets = check(0x1_cc78, &OF_GCC, Some(1), table);
        assert_eq!(targets.unwrap(), [0x1_cc98, 0x1_cca8, 0x1_cc94]);
    }

    #[test]
    fn a_branch_bounds_the_index_where_it_goes() {
        let table = (0xb_a028, &[0, 4, 6][..]);
        assert_eq!(check(0x1_cc78, &OF_GCC, None, table), None);
        // b.hi
        let mut words = OF_GCC;
        words[1] = 0x5400_0068;
        assert!(check(0x1_cc78, &words, None, table).is_some());
        assert_eq!(check(0x1_cc78, &words, Some(1), table), None);
    }

    #[test]
    fn what_was_not_compared_bounds_nothing() {
        let table = (0xb_a028, &[0, 4, 6][..]);
        // cmp w3, #2
        let mut words = OF_GCC;
        words[0] = 0x7100_087f;
        assert_eq!(check(0x1_cc78, &words, Some(1), table), None);
        // A table that is not in the file.
        assert_eq!(check(0x1_cc78, &OF_GCC, Some(1), (0xb_a028, &[0])), None);
        // x2 is loaded, in place of the sum.
        words = OF_GCC;
        words[6] = 0xf940_0002;
        assert_eq!(check(0x1_cc78, &words, Some(1), table), None);
    }

    #[test]
    fn clang_counts_without_sign() {
        // cmp w0, #1; b.hi; adrp x8; add x8, x8, #0x10; adr x9; ldrh w10, [x8, x0, lsl #1]; add x9, x9, x10, lsl #2; br x9.
        let words = [
            0x7100_041f,
            0x5400_0108,
            0xb000_0008,
            0x9100_4108,
            0x1000_0089,
            0x7860_790a,
            0x8b0a_0929,
            0xd61f_0120,
        ];
        let table = (0x1010, &[0, 0, 0xff, 0xff][..]);
        let targets = check(0, &words, None, table);
        assert_eq!(targets.unwrap(), [0x20, 0x20 + 0xffff * 4]);
    }

    #[test]
    fn wide_entries_of_clang_are_counted_from_the_table() {
        // cmp w1, #1; b.hi; mov w8, w1; adrp x9; add x9, x9, #0x20; ldrsw x8, [x9, x8, lsl #2]; add x8, x8, x9; br x8, and
        // with the registers of the sum the other way round.
        for sum in [0x8b09_0108, 0x8b08_0128] {
            let words = [
                0x7100_043f,
                0x54ff_ffc8,
                0x2a01_03e8,
                0xb000_0009,
                0x9100_8129,
                0xb8a8_7928,
                sum,
                0xd61f_0100,
            ];
            let table = (0x1020, &[0, 0xf0, 0xff, 0xff, 8, 0, 0, 0][..]);
            let targets = check(0, &words, None, table);
            assert_eq!(targets.unwrap(), [0x20, 0x1028]);
        }
    }
}

//! Rules for functions that have no call frame information (musl's library, assembly, the vDSO of aarch64), read
//! off their instructions.
//!
//! From a function's first instruction, where the CFA is the stack pointer plus what a call pushes, every path within
//! it is followed with what each instruction does to the stack pointer, the frame pointer, the base
//! register and, on aarch64, the return address. Where two paths disagree, and where the stack pointer becomes unknown, nothing is said. A
//! function gets no rule at all when it contradicts what a compiled function is: it
//! returns with anything but the return address on top of the stack or without its caller's registers, or
//! pops the return address. What is only reached by a table of jumps has a rule where the table is found (`jump_table`). Parts that
//! are jumped to with a frame in place (`.cold`) are no functions. Functions are those of the symbol table; in a file that has hardly
//! any call frame information also what is found from them (`discover`).
//!
//! The entry point of a program has no caller (x86-64 psABI, section 3.4.1): it ends the stack.

mod a64;
mod aarch64;
mod discover;
mod frame;
mod jump_table;
mod paths;
mod relocations;
mod symbols;
mod x86_64;

use std::cmp::Reverse;

use iced_x86::{Code as Instruction, Decoder, DecoderOptions, FlowControl};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::{BUCKET_BITS, rule_index};

use self::a64::{Flow, Instruction as Instruction64};
use self::discover::Search;
use self::paths::{Followed, Surroundings};
use self::symbols::Function;
use super::base_register::BaseRegister;
use super::code::Code;
use super::elf::{Image, Machine};
use super::interner::RuleInterner;
use super::supplement::Supplement;
use super::trampoline::Gaps;
use crate::elf::Source;
use crate::profile::UnwindTable;

/// Most bytes of code that are read in one file.
const MAX_CODE_BYTES: u64 = 4 << 20;
/// Most bytes of one function.
const MAX_FUNCTION_BYTES: u64 = 64 << 10;
/// Most bytes of a function without a size (assembly); it ends where the next one starts.
const MAX_UNSIZED_BYTES: u64 = 4 << 10;
/// Most bytes of the entry point up to its call.
const MAX_ENTRY_BYTES: u64 = 64;

/// What was read off instructions.
#[derive(Debug, Default)]
pub(super) struct Inferred {
    pub(super) rules: Vec<Supplement>,
    /// Functions that have rules.
    pub(super) functions: u32,
}

/// Follows the paths through a function.
type Follow = fn(&[u8], u64, &Surroundings<'_>) -> Followed;

/// Rules for the functions that `table` has none for: those of the symbol table and, where the file says next to nothing of its
/// code (`code`, which `table` is of), those that are found without it.
pub(super) fn infer<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    table: &UnwindTable,
    code: &Code,
    base_register: BaseRegister,
) -> Inferred {
    let mut inferred = Inferred::default();
    let follow: Follow = match image.machine {
        Machine::X86_64 if base_register == BaseRegister::R12 => x86_64::follow_r12,
        Machine::X86_64 => x86_64::follow,
        Machine::Aarch64 => aarch64::follow,
    };
    let unknown = |address: u64| {
        let offset = address.wrapping_sub(table.start.0);
        rule_index(table.words.as_slice(), table.buckets, offset) == Some(RuleInterner::NONE)
    };
    let functions = named(source, image, &unknown);
    let found = if is_mostly_without(table, code) {
        let search = Search {
            source,
            image,
            follow,
            unknown: &unknown,
        };
        search.run(&functions, &relocations::taken(source, image))
    } else {
        follow_all(source, image, follow, functions)
    };
    let mut entered: Vec<(u64, Rule)> = found
        .iter()
        .flat_map(|(_, followed)| followed.entered.iter().copied())
        .collect();
    entered.sort_unstable_by_key(|(address, _)| *address);
    for (function, followed) in found {
        let Some(rows) = followed.rows else { continue };
        let end = function.address.saturating_add(function.length);
        let first = entered.partition_point(|(address, _)| *address < function.address);
        let mut inside = entered[first..]
            .iter()
            .take_while(|(address, _)| *address < end);
        // Who comes from elsewhere with the frame that is known there is no contradiction.
        if inside.all(|(address, rule)| row_at(&rows, *address) == Some(rule)) {
            inferred.functions += 1;
            inferred.rules.extend(rows);
        }
    }
    if image.entry != 0 && unknown(image.entry) {
        let entry = match image.machine {
            Machine::X86_64 => entry_x86_64(source, image),
            Machine::Aarch64 => entry_aarch64(source, image),
        };
        // What is said of the entry point replaces what its instructions say.
        if let Some(entry) = entry {
            let end = entry.address.saturating_add(u64::from(entry.length));
            let range = entry.address..end;
            inferred.rules.retain(|rule| !range.contains(&rule.address));
            inferred.rules.push(entry);
        }
    }
    inferred
}

/// Functions of the symbol table that nothing else is known of, in order of address and with their lengths.
fn named<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    unknown: &dyn Fn(u64) -> bool,
) -> Vec<Function> {
    let mut bytes_left = MAX_CODE_BYTES;
    let mut functions = symbols::functions(source, image, |function| {
        let Some(last) = function
            .address
            .checked_add(function.length.saturating_sub(1))
        else {
            return false;
        };
        let length = match function.length {
            0 => MAX_UNSIZED_BYTES,
            length => length,
        };
        let wanted = length <= MAX_FUNCTION_BYTES
            && length <= bytes_left
            && unknown(function.address)
            && unknown(last);
        if wanted {
            bytes_left -= length;
        }
        wanted
    });
    functions.sort_unstable_by_key(|function| (function.address, Reverse(function.length)));
    functions.dedup_by_key(|function| function.address);
    let mut next = u64::MAX;
    for function in functions.iter_mut().rev() {
        if function.length == 0 {
            function.length = MAX_UNSIZED_BYTES.min(next - function.address);
        }
        next = function.address;
    }
    functions
}

/// Follows each of the functions alone.
fn follow_all<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    follow: Follow,
    functions: Vec<Function>,
) -> Vec<(Function, Followed)> {
    let read = |address, length| image.loaded_bytes(source, address, length);
    let around = Surroundings {
        read: &read,
        returns: &|_| None,
        is_bounded: true,
    };
    let followed = functions.into_iter().filter_map(|function| {
        let code = image.code(source, function.address, function.length)?;
        Some((function, follow(&code, function.address, &around)))
    });
    followed.collect()
}

/// Has more than half of the code no rule?
fn is_mostly_without(table: &UnwindTable, code: &Code) -> bool {
    let base = table.start.0.saturating_sub(code.start);
    let whole = base..base + (u64::from(table.buckets) << BUCKET_BITS);
    let gaps = Gaps::new(table).map(|gap| code.bytes_in(&(base + gap.start..base + gap.end)));
    // A page may be mostly without rules in a file that is not: only what is said of a whole file counts.
    u64::from(code.span) <= whole.end && base == 0 && gaps.sum::<u64>() > code.bytes_in(&whole) / 2
}

/// The rule of the row that `address` lies in.
fn row_at(rows: &[Supplement], address: u64) -> Option<&Rule> {
    let behind = rows.partition_point(|row| row.address <= address);
    let row = rows.get(behind.checked_sub(1)?)?;
    let end = row.address.saturating_add(u64::from(row.length));
    (address < end).then_some(&row.rule)
}

/// The entry point up to its call, where it is one: it clears the frame pointer first.
fn entry_x86_64<S: Source + ?Sized>(source: &S, image: &Image<'_>) -> Option<Supplement> {
    let code = image.code(source, image.entry, MAX_ENTRY_BYTES)?;
    let mut decoder = Decoder::with_ip(64, &code, image.entry, DecoderOptions::NONE);
    let mut first = true;
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.code() == Instruction::Endbr64 {
            continue;
        }
        if first {
            let clears = matches!(
                instruction.code(),
                Instruction::Xor_rm64_r64
                    | Instruction::Xor_r64_rm64
                    | Instruction::Xor_rm32_r32
                    | Instruction::Xor_r32_rm32
            ) && instruction.op0_register() == instruction.op1_register()
                && instruction.op0_register().full_register() == iced_x86::Register::RBP;
            if !clears {
                return None;
            }
            first = false;
        }
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::Call | FlowControl::IndirectCall => {
                return Some(Supplement {
                    address: image.entry,
                    length: u32::try_from(instruction.next_ip() - image.entry).ok()?,
                    rule: Rule::END_OF_STACK,
                });
            }
            _ => return None,
        }
    }
    None
}

/// The entry point up to its call or jump, where it is one: it clears the frame pointer first.
fn entry_aarch64<S: Source + ?Sized>(source: &S, image: &Image<'_>) -> Option<Supplement> {
    /// `mov x29, #0`.
    const CLEARS: u32 = 0xd280_001d;
    /// `bti c`.
    const LANDS: u32 = 0xd503_245f;

    let code = image.code(source, image.entry, MAX_ENTRY_BYTES)?;
    let words = code
        .as_chunks()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word));
    let mut cleared = false;
    for (word, behind) in words.zip((4..).step_by(4)) {
        cleared |= word == CLEARS;
        if !cleared && word != LANDS {
            return None;
        }
        match Instruction64::decode(word).flow {
            Flow::Next => {}
            Flow::Call(_) | Flow::Jump(_) => {
                return Some(Supplement {
                    address: image.entry,
                    length: behind,
                    rule: Rule::END_OF_STACK,
                });
            }
            _ => return None,
        }
    }
    None
}

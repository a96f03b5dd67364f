//! Rules for code that has no call frame information but a known shape.
//!
//! [`trampoline`](super::trampoline) finds signal trampolines; here are procedure linkage tables:
//! GNU ld describes those of x86_64 itself (except in static programs), lld none, and on
//! aarch64 no linker does.

use profiler_common::unwind::{Aarch64, Architecture, CfaKind, Rule, SavedKind, X86_64};

use super::elf::{Image, Linkage, Machine};

/// A rule for a range of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supplement {
    /// First address, as the file states it.
    pub(super) address: u64,
    /// Bytes that it covers.
    pub(super) length: u32,
    pub(super) rule: Rule,
}

/// The caller's registers where nothing but the return address is between stack pointer and CFA.
const fn x86_64_rule(kind: CfaKind, offset: i32, threshold: i32) -> Rule {
    Rule {
        cfa_register: X86_64::STACK_POINTER,
        cfa_offset: offset,
        cfa_addend: threshold,
        return_address: SavedKind::AtCfa as u8,
        return_address_offset: -8,
        ..Rule::of(kind)
    }
}

/// `jmp *slot; push $number; jmp header`: 16 bytes, pushed from byte 11 on.
const X86_64_LAZY: Rule = x86_64_rule(CfaKind::Plt, 8, 11);
/// `push link_map; jmp *resolver`, reached with the number pushed: 16 bytes, pushed from byte 6 on.
const X86_64_HEADER: Rule = x86_64_rule(CfaKind::Plt, 16, 6);
const X86_64_HEADER_BYTES: u32 = 16;
/// `push slot(%rip)`.
const X86_64_HEADER_START: [u8; 2] = [0xff, 0x35];
/// `jmp *slot`, in entries of 8 or 16 bytes.
const X86_64_DIRECT: Rule = x86_64_rule(CfaKind::Register, 8, 0);

/// An entry of a table, and the first instruction of its header: nothing is saved yet.
const AARCH64_ENTRY: Rule = Rule {
    cfa_register: Aarch64::STACK_POINTER,
    ..Rule::of(CfaKind::Register)
};
/// The header behind `stp x16, x30, [sp, #-16]!`.
const AARCH64_HEADER: Rule = Rule {
    cfa_register: Aarch64::STACK_POINTER,
    cfa_offset: 16,
    return_address: SavedKind::AtCfa as u8,
    return_address_offset: -8,
    ..Rule::of(CfaKind::Register)
};
const AARCH64_HEADER_BYTES: u32 = 32;
const AARCH64_HEADER_START: [u8; 4] = [0xf0, 0x7b, 0xbf, 0xa9];

/// Rules for the procedure linkage tables of `image`; where there is call frame information for
/// them, that holds.
pub(super) fn linkage(image: &Image<'_>) -> Vec<Supplement> {
    let mut rules = Vec::new();
    for Linkage {
        address,
        length,
        lazy,
        start,
    } in &image.linkage
    {
        let mut put = |from: u32, to: u32, rule| {
            let to = to.min(*length);
            if from < to {
                rules.push(Supplement {
                    address: address.saturating_add(u64::from(from)),
                    length: to - from,
                    rule,
                });
            }
        };
        match image.machine {
            Machine::X86_64 if !*lazy => put(0, *length, X86_64_DIRECT),
            Machine::X86_64 if start.starts_with(&X86_64_HEADER_START) => {
                put(0, X86_64_HEADER_BYTES, X86_64_HEADER);
                put(X86_64_HEADER_BYTES, *length, X86_64_LAZY);
            }
            Machine::X86_64 => put(0, *length, X86_64_LAZY),
            Machine::Aarch64 if start.starts_with(&AARCH64_HEADER_START) => {
                put(0, 4, AARCH64_ENTRY);
                put(4, AARCH64_HEADER_BYTES, AARCH64_HEADER);
                put(AARCH64_HEADER_BYTES, *length, AARCH64_ENTRY);
            }
            Machine::Aarch64 => put(0, *length, AARCH64_ENTRY),
        }
    }
    rules
}

//! Where a thread keeps its `g`: what `runtime.stackcheck` and the like begin with (`get_tls` and `g` of
//! `runtime/go_tls.h`, as the assembler and the linker make them).
//!
//! | code (x86_64) | slot |
//! |---|---|
//! | `mov %fs:OFFSET, %reg` | at OFFSET from the thread pointer |
//! | `mov $OFFSET, %reg; mov %fs:(%reg), %reg` | the same |
//! | `mov WORD(%rip), %reg; mov %fs:(%reg), %reg` | at a distance that a word in memory holds |
//!
//! On aarch64 `g` is in x28 while Go's own code runs. C's code may use that register for anything: programs with C in
//! them keep `g` in thread-local storage too, from where callbacks and signal handlers fetch it (`aarch64`).

mod aarch64;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::super::LineTable;
use super::super::elf::Image;
use crate::profile::ElfAddress;

/// Where a thread keeps its `g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// At this distance from the thread pointer.
    ThreadPointer(i64),
    /// At a distance from the thread pointer that the word at this address holds.
    Indirect(ElfAddress),
    /// In the register with this DWARF number, while Go's code runs.
    Register(u8),
}

/// Functions that fetch `g` first thing; in every program.
const FETCHERS: [&str; 4] = [
    "runtime.stackcheck",
    "runtime.systemstack",
    "runtime.mcall",
    "runtime.morestack",
];
/// The function that fetches `g` from thread-local storage on aarch64.
const AARCH64_FETCHER: &[u8] = b"runtime.load_g";
/// A function of `runtime/cgo`, which programs with C in them have.
const WITH_C: &[u8] = b"crosscall2";
/// Instructions that are looked at.
const MAX_INSTRUCTIONS: usize = 8;
/// x28, DWARF's number.
const AARCH64_G: u8 = 28;

/// Finds the slot.
pub(super) fn find(image: &Image<'_>, table: &LineTable<'_>) -> Option<Slot> {
    let start = |name: &[u8]| {
        let mut functions = table.functions();
        let function = functions.find(|function| function.is_named(name))?;
        let code = image.at(function.entry().0)?.bytes;
        let code = &code[..code.len().min(15 * MAX_INSTRUCTIONS)];
        Some((code, function.entry()))
    };
    if image.is_aarch64() {
        let fetched = start(WITH_C)
            .and_then(|_| start(AARCH64_FETCHER))
            .and_then(|(code, entry)| aarch64::decode(code, entry));
        return Some(fetched.unwrap_or(Slot::Register(AARCH64_G)));
    }
    FETCHERS.iter().find_map(|name| {
        let (code, entry) = start(name.as_bytes())?;
        decode(code, entry)
    })
}

/// What a register holds, as far as it matters.
#[derive(Clone, Copy)]
enum Held {
    Number(i64),
    Word(ElfAddress),
}

/// The slot that the code at `start` fetches.
fn decode(code: &[u8], start: ElfAddress) -> Option<Slot> {
    let mut decoder = Decoder::with_ip(64, code, start.0, DecoderOptions::NONE);
    let mut held: [Option<Held>; 16] = [None; 16];
    let mut instruction = Instruction::default();
    for _ in 0..MAX_INSTRUCTIONS {
        if !decoder.can_decode() {
            return None;
        }
        decoder.decode_out(&mut instruction);
        if instruction.mnemonic() != Mnemonic::Mov || instruction.op0_kind() != OpKind::Register {
            continue;
        }
        let target = instruction.op0_register().full_register();
        if !target.is_gpr64() {
            continue;
        }
        let value = match instruction.op1_kind() {
            OpKind::Memory if instruction.segment_prefix() == Register::FS => {
                return slot(&instruction, &held);
            }
            OpKind::Memory if instruction.memory_base() == Register::RIP => {
                Some(Held::Word(ElfAddress(instruction.memory_displacement64())))
            }
            OpKind::Immediate32to64 => Some(Held::Number(instruction.immediate32to64())),
            OpKind::Immediate64 => Some(Held::Number(instruction.immediate64().cast_signed())),
            _ => None,
        };
        held[target.number()] = value;
    }
    None
}

/// The slot that an access relative to the thread pointer goes to.
fn slot(instruction: &Instruction, held: &[Option<Held>; 16]) -> Option<Slot> {
    let displacement = instruction.memory_displacement64().cast_signed();
    match instruction.memory_base() {
        Register::None if instruction.memory_index() == Register::None => {
            // Of 32 bits, sign-extended.
            Some(Slot::ThreadPointer(i64::from(displacement as i32)))
        }
        base if base.is_gpr64() && displacement == 0 => match held[base.number()]? {
            Held::Number(offset) => Some(Slot::ThreadPointer(offset)),
            Held::Word(address) => Some(Slot::Indirect(address)),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_of_access_is_read() {
        let at = ElfAddress(0x1000);
        let local_exec = [0x64, 0x48, 0x8b, 0x04, 0x25, 0xf8, 0xff, 0xff, 0xff];
        assert_eq!(decode(&local_exec, at), Some(Slot::ThreadPointer(-8)));
        let relaxed = [
            0x48, 0xc7, 0xc1, 0xe0, 0xff, 0xff, 0xff, 0x64, 0x48, 0x8b, 0x01,
        ];
        assert_eq!(decode(&relaxed, at), Some(Slot::ThreadPointer(-32)));
        let initial_exec = [
            0x48, 0x8b, 0x0d, 0x10, 0x00, 0x00, 0x00, 0x64, 0x48, 0x8b, 0x01,
        ];
        assert_eq!(
            decode(&initial_exec, at),
            Some(Slot::Indirect(ElfAddress(0x1017)))
        );
    }

    #[test]
    fn other_code_has_no_slot() {
        let at = ElfAddress(0x1000);
        assert_eq!(decode(&[], at), None);
        assert_eq!(decode(&[0x90; 200], at), None);
        // mov %fs:(%rcx), %rax with nothing known of rcx.
        assert_eq!(decode(&[0x64, 0x48, 0x8b, 0x01], at), None);
        let bytes: Vec<u8> = (0..=255).collect();
        for start in 0..bytes.len() {
            let _ = decode(&bytes[start..], at);
        }
    }
}

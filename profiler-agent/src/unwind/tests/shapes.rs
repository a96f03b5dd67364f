//! What tables say about entries and code of known shape.

use profiler_common::unwind::{CfaKind, Rule, SavedKind};

use super::elf_file::{AARCH64, DebugFrame, ElfFile, X86_64};
use super::{assert_consistent, build, rule_at};
use crate::unwind::{Absent, Built, Malformed};

const TEXT: u64 = 0x40_1000;
/// DW_CFA_def_cfa rsp 8, DW_CFA_offset ra -8: what a call leaves.
const CALLED: &[u8] = &[0x0c, 7, 8, 0x90, 1];

fn x86_64(text: usize, frames: DebugFrame) -> Built {
    let file = ElfFile::new(X86_64, vec![0x90; text]).with(".debug_frame", frames.bytes);
    let built = build(&file.bytes()).unwrap();
    assert_consistent(&built);
    built
}

fn sp(offset: i32) -> Rule {
    Rule {
        cfa_register: 7,
        cfa_offset: offset,
        return_address: SavedKind::AtCfa as u8,
        return_address_offset: -8,
        ..Rule::of(CfaKind::Register)
    }
}

#[test]
fn rows_gaps_and_the_end() {
    let mut frames = DebugFrame::default();
    let cie = frames.cie(16, CALLED);
    // Out of order; push %rbp at 0x10; a hole between 0x40 and 0x50.
    frames.fde(cie, TEXT + 0x50, 0x800, &[]);
    // advance_loc 1, def_cfa_offset 16, offset rbp -16
    frames.fde(cie, TEXT + 0x10, 0x30, &[0x41, 0x0e, 16, 0x86, 2]);
    let built = x86_64(0x2000, frames);
    assert_eq!(rule_at(&built, TEXT), Rule::NONE);
    assert_eq!(rule_at(&built, TEXT + 0xf), Rule::NONE);
    assert_eq!(rule_at(&built, TEXT + 0x10), sp(8));
    let pushed = Rule {
        frame_pointer: SavedKind::AtCfa as u8,
        frame_pointer_offset: -16,
        ..sp(16)
    };
    assert_eq!(rule_at(&built, TEXT + 0x11), pushed);
    assert_eq!(rule_at(&built, TEXT + 0x3f), pushed);
    assert_eq!(rule_at(&built, TEXT + 0x40), Rule::NONE);
    assert_eq!(rule_at(&built, TEXT + 0x84f), sp(8));
    assert_eq!(rule_at(&built, TEXT + 0x850), Rule::NONE);
    assert_eq!(rule_at(&built, TEXT + 0x1fff), Rule::NONE);
}

#[test]
fn the_later_start_ends_an_overlapping_entry() {
    let mut frames = DebugFrame::default();
    let cie = frames.cie(16, CALLED);
    frames.fde(cie, TEXT, 0x100, &[]);
    frames.fde(cie, TEXT + 0x40, 0x10, &[0x0e, 32]);
    frames.fde(cie, TEXT + 0x40, 0x10, &[0x0e, 64]);
    let built = x86_64(0x200, frames);
    assert_eq!(rule_at(&built, TEXT + 0x3f), sp(8));
    assert_eq!(rule_at(&built, TEXT + 0x40), sp(32));
    assert_eq!(rule_at(&built, TEXT + 0x50), Rule::NONE);
}

#[test]
fn what_cannot_be_said_costs_its_rows_only() {
    let mut frames = DebugFrame::default();
    let cie = frames.cie(16, CALLED);
    // def_cfa_expression breg7 0, dup, plus: no known form; then back to rsp+8.
    let expression = [0x0f, 4, 0x77, 0, 0x12, 0x22, 0x48, 0x0c, 7, 8];
    frames.fde(cie, TEXT, 0x10, &expression);
    // An unknown instruction behind one row.
    frames.fde(cie, TEXT + 0x10, 0x10, &[0x44, 0x3f, 0x44]);
    // undefined ra; val_offset rbp; an offset beyond 32 bits.
    frames.fde(cie, TEXT + 0x20, 0x10, &[0x07, 16]);
    frames.fde(cie, TEXT + 0x30, 0x10, &[0x14, 6, 1]);
    frames.fde(
        cie,
        TEXT + 0x40,
        0x10,
        &[0x0e, 0xff, 0xff, 0xff, 0xff, 0x7f],
    );
    let built = x86_64(0x100, frames);
    assert_eq!(rule_at(&built, TEXT), Rule::UNSUPPORTED);
    assert_eq!(rule_at(&built, TEXT + 8), sp(8));
    assert_eq!(rule_at(&built, TEXT + 0x13), sp(8));
    assert_eq!(rule_at(&built, TEXT + 0x14), Rule::UNSUPPORTED);
    assert_eq!(rule_at(&built, TEXT + 0x20), Rule::END_OF_STACK);
    let lost = SavedKind::Undefined as u8;
    assert_eq!(rule_at(&built, TEXT + 0x30).frame_pointer, lost);
    assert_eq!(rule_at(&built, TEXT + 0x40), Rule::UNSUPPORTED);
    let statistics = built.statistics;
    assert_eq!(statistics.unsupported_cfa, 1);
    assert_eq!(statistics.undecodable, 1);
    assert_eq!(statistics.unsupported_number, 1);
    assert_eq!(statistics.lost_frame_pointer, 1);
    assert_eq!(statistics.unsupported(), 3);
}

#[test]
fn expressions_of_known_forms() {
    let mut frames = DebugFrame::default();
    let cie = frames.cie(16, CALLED);
    // OpenSSL: breg7 152, deref, plus_uconst 8
    frames.fde(cie, TEXT, 0x10, &[0x0f, 6, 0x77, 0x98, 1, 0x06, 0x23, 8]);
    // gcc, realigned: breg6 -8, deref; rbx at breg6 -16
    let realigned = [0x0f, 3, 0x76, 0x78, 0x06, 0x10, 3, 2, 0x76, 0x70];
    frames.fde(cie, TEXT + 0x10, 0x10, &realigned);
    // ld, linkage table with indirect branch tracking: pushed from byte 9 on
    let linkage = [
        0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x39, 0x2a, 0x33, 0x24, 0x22,
    ];
    frames.fde(cie, TEXT + 0x20, 0x10, &linkage);
    let built = x86_64(0x100, frames);
    assert_eq!(
        rule_at(&built, TEXT),
        Rule {
            cfa: CfaKind::Dereference as u8,
            cfa_addend: 8,
            ..sp(152)
        }
    );
    assert_eq!(
        rule_at(&built, TEXT + 0x10),
        Rule {
            cfa: CfaKind::Dereference as u8,
            cfa_register: 6,
            base_register: SavedKind::AtFramePointer as u8,
            base_register_offset: -16,
            ..sp(-8)
        }
    );
    assert_eq!(
        rule_at(&built, TEXT + 0x20),
        Rule {
            cfa: CfaKind::Plt as u8,
            cfa_addend: 9,
            ..sp(8)
        }
    );
}

#[test]
fn signal_trampolines_are_found_without_information() {
    // musl's, at an odd place.
    let mut text = vec![0x90; 0x80];
    text[0x33..0x3c].copy_from_slice(&[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05]);
    let built = build(&ElfFile::new(X86_64, text).bytes()).unwrap();
    assert_consistent(&built);
    assert_eq!(built.statistics.trampolines, 1);
    assert_eq!(rule_at(&built, TEXT + 0x31), Rule::NONE);
    for offset in 0x32..0x3d {
        let rule = rule_at(&built, TEXT + offset);
        assert_eq!((rule.signal, rule.cfa), (1, CfaKind::Dereference as u8));
        // What glibc's own information says of the same kernel structure.
        assert_eq!((rule.cfa_register, rule.cfa_offset), (7, 160));
        assert_eq!(rule.return_address_offset, 168);
        assert_eq!(
            (rule.frame_pointer_offset, rule.base_register_offset),
            (120, 128)
        );
    }
    assert_eq!(rule_at(&built, TEXT + 0x3d), Rule::NONE);

    // The vDSO's of aarch64.
    let mut text = vec![0; 0x80];
    text[0x40..0x48].copy_from_slice(&[0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4]);
    let built = build(&ElfFile::new(AARCH64, text).bytes()).unwrap();
    for offset in 0x3f..0x49 {
        let rule = rule_at(&built, TEXT + offset);
        assert_eq!((rule.signal, rule.cfa_register), (1, 31));
    }
    assert_eq!(rule_at(&built, TEXT + 0x49), Rule::NONE);
}

#[test]
fn contexts_end_where_their_functions_return_to() {
    // glibc's `__start_context`, described like a function that was called, behind another one.
    let mut text = vec![0x90; 0x80];
    let start = [
        0x48, 0x89, 0xdc, 0x48, 0x8b, 0x3c, 0x24, 0x48, 0x85, 0xff, 0x74, 8,
    ];
    text[0x20..0x2c].copy_from_slice(&start);
    let mut frames = DebugFrame::default();
    let cie = frames.cie(16, CALLED);
    for function in [0, 0x20, 0x40] {
        frames.fde(cie, TEXT + function, 0x1a, &[]);
    }
    let file = ElfFile::new(X86_64, text).with(".debug_frame", frames.bytes);
    let built = build(&file.bytes()).unwrap();
    assert_consistent(&built);
    assert_eq!(rule_at(&built, TEXT + 0x19), sp(8));
    assert_eq!(rule_at(&built, TEXT + 0x1e), Rule::NONE);
    assert_eq!(rule_at(&built, TEXT + 0x1f), Rule::CONTEXT);
    for offset in [0x20, 0x39] {
        assert_eq!(rule_at(&built, TEXT + offset), Rule::END_OF_STACK);
    }
    assert_eq!(rule_at(&built, TEXT + 0x40), sp(8));

    // Boost.Context's: push %rbp; jmp *%rbx; xor %rdi, %rdi; call _exit; hlt.
    let mut text = vec![0x90; 0x80];
    text[0x2c..0x33].copy_from_slice(&[0x55, 0xff, 0xe3, 0x48, 0x31, 0xff, 0xe8]);
    let built = build(&ElfFile::new(X86_64, text).bytes()).unwrap();
    assert_eq!(rule_at(&built, TEXT + 0x2d), Rule::NONE);
    assert_eq!(rule_at(&built, TEXT + 0x2e), Rule::CONTEXT);
}

#[test]
fn threads_of_musl_begin_where_they_exit() {
    // As its `clone` ends on aarch64: ldp x1, x0, [sp], #16; blr x1; mov x8, #93; svc #0.
    let mut text = vec![0; 0x80];
    let words: [u32; 4] = [0xa8c1_03e1, 0xd63f_0020, 0xd280_0ba8, 0xd400_0001];
    for (place, word) in text[0x40..].chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let built = build(&ElfFile::new(AARCH64, text).bytes()).unwrap();
    assert_eq!(rule_at(&built, TEXT + 0x43), Rule::NONE);
    for offset in 0x44..0x50 {
        assert_eq!(rule_at(&built, TEXT + offset), Rule::END_OF_STACK);
    }
    assert_eq!(rule_at(&built, TEXT + 0x50), Rule::NONE);
}

#[test]
fn linkage_tables_without_information() {
    let mut text = vec![0x90; 0x100];
    text.truncate(0x100);
    let mut file = ElfFile::new(AARCH64, text);
    let mut frames = DebugFrame::default();
    // DW_CFA_def_cfa sp 0
    let cie = frames.cie(30, &[0x0c, 31, 0]);
    frames.fde(cie, TEXT + 0x80, 0x10, &[]);
    file = file.with(".debug_frame", frames.bytes);
    let mut bytes = file.with(".plt", vec![0; 0x40]).bytes();
    // The section's address moves into the text.
    let section_offset = u64::from_le_bytes(*bytes[40..].first_chunk().unwrap()) as usize;
    let plt = section_offset + 3 * 64;
    bytes[plt + 16..plt + 24].copy_from_slice(&(TEXT + 0x60).to_le_bytes());
    let built = build(&bytes).unwrap();
    assert_consistent(&built);
    assert_eq!(rule_at(&built, TEXT + 0x5f), Rule::NONE);
    let entry = rule_at(&built, TEXT + 0x70);
    assert_eq!((entry.cfa_register, entry.cfa_offset), (31, 0));
    assert_eq!(entry.return_address, SavedKind::Same as u8);
    // Its own information ends it.
    assert_eq!(rule_at(&built, TEXT + 0x90), Rule::NONE);
}

#[test]
fn absences_have_their_reason() {
    let file = ElfFile::new(X86_64, vec![0x90; 64]).bytes();
    assert_eq!(build(&file).unwrap_err(), Absent::NoUnwindInfo);
    assert_eq!(
        build(b"#!/bin/sh\n".as_slice()).unwrap_err(),
        Absent::NotElf
    );
    assert_eq!(build([].as_slice()).unwrap_err(), Absent::NotElf);
    assert_eq!(
        build(&file[..40]).unwrap_err(),
        Absent::Malformed(Malformed::Header)
    );
    assert_eq!(
        build(&file[..80]).unwrap_err(),
        Absent::Malformed(Malformed::Segments)
    );
    let changed = |at: usize, value: u8| {
        let mut file = file.clone();
        file[at] = value;
        build(&file).unwrap_err()
    };
    assert_eq!(changed(4, 1), Absent::WrongClass);
    assert_eq!(changed(5, 2), Absent::WrongClass);
    assert_eq!(changed(18, 3), Absent::WrongMachine(3));
    assert_eq!(changed(16, 1), Absent::NotLinked);
    assert_eq!(changed(68, 4), Absent::NoCode);
    let garbage = ElfFile::new(X86_64, vec![0x90; 64]).with(".eh_frame", vec![7; 64]);
    assert_eq!(build(&garbage.bytes()).unwrap_err(), Absent::NoUnwindInfo);
}

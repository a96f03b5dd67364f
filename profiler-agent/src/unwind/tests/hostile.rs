//! Files that lie. Nothing panics, and what a file costs is bounded by its size.

use proptest::prelude::*;

use super::elf_file::{DebugFrame, ElfFile, X86_64};
use super::{assert_consistent, build, rule_at};
use crate::unwind::{Absent, Malformed, TooLarge, build_page, layout};

const TEXT: u64 = 0x40_1000;

/// A file of this process: the vDSO, which every process has.
fn vdso() -> Vec<u8> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
    let (start, rest) = line.split_once('-').unwrap();
    let (end, _) = rest.split_once(' ').unwrap();
    let start = u64::from_str_radix(start, 16).unwrap();
    let end = u64::from_str_radix(end, 16).unwrap();
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut bytes = vec![0; (end - start) as usize];
    std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, start).unwrap();
    bytes
}

/// A file whose section headers are gone has the same table by its program headers.
#[test]
fn without_section_headers() {
    let mut bytes = vdso();
    let with = build(&bytes).unwrap();
    bytes[40..48].fill(0);
    bytes[58..64].fill(0);
    let without = build(&bytes).unwrap();
    assert_consistent(&with);
    assert_consistent(&without);
    assert!(with.statistics.entries > 2);
    assert_eq!(with.table, without.table);
}

#[test]
fn a_file_read_piece_by_piece_gives_the_same_table() {
    let bytes = vdso();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    assert_eq!(build(&file).unwrap(), build(&bytes).unwrap());
}

#[test]
fn a_span_of_terabytes_is_too_large() {
    let mut bytes = ElfFile::new(X86_64, vec![0x90; 64]).bytes();
    // A second executable segment, far away.
    let second = bytes[64..120].to_vec();
    let at = bytes.len();
    bytes.extend_from_within(64..120);
    bytes.extend(&second);
    bytes[at + 56 + 16..at + 56 + 24].copy_from_slice(&(1u64 << 46).to_le_bytes());
    bytes[32..40].copy_from_slice(&(at as u64).to_le_bytes());
    bytes[56] = 2;
    assert_eq!(build(&bytes).unwrap_err(), Absent::TooLarge(TooLarge::Span));
}

/// A CIE of 60 KB that each of 60,000 entries would have evaluated again.
#[test]
fn entries_that_share_a_bomb_are_too_much_work() {
    let mut frames = DebugFrame::default();
    let mut instructions = vec![0x0c, 7, 8, 0x90, 1];
    instructions.resize(60_000, 0);
    let cie = frames.cie(16, &instructions);
    for number in 0..60_000 {
        frames.fde(cie, TEXT + number, 1, &[]);
    }
    let file = ElfFile::new(X86_64, vec![0x90; 1 << 16]).with(".debug_frame", frames.bytes);
    assert_eq!(
        build(&file.bytes()).unwrap_err(),
        Absent::TooLarge(TooLarge::Work)
    );
}

/// One entry with a row for each byte is as large as a table gets per byte.
#[test]
fn a_row_for_each_byte() {
    let mut frames = DebugFrame::default();
    let cie = frames.cie(16, &[0x0c, 7, 8, 0x90, 1]);
    let mut instructions = Vec::new();
    for offset in 0..4096 {
        instructions.extend([0x0e, 8 + 8 * (offset % 15) as u8, 0x41]);
    }
    frames.fde(cie, TEXT, 4096, &instructions);
    let file = ElfFile::new(X86_64, vec![0x90; 4096]).with(".debug_frame", frames.bytes);
    let built = build(&file.bytes()).unwrap();
    assert_consistent(&built);
    for offset in 0..4096 {
        let rule = rule_at(&built, TEXT + offset);
        assert_eq!(rule.cfa_offset, 8 + 8 * (offset % 15) as i32);
    }
}

/// More distinct rules than a row can name: the rest is unsupported, and counted.
#[test]
fn more_rules_than_numbers() {
    let mut frames = DebugFrame::default();
    let cie = frames.cie(16, &[0x0c, 7, 8, 0x90, 1]);
    for number in 0..40_000u64 {
        let offset = [
            0x0e,
            0x80 | (number & 0x7f) as u8,
            0x80 | (number >> 7 & 0x7f) as u8,
            (number >> 14) as u8,
        ];
        frames.fde(cie, TEXT + number, 1, &offset);
    }
    let file = ElfFile::new(X86_64, vec![0x90; 40_000]).with(".debug_frame", frames.bytes);
    let built = build(&file.bytes()).unwrap();
    assert_consistent(&built);
    assert_eq!(built.table.rules.len(), profiler_common::unwind::Rule::MAX);
    assert_eq!(built.statistics.rules_full, 40_000 + 3 - 32_768);
}

#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Word(prop::sample::Index, u32),
    Copy(prop::sample::Index, prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, value)| Mutation::Set(at, value)),
        2 => (index(), prop_oneof![Just(0), Just(u32::MAX), Just(0x7fff_ffff), any::<u32>()])
            .prop_map(|(at, value)| Mutation::Word(at, value)),
        1 => (index(), index(), 1usize..64).prop_map(|(from, to, length)| Mutation::Copy(from, to, length)),
        1 => index().prop_map(Mutation::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation, focus: &std::ops::Range<usize>) {
    if bytes.len() < 8 {
        return;
    }
    let place = |index: &prop::sample::Index| {
        let end = focus.end.min(bytes.len());
        focus.start.min(end - 1) + index.index(end - focus.start.min(end - 1))
    };
    match mutation {
        Mutation::Set(at, value) => {
            let at = place(at);
            bytes[at] = *value;
        }
        Mutation::Word(at, value) => {
            let at = place(at).min(bytes.len() - 4);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        Mutation::Copy(from, to, length) => {
            let (from, to) = (place(from), place(to));
            let length = (*length).min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + length, to);
        }
        Mutation::Cut(at) => {
            let at = at.index(bytes.len());
            bytes.truncate(at);
        }
    }
}

/// The file range of the vDSO's `.eh_frame_hdr` and `.eh_frame`: where most structure is.
fn frames_of(bytes: &[u8]) -> std::ops::Range<usize> {
    let header = bytes[64..]
        .chunks_exact(56)
        .find(|header| header[..4] == [0x50, 0xe5, 0x74, 0x64]);
    let offset = u64::from_le_bytes(*header.unwrap()[8..].first_chunk().unwrap()) as usize;
    offset..offset + 1200
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn mutated_files_never_panic(
        mutations in prop::collection::vec(mutation(), 1..12),
        focus in 0..3,
        headers in any::<bool>(),
    ) {
        let mut bytes = vdso();
        let focus = match focus {
            0 => frames_of(&bytes),
            1 => 0..64 + 56 * 4,
            _ => 0..bytes.len(),
        };
        if !headers {
            bytes[40..48].fill(0);
        }
        for mutation in &mutations {
            apply(&mut bytes, mutation, &focus);
        }
        if let Ok(built) = build(&bytes) {
            assert_consistent(&built);
        }
    }

    #[test]
    fn arbitrary_frames_never_panic(
        frames in prop::collection::vec(any::<u8>(), 0..600),
        name in prop::sample::select(vec![".eh_frame", ".debug_frame"]),
    ) {
        let file = ElfFile::new(X86_64, vec![0x90; 4096]).with(name, frames);
        if let Ok(built) = build(&file.bytes()) {
            assert_consistent(&built);
        }
    }

    /// Entries that are well-formed but for their instructions.
    #[test]
    fn arbitrary_instructions_never_panic(
        entries in prop::collection::vec(
            (0u64..5000, 0u64..300, prop::collection::vec(any::<u8>(), 0..40)),
            1..40,
        ),
        initial in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut frames = DebugFrame::default();
        let cie = frames.cie(16, &initial);
        for (start, length, instructions) in &entries {
            frames.fde(cie, TEXT + start, *length, instructions);
        }
        let file = ElfFile::new(X86_64, vec![0x90; 4096]).with(".debug_frame", frames.bytes);
        if let Ok(built) = build(&file.bytes()) {
            assert_consistent(&built);
        }
    }
}

/// Addresses behind such code would wrap.
#[test]
fn code_at_the_end_of_the_address_space_is_malformed() {
    for below in [0x40, 0x1000, 0x1_0000, 0x2_0000] {
        let mut file = ElfFile::new(X86_64, vec![0x90; 64]);
        file.text_address = 0_u64.wrapping_sub(below);
        let bytes = file.bytes();
        let malformed = Absent::Malformed(Malformed::Segments);
        assert_eq!(build(&bytes).unwrap_err(), malformed, "{below:#x}");
        assert_eq!(layout(&bytes).unwrap_err(), malformed, "{below:#x}");
        assert_eq!(build_page(&bytes, 0), Ok(None), "{below:#x}");
    }
}

#[test]
fn a_page_that_a_file_does_not_have_has_no_table_of_its_own() {
    let bytes = vdso();
    let pages = layout(&bytes).unwrap().pages;
    for page in [pages, u32::MAX] {
        assert_eq!(build_page(&bytes, page), Ok(None));
    }
}

#[test]
fn a_section_that_decompresses_to_gigabytes_is_too_large() {
    let mut section = b"ZLIB".to_vec();
    section.extend((1_u64 << 32).to_be_bytes());
    section.extend([0x78, 0x9c, 0x03, 0x00]);
    let file = ElfFile::new(X86_64, vec![0x90; 64]).with(".zdebug_frame", section);
    assert_eq!(
        build(&file.bytes()).unwrap_err(),
        Absent::TooLarge(TooLarge::Section)
    );
}

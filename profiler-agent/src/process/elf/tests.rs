//! Real files against `readelf`, and hostile ones.

use std::fs::File;
use std::process::Command;

use proptest::prelude::*;

use super::{ElfError, htl_hash, read};
use crate::profile::Segment;

fn readelf(arguments: &[&str]) -> String {
    let output = Command::new("readelf").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A segment: offset, address, length in the file.
type Place = (u64, u64, u64);

fn places(segments: &[Segment]) -> Vec<Place> {
    let segments = segments.iter();
    segments
        .map(|segment| (segment.offset.0, segment.address.0, segment.length))
        .collect()
}

/// Segments with such flags as `readelf` shows them.
fn segments_of(path: &str, wanted: impl Fn(&str) -> bool) -> Vec<Place> {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let listing = readelf(&["-lW", path]);
    listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.first() == Some(&"LOAD"))
        .filter(|words| wanted(&words[6..words.len() - 1].concat()))
        .map(|words| (number(words[1]), number(words[2]), number(words[4])))
        .collect()
}

#[test]
fn real_files_as_readelf_shows_them() {
    let own = std::env::current_exe().unwrap();
    for path in [
        own.to_str().unwrap(),
        "/bin/true",
        "/bin/sh",
        "/usr/bin/python3",
        "/usr/bin/gcc",
    ] {
        let summary = read(&File::open(path).unwrap()).unwrap();
        let shown = readelf(&["-n", path]);
        let shown = shown
            .lines()
            .find_map(|line| line.trim().strip_prefix("Build ID: "));
        assert_eq!(
            summary.build_id.map(|id| id.to_string()).as_deref(),
            shown,
            "{path}"
        );
        let segments = places(&summary.segments);
        assert!(!segments.is_empty());
        let code = segments_of(path, |flags| flags.contains('E'));
        assert_eq!(segments, code, "{path}");
        let read_only = |flags: &str| flags.contains('R') && !flags.contains('W');
        let constants = segments_of(path, read_only);
        assert_eq!(places(&summary.constants), constants, "{path}");
    }
}

#[test]
fn a_build_id_without_a_note_segment_is_found_by_its_section() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("a.c");
    let program = directory.path().join("a.o");
    std::fs::write(&source, "int f(void) { return 1; }").unwrap();
    // A relocatable link keeps the note's section and makes no segments.
    let linked = Command::new("gcc")
        .args(["-r", "-nostdlib", "-Wl,--build-id=0x0102030405060708"])
        .arg("-o")
        .args([&program, &source])
        .status()
        .unwrap();
    assert!(linked.success());
    let summary = read(&File::open(&program).unwrap()).unwrap();
    assert_eq!(summary.build_id.unwrap().to_string(), "0102030405060708");
    assert!(summary.segments.is_empty());
}

#[test]
fn both_classes_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("a");
    let wide = std::fs::read("/bin/true").unwrap();
    assert_eq!(wide[4], 2);
    // What `objcopy` writes as a 32-bit file, `readelf` and we read alike.
    let made = Command::new("objcopy")
        .args([
            "-I",
            "binary",
            "-O",
            "elf32-i386",
            "-B",
            "i386",
            "/bin/true",
        ])
        .arg(&program)
        .status()
        .unwrap();
    assert!(made.success());
    let summary = read(&File::open(&program).unwrap()).unwrap();
    assert_eq!(summary.build_id, None);
    assert!(summary.segments.is_empty());
}

/// The hash of the semantic conventions, computed by the coreutils.
#[test]
fn the_hash_is_that_of_the_convention() {
    let directory = tempfile::tempdir().unwrap();
    for length in [0_usize, 1, 4095, 4096, 4097, 8192, 100_000] {
        let path = directory.path().join("file");
        let bytes: Vec<u8> = (0..length).map(|index| (index * 7 % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let script = format!(
            "{{ head -c 4096 {path}; tail -c 4096 {path}; printf '%016x' {length} | xxd -r -p; }} | sha256sum",
            path = path.display()
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let expected = String::from_utf8(output.stdout).unwrap()[..32].to_owned();
        let hash = htl_hash(&File::open(&path).unwrap(), length as u64).unwrap();
        assert_eq!(hash.to_string(), expected, "{length}");
    }
}

#[test]
fn what_is_no_elf_file_says_so() {
    assert_eq!(read(b"".as_slice()), Err(ElfError::NotElf));
    assert_eq!(
        read(b"#!/bin/sh\nexec true\n".as_slice()),
        Err(ElfError::NotElf)
    );
    assert_eq!(
        read(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".as_slice()),
        Err(ElfError::ShortHeader)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut bytes = bytes;
        drop(read(&bytes[..]));
        if bytes.len() > 6 {
            bytes[..4].copy_from_slice(b"\x7fELF");
            (bytes[4], bytes[5]) = (1 + bytes[4] % 2, 1);
            drop(read(&bytes[..]));
        }
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(
        damage in proptest::collection::vec((0..0x400_usize, any::<u8>()), 1..32),
        length in 0..0x4000_usize,
    ) {
        let mut bytes = std::fs::read("/bin/true").unwrap();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        drop(read(&bytes[..]));
        bytes.truncate(length);
        drop(read(&bytes[..]));
        prop_assert_eq!(htl_hash(&bytes[..], length as u64 + 0x10_0000), None);
    }
}

//! Real files against `readelf`, and files that lie.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::Sym as _;
use proptest::prelude::*;

use super::dynamic::Dynamic;
use super::symbol::{Symbol, for_each};
use super::{ElfError, ElfFile, Machine, Source};
use crate::profile::ElfAddress;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

fn program() -> Vec<u8> {
    std::fs::read("/bin/true").unwrap()
}

/// The library whose symbols programs look up.
fn library() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains("/libc.so"));
    line.unwrap().split_whitespace().last().unwrap().to_owned()
}

/// Number, name, address, offset and length of the sections as `readelf` shows them.
fn sections_of(path: &str) -> Vec<(String, u64, u64, u64)> {
    let listing = run("readelf", &["-SW", path]);
    let lines = listing.lines().filter_map(|line| line.split_once(']'));
    lines
        .filter(|(number, _)| number.trim_start().starts_with('['))
        .map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() > 5 && words[0].starts_with('.'))
        .map(|words| {
            let numbers = (number(words[2]), number(words[3]), number(words[4]));
            (words[0].to_owned(), numbers.0, numbers.1, numbers.2)
        })
        .collect()
}

fn check_sections<S: Source + ?Sized>(source: &S, expected: &[(String, u64, u64, u64)]) {
    let file = ElfFile::parse(source).unwrap();
    let sections = file.sections().unwrap();
    assert!(!expected.is_empty());
    for (name, address, offset, length) in expected {
        let section = sections.named(name).unwrap();
        assert_eq!(section.address.0, *address, "{name}");
        assert_eq!(section.offset.0, *offset, "{name}");
        assert_eq!(section.length, *length, "{name}");
    }
    assert!(sections.named(".no such section").is_none());
    // A name is whole.
    assert!(sections.named(".tex").is_none());
}

#[test]
fn sections_are_those_that_readelf_shows() {
    for path in ["/bin/true", &library()] {
        let expected = sections_of(path);
        check_sections(&File::open(path).unwrap(), &expected);
        check_sections(&std::fs::read(path).unwrap(), &expected);
    }
}

/// Bytes of a debug file that was decompressed lie anywhere in memory.
#[test]
fn a_file_may_lie_at_any_address() {
    let mut bytes = vec![0];
    bytes.extend(program());
    check_sections(&bytes[1..], &sections_of("/bin/true"));
}

/// Where there are too many sections for the header's fields, the first section has their number and that of the names.
#[test]
fn many_sections_are_counted_by_the_first() {
    let mut bytes = program();
    let sections = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    let (count, names) = (bytes[60], bytes[62]);
    bytes[60..64].copy_from_slice(&[0, 0, 0xff, 0xff]);
    bytes[sections + 32] = count;
    bytes[sections + 40] = names;
    check_sections(&bytes, &sections_of("/bin/true"));
    // More than are looked at.
    bytes[sections + 34] = 1;
    assert!(ElfFile::parse(&bytes).unwrap().sections().is_none());
}

/// No loader asks for the version in the first bytes.
#[test]
fn the_version_of_the_format_is_not_asked_for() {
    let mut bytes = program();
    bytes[6] = 0;
    check_sections(&bytes, &sections_of("/bin/true"));
    let file = ElfFile::parse(&bytes).unwrap();
    assert!(file.segments().unwrap().loaded().count() > 1);
    assert_eq!(
        file.header.known_machine().is_some(),
        cfg!(target_pointer_width = "64")
    );
}

#[test]
fn other_files_are_told_apart() {
    let error = |bytes: &[u8]| ElfFile::parse(bytes).err();
    assert_eq!(error(b""), Some(ElfError::NotElf));
    assert_eq!(error(b"#!/bin/sh\n"), Some(ElfError::NotElf));
    let mut bytes = program();
    assert_eq!(error(&bytes[..52]), Some(ElfError::ShortHeader));
    // Of 32 bits, which are 52 bytes.
    bytes[4] = 1;
    let narrow = ElfFile::parse(&bytes[..52]).unwrap();
    assert!(!narrow.header.is_64());
    assert!(ElfFile::parse_64(&bytes[..]).is_none());
    bytes[5] = 2;
    assert_eq!(error(&bytes), Some(ElfError::WrongClass));
}

/// A file without segments has none, whatever their size would be.
#[test]
fn no_segments_are_no_mistake() {
    let mut bytes = program();
    bytes[54..58].fill(0);
    let file = ElfFile::parse(&bytes).unwrap();
    assert_eq!(file.segments().unwrap().iter().count(), 0);
    bytes[56] = 1;
    assert_eq!(
        ElfFile::parse(&bytes).unwrap().segments().err(),
        Some(ElfError::ProgramHeaders)
    );
}

#[test]
fn segments_beyond_what_the_kernel_takes_are_not_looked_at() {
    let mut bytes = program();
    let at = bytes.len().next_multiple_of(8);
    bytes.resize(at + 1_170 * 56, 0);
    bytes[32..40].copy_from_slice(&(at as u64).to_le_bytes());
    bytes[56..58].copy_from_slice(&[0xff, 0xff]);
    let file = ElfFile::parse(&bytes).unwrap();
    assert_eq!(file.segments().unwrap().iter().count(), 1_170);
    bytes.pop();
    let file = ElfFile::parse(&bytes).unwrap();
    assert_eq!(file.segments().err(), Some(ElfError::ProgramHeaders));
}

/// Linker scripts put notes into sections of any name.
#[test]
fn a_build_id_is_found_in_a_section_of_any_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.c");
    let path = |name: &str| path.with_file_name(name).to_str().unwrap().to_owned();
    std::fs::write(path("a.c"), "int main(void) { return 0; }").unwrap();
    run(
        "gcc",
        &["-Wl,--build-id=sha1", "-o", &path("a"), &path("a.c")],
    );
    run(
        "objcopy",
        &[
            "--rename-section",
            ".note.gnu.build-id=.notes",
            &path("a"),
            &path("b"),
        ],
    );
    let shown = run("readelf", &["-n", &path("b")]);
    let shown = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("Build ID: "));
    let shown = shown.expect("readelf finds it").to_owned();
    let file = File::open(path("b")).unwrap();
    let file = ElfFile::parse(&file).unwrap();
    let found = file.sections().unwrap().build_id();
    assert_eq!(found.unwrap().to_string(), shown);
    let segments = file.segments().unwrap();
    assert_eq!(file.build_id(&segments), found);
}

/// Every function that the library exports has its address by the hash table.
#[test]
fn symbols_are_found_by_their_hash() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("a.c");
    let code: String = (0..300)
        .map(|number| format!("int function_{number}(void) {{ return {number}; }}\n"))
        .collect();
    std::fs::write(&source, code).unwrap();
    for style in ["gnu", "sysv", "both"] {
        let path = directory.path().join(style);
        let style = format!("-Wl,--hash-style={style}");
        let path = path.to_str().unwrap();
        let source = source.to_str().unwrap();
        run("gcc", &["-shared", "-fPIC", &style, "-o", path, source]);
        let listing = run("readelf", &["-W", "--dyn-syms", path]);
        let file = File::open(path).unwrap();
        let file = ElfFile::parse_64(&file).unwrap();
        let segments = file.segments().unwrap();
        let dynamic = Dynamic::read(&file, &segments).unwrap();
        let mut seen = 0;
        for line in listing.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(name) = words.get(7).filter(|name| name.starts_with("function_")) else {
                continue;
            };
            let found = dynamic.symbol(&file, &segments, name.as_bytes(), |_| true);
            let (index, symbol) = found.unwrap();
            assert_eq!(format!("{index}:"), words[0]);
            assert_eq!(symbol.st_value(LE), number(words[1]));
            seen += 1;
        }
        assert_eq!(seen, 300);
        let missing = dynamic.symbol(&file, &segments, b"function_300", |_| true);
        assert!(missing.is_none());
        let unwanted = dynamic.symbol(&file, &segments, b"function_3", |_| false);
        assert!(unwanted.is_none());
    }
}

/// As `readelf` shows the functions of the table.
#[test]
fn a_symbol_table_is_read_to_its_end() {
    let path = library();
    let listing = run("readelf", &["-W", "--dyn-syms", &path]);
    let shown = listing
        .lines()
        .filter(|line| line.split_whitespace().nth(3) == Some("FUNC"))
        .count();
    let file = File::open(Path::new(&path)).unwrap();
    let file = ElfFile::parse_64(&file).unwrap();
    let table = file.sections().unwrap().symbols(elf::SHT_DYNSYM).unwrap();
    let (mut functions, mut malloc) = (0, None);
    for_each(file.source, &table.symbols, u64::MAX, |symbol: &Symbol| {
        functions += usize::from(symbol.st_type() == elf::STT_FUNC);
        if table.is_named(file.source, symbol, b"malloc") {
            malloc = Some(symbol.st_value(LE));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(functions, shown);
    let line = listing
        .lines()
        .find(|line| line.contains(" malloc@"))
        .unwrap();
    let value = line.split_whitespace().nth(1).unwrap();
    assert_eq!(malloc, Some(number(value)));
}

#[test]
fn addresses_that_wrap_have_no_place() {
    let mut bytes = program();
    let header = {
        let file = ElfFile::parse(&bytes).unwrap();
        assert_ne!(file.header.known_machine(), None::<Machine>);
        let segments = file.segments().unwrap();
        let index = segments.iter().position(|one| one.kind == elf::PT_LOAD);
        let table = u64::from_le_bytes(bytes[32..40].try_into().unwrap()) as usize;
        table + 56 * index.unwrap()
    };
    let mut put = |field: usize, value: u64| {
        bytes[header + field..header + field + 8].copy_from_slice(&value.to_le_bytes());
    };
    put(8, u64::MAX - 4); // p_offset
    put(16, u64::MAX - 8); // p_vaddr
    put(32, u64::MAX); // p_filesz
    let file = ElfFile::parse(&bytes).unwrap();
    let segments = file.segments().unwrap();
    let place = |address| {
        segments
            .position(ElfAddress(address))
            .map(|found| found.0.0)
    };
    assert_eq!(place(u64::MAX - 8), Some(u64::MAX - 4));
    assert_eq!(place(u64::MAX - 4), Some(u64::MAX));
    assert_eq!(place(u64::MAX - 3), None);
    let load = segments.loaded().next().unwrap().within(bytes.len() as u64);
    assert_eq!((load.place.length, load.addresses().is_empty()), (0, true));
}

/// Reads whatever there is to read.
fn read_all(bytes: &[u8]) {
    let Ok(file) = ElfFile::parse(bytes) else {
        return;
    };
    if let Ok(segments) = file.segments() {
        for segment in segments.iter() {
            let _ = segments.position(segment.place.address);
        }
        let _ = file.build_id(&segments);
        if let Some(dynamic) = Dynamic::read(&file, &segments) {
            let _ = dynamic.symbol(&file, &segments, b"malloc", |_| true);
            dynamic.for_each_relocation(&file, &segments, |_| ControlFlow::Continue(()));
        }
    }
    let Some(sections) = file.sections() else {
        return;
    };
    for section in sections.iter() {
        if let Some(content) = sections.content(&section) {
            let plain = content.decompress(1 << 20);
            assert!(plain.is_none_or(|plain| plain.len() as u64 == content.size()));
            let beginning = content.beginning(1 << 10);
            assert!(beginning.is_none_or(|beginning| beginning.len() <= 1 << 10));
        }
    }
    for table in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
        if let Some(table) = sections.symbols(table) {
            for_each(bytes, &table.symbols, u64::MAX, |symbol: &Symbol| {
                let _ = table.name(bytes, symbol, 256);
                ControlFlow::Continue(())
            });
        }
    }
}

proptest! {
    #[test]
    fn any_change_is_read_or_refused(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..32),
        cut in any::<prop::sample::Index>(),
    ) {
        let original = program();
        let mut bytes = original.clone();
        // Headers lie at the beginning and at the end.
        let ends = 0x400;
        for (at, byte) in damage {
            let at = at.index(2 * ends);
            let at = if at < ends { at } else { original.len() - (at - ends) - 1 };
            bytes[at] = byte;
        }
        read_all(&bytes);
        bytes.truncate(cut.index(original.len()));
        read_all(&bytes);
    }
}

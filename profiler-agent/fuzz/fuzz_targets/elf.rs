//! ELF files that processes have mapped. As property tests: `elf::tests`.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use object::elf::{SHT_DYNSYM, SHT_SYMTAB};
use profiler_agent::elf::dynamic::Dynamic;
use profiler_agent::elf::symbol::{Symbol, for_each};
use profiler_agent::elf::{ElfFile, Source as _};
use profiler_agent::process::elf;
use profiler_agent::thread_local::facts_of;

/// Bytes that are decompressed.
const LIMIT: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(summary) = elf::read(bytes) {
        assert!(summary.segments.is_sorted_by_key(|segment| segment.offset));
    }
    assert!(elf::htl_hash(bytes, bytes.len() as u64).is_some());
    let _ = facts_of(bytes);
    let Some(file) = ElfFile::parse_64(bytes) else {
        return;
    };
    if let Ok(segments) = file.segments() {
        for segment in segments.loaded() {
            if let Some((offset, left)) = segments.position(segment.place.address) {
                assert!(left > 0 && offset.0.checked_add(left - 1).is_some());
            }
        }
        if let Some(dynamic) = Dynamic::read(&file, &segments) {
            let _ = dynamic.symbol(&file, &segments, b"malloc", |_| true);
            dynamic.for_each_relocation(&file, &segments, |_| ControlFlow::Continue(()));
        }
    }
    let Some(sections) = file.sections() else {
        return;
    };
    let _ = (sections.build_id(), sections.stored(".debug_info"));
    for section in sections.iter() {
        let Some(content) = sections.content(&section) else {
            continue;
        };
        assert!(content.is_compressed() || content.size() == section.length);
        if let Some(plain) = content.decompress(LIMIT) {
            assert!(plain.len() as u64 == content.size() && content.size() <= LIMIT);
        }
    }
    for kind in [SHT_SYMTAB, SHT_DYNSYM] {
        let Some(table) = sections.symbols(kind) else {
            continue;
        };
        let mut seen = 0;
        for_each(bytes, &table.symbols, u64::MAX, |symbol: &Symbol| {
            seen += 1;
            let name = table.name(bytes, symbol, 256);
            assert!(name.is_none_or(|name| !name.is_empty()));
            ControlFlow::Continue(())
        });
        assert!(seen <= bytes.length() / size_of::<Symbol>() as u64);
    }
});

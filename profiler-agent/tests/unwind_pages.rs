//! The table of a page is the same whether it is built alone or cut out of that of the whole file, which other tests hold
//! against call frame information itself.

use std::fs;
use std::path::{Path, PathBuf};

use profiler_agent::profile::UnwindTable;
use profiler_agent::unwind::{build, build_page, layout, page_of};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::{PAGE_BITS, PAGE_BUCKETS, rule_index};

/// Files that are compared: libraries of this machine, in order of their names, and this test.
const FILES: usize = 60;
/// Largest of them.
const MAX_BYTES: u64 = 48 << 20;

fn rule(table: Option<&UnwindTable>, offset: u64) -> Rule {
    let Some(table) = table else {
        return Rule::NONE;
    };
    assert_eq!(table.buckets, PAGE_BUCKETS);
    let index = rule_index(table.words.as_slice(), PAGE_BUCKETS, offset).expect("in the page");
    table.rules[usize::from(index)]
}

/// Compares all pages of a file; how many could be built alone, of how many.
fn compare(path: &Path) -> (u32, u32) {
    let bytes = fs::read(path).expect("the file can be read");
    let Ok(whole) = build(bytes.as_slice()) else {
        return (0, 0);
    };
    let layout = layout(bytes.as_slice()).expect("the file has a table");
    assert_eq!(layout.start, whole.table.start);
    let mut alone = 0;
    for page in 0..layout.pages {
        let cut = page_of(&whole.table, page);
        let start = whole.table.start.0 + (u64::from(page) << PAGE_BITS);
        if let Some(cut) = &cut {
            assert_eq!(cut.start.0, start);
        }
        for offset in 0..1 << PAGE_BITS {
            let position = (u64::from(page) << PAGE_BITS) + offset;
            let table = &whole.table;
            let expected = rule_index(table.words.as_slice(), table.buckets, position);
            let expected = expected.map_or(Rule::NONE, |index| table.rules[usize::from(index)]);
            assert_eq!(
                rule(cut.as_ref(), offset),
                expected,
                "{path:?} {position:#x}"
            );
        }
        let Some(built) = build_page(bytes.as_slice(), page).expect("the file has a table") else {
            continue;
        };
        alone += 1;
        assert_eq!(built.start.0, start);
        for offset in 0..1 << PAGE_BITS {
            assert_eq!(
                rule(Some(&built), offset),
                rule(cut.as_ref(), offset),
                "{path:?} {:#x}",
                start + offset
            );
        }
    }
    (alone, layout.pages)
}

#[test]
fn pages_that_are_built_alone_are_those_of_the_whole_file() {
    let mut files = vec![PathBuf::from("/proc/self/exe")];
    let directory = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let mut libraries: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the machine has libraries")
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.to_string_lossy().contains(".so"))
        .filter(|path| {
            // Each file once: many have links.
            fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.len() < MAX_BYTES)
        })
        .collect();
    libraries.sort();
    files.extend(libraries.into_iter().take(FILES));
    let (mut alone, mut pages) = (0, 0);
    for file in &files {
        let (built, all) = compare(file);
        println!("{}: {built} of {all} pages", file.display());
        alone += built;
        pages += all;
    }
    if cfg!(target_arch = "x86_64") {
        assert!(alone > pages / 2, "{alone} of {pages} pages");
    }
}

//! The line table of programs whose bytes are made here, in each layout, as they should be and altered.

mod hostile;
mod image;

use super::header::Format;
use super::{Frames, LineTable, Malformed, Refusal, Steps, is_go};
use crate::profile::ElfAddress;
use image::{Program, TABLE_OFFSET, TEXT};

const FORMATS: [Format; 3] = [Format::Go116, Format::Go118, Format::Go120];

fn frames<'data>(table: &LineTable<'data>, offset: u64) -> Frames<'data> {
    let address = ElfAddress(TEXT + offset);
    let function = table.lookup(address).unwrap();
    function.frames(address, &mut Steps(1 << 16))
}

/// `name file:line start`, innermost first.
fn shown(frames: &Frames<'_>) -> Vec<String> {
    frames
        .frames
        .iter()
        .map(|frame| {
            format!(
                "{} {}:{} {}",
                String::from_utf8_lossy(frame.name),
                String::from_utf8_lossy(frame.file.unwrap_or(b"?")),
                frame.line,
                frame.start_line
            )
        })
        .collect()
}

#[test]
fn every_layout_is_read() {
    for format in FORMATS {
        let file = Program::new(format).build();
        let table = LineTable::find(&file).unwrap();
        assert_eq!(table.len(), 4);
        assert_eq!((table.start().0, table.end().0), (TEXT, TEXT + 176));
        assert!(table.has_inline_trees());
        let names: Vec<_> = table.functions().filter_map(|found| found.name()).collect();
        assert_eq!(
            names,
            [
                &b"runtime.goexit"[..],
                b"main.main",
                b"main.(*T).Get",
                b"main.C"
            ]
        );
        for function in table.functions() {
            let name = function.name().unwrap();
            assert!(function.is_named(name) && !function.is_named(&name[..name.len() - 1]));
            assert!(!function.is_named(b"main.mainly"));
            assert_eq!(function.short_name(name.len()), Some(name));
            assert_eq!(function.short_name(name.len() - 1), None);
        }
        let goexit = table.lookup(ElfAddress(TEXT + 15)).unwrap();
        assert_eq!((goexit.id(), goexit.entry().0), (8, TEXT));
        let flags = goexit.flags();
        assert!(flags.top_frame() && flags.assembly() && !flags.writes_stack_pointer());
        assert_eq!(goexit.file(), Some(&b"/src/main.go"[..]));
        let main = table.lookup(ElfAddress(TEXT + 16)).unwrap();
        let deltas: Vec<_> = main
            .stack_deltas()
            .map(|item| {
                item.map(|(range, delta)| (range.start.0 - TEXT, range.end.0 - TEXT, delta))
            })
            .collect();
        assert_eq!(
            deltas,
            [Ok((16, 20, 0)), Ok((20, 76, 24)), Ok((76, 80, 0))],
            "{format:?}"
        );
        assert!(table.lookup(ElfAddress(TEXT - 1)).is_none());
        assert!(table.lookup(ElfAddress(TEXT + 176)).is_none());
        let again = LineTable::with(&file, table.layout()).unwrap();
        assert_eq!(again.layout(), table.layout());
    }
}

#[test]
fn calls_are_inlined_innermost_first_with_the_lines_of_their_call_sites() {
    for format in FORMATS {
        let file = Program::new(format).build();
        let table = LineTable::find(&file).unwrap();
        let start = |line: u32| if format == Format::Go120 { line } else { 0 };
        assert_eq!(
            shown(&frames(&table, 16 + 20)),
            [
                format!("main.inner[int] /src/small.go:21 {}", start(20)),
                format!("main.outer /src/main.go:4 {}", start(10)),
                format!("main.main /src/main.go:4 {}", start(3)),
            ],
            "{format:?}"
        );
        assert_eq!(shown(&frames(&table, 16 + 10)).len(), 2);
        assert_eq!(
            shown(&frames(&table, 16 + 63)),
            [format!("main.main /src/main.go:6 {}", start(3))]
        );
    }
}

#[test]
fn wrappers_are_hidden_where_something_else_is_shown() {
    // No version is stated: the greatest function id is that of wrappers.
    let file = Program::new(Format::Go120).build();
    let table = LineTable::find(&file).unwrap();
    assert_eq!(table.layout().version, None);
    assert_eq!(shown(&frames(&table, 80)), ["main.T.Get /src/main.go:1 30"]);
    let alone = frames(&table, 80 + 40);
    assert_eq!(shown(&alone), ["main.(*T).Get /src/main.go:1 1"]);
    assert!(alone.frames[0].wrapper);
}

#[test]
fn code_without_lines_has_a_name() {
    let file = Program::new(Format::Go120).build();
    let table = LineTable::find(&file).unwrap();
    assert_eq!(shown(&frames(&table, 150)), ["main.C ?:0 0"]);
    let function = table.lookup(ElfAddress(TEXT + 150)).unwrap();
    assert!(function.lines().next().is_none());
    assert!(function.stack_deltas().next().is_none());
}

#[test]
fn a_newer_version_s_moduledata_is_searched() {
    for gofunc in [24, 37, 43, 63] {
        let mut program = Program::new(Format::Go120);
        program.gofunc = gofunc;
        program.text_in_header = false;
        let file = program.build();
        let table = LineTable::find(&file).unwrap();
        assert_eq!(frames(&table, 16 + 20).frames.len(), 3, "{gofunc}");
    }
}

#[test]
fn inline_trees_that_are_not_found_cost_inlined_calls_alone() {
    let mut program = Program::new(Format::Go120);
    program.functions[1].calls[1].2 = 1000;
    let file = program.build();
    let table = LineTable::find(&file).unwrap();
    assert!(!table.has_inline_trees());
    let found = frames(&table, 16 + 20);
    assert_eq!(found.malformed, Some(Malformed::InlineTree));
    assert_eq!(shown(&found), ["main.main /src/small.go:21 3"]);
}

#[test]
fn a_call_that_is_its_own_caller_is_malformed() {
    let mut program = Program::new(Format::Go120);
    program.functions[1].calls[1].2 = 20;
    let file = program.build();
    let table = LineTable::find(&file).unwrap();
    let found = frames(&table, 16 + 20);
    assert_eq!(found.malformed, Some(Malformed::InlineTree));
    assert_eq!(found.frames.len(), 1);
    let function = table.lookup(ElfAddress(TEXT + 36)).unwrap();
    let mut few = Steps(3);
    let found = function.frames(ElfAddress(TEXT + 36), &mut few);
    assert!(found.malformed.is_some());
    assert_eq!(few.0, 0);
}

#[test]
fn what_is_no_table_says_why() {
    let file = Program::new(Format::Go120).build();
    let refusal = |file: &[u8]| LineTable::find(file).map(|_| ()).unwrap_err();
    assert_eq!(refusal(b"#!/bin/sh"), Refusal::NotElf);
    assert!(!is_go(b"#!/bin/sh"));
    let mut without = file.clone();
    without[TABLE_OFFSET] = 0;
    assert_eq!(refusal(&without), Refusal::Absent);
    let mut elsewhere = Program::new(Format::Go120);
    elsewhere.text_in_header = false;
    let mut elsewhere = elsewhere.build();
    // moduledata is gone, and with it the text's start.
    let end = elsewhere.len();
    elsewhere[end - 64 * 8..].fill(0);
    assert_eq!(refusal(&elsewhere), Refusal::Text);
}

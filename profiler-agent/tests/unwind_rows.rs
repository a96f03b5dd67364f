//! Every row that `readelf -wF` (binutils: another reader of call frame information) prints for a
//! file, against the rule that the file's table has at that address.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use profiler_agent::profile::UnwindTable;
use profiler_agent::unwind::{Built, build};
use profiler_common::unwind::table::rule_index;
use profiler_common::unwind::{CfaKind, Rule, SavedKind};

/// A row as readelf prints it.
struct Printed {
    address: u64,
    cfa: String,
    columns: HashMap<String, String>,
}

impl Printed {
    fn column(&self, name: &str) -> &str {
        // A column that is not printed is never changed.
        self.columns.get(name).map_or("u", String::as_str)
    }
}

/// Calls `row` with every row of `section` of `path` that holds for at least one byte.
fn readelf(path: &Path, wanted: &str, mut row: impl FnMut(Printed)) {
    let mut child = Command::new("readelf")
        .arg("-wF")
        .arg(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut section = String::new();
    let mut end = 0;
    let mut header: Vec<String> = Vec::new();
    let mut last: Option<Printed> = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // A register is printed as `r8 (r8)`.
        let fields: Vec<&str> = line
            .split_whitespace()
            .filter(|field| !field.starts_with('('))
            .collect();
        if let Some(name) = line.strip_prefix("Contents of the ") {
            section = name.to_owned();
        }
        let range = fields.iter().find_map(|field| field.strip_prefix("pc="));
        let ends_entry = fields.is_empty() || range.is_some();
        let next = match fields.first() {
            Some(first) if header.len() > 1 && !ends_entry => u64::from_str_radix(first, 16).ok(),
            _ => None,
        };
        if let Some(printed) = last.take() {
            let until = next.unwrap_or(end);
            if printed.address < until && section.starts_with(wanted) {
                row(printed);
            }
        }
        if let Some(range) = range {
            let (_, text) = range.split_once("..").unwrap();
            end = u64::from_str_radix(text, 16).unwrap();
            header.clear();
        } else if fields.first() == Some(&"LOC") {
            header = fields.iter().map(|field| (*field).to_owned()).collect();
        } else if fields.is_empty() || fields.contains(&"CIE") {
            header.clear();
            end = 0;
        } else if let Some(address) = next {
            let columns = header
                .iter()
                .cloned()
                .zip(fields.iter().map(|field| (*field).to_owned()));
            last = Some(Printed {
                address,
                cfa: fields[1].to_owned(),
                columns: columns.skip(2).collect(),
            });
        }
    }
    // It also reports trouble with sections that are not asked for: the status says nothing.
    child.wait().unwrap();
}

struct Machine {
    registers: HashMap<String, u8>,
    frame_pointer: &'static str,
    base_register: &'static str,
    link_register: bool,
}

impl Machine {
    fn x86_64() -> Self {
        let names = [
            "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ];
        Self {
            registers: names
                .iter()
                .map(|name| (*name).to_owned())
                .zip(0..)
                .collect(),
            frame_pointer: "rbp",
            base_register: "rbx",
            link_register: false,
        }
    }
    fn aarch64() -> Self {
        let mut registers: HashMap<String, u8> = (0..31).map(|n| (format!("x{n}"), n)).collect();
        registers.insert("sp".to_owned(), 31);
        Self {
            registers,
            frame_pointer: "x29",
            base_register: "x19",
            link_register: true,
        }
    }

    /// `rsp+16` as register and offset.
    fn register_offset(&self, text: &str) -> Option<(u8, i32)> {
        let at = text.find(['+', '-'])?;
        let offset = text[at..].trim_start_matches('+').parse().unwrap();
        Some((*self.registers.get(&text[..at])?, offset))
    }

    fn saved_agrees(text: &str, kind: u8, offset: i32) -> bool {
        if let Some(at) = text.strip_prefix('c') {
            let wanted: i32 = at.trim_start_matches('+').parse().unwrap();
            return kind == SavedKind::AtCfa as u8 && offset == wanted;
        }
        if let Some(number) = text
            .strip_prefix('r')
            .and_then(|number| number.parse().ok())
        {
            let number: i32 = number;
            return kind == SavedKind::Undefined as u8
                || kind == SavedKind::InRegister as u8 && offset == number;
        }
        match text {
            // readelf prints `u` for undefined and for never mentioned.
            "u" => kind == SavedKind::Same as u8 || kind == SavedKind::Undefined as u8,
            "s" => kind == SavedKind::Same as u8,
            "exp" => {
                kind == SavedKind::AtStackPointer as u8
                    || kind == SavedKind::AtFramePointer as u8
                    || kind == SavedKind::Undefined as u8
            }
            _ => kind == SavedKind::Undefined as u8,
        }
    }

    fn agrees(&self, printed: &Printed, rule: &Rule) -> bool {
        let return_address = printed.column("ra");
        let recoverable = return_address.starts_with(['c', 'r']) || return_address == "exp";
        if *rule == Rule::END_OF_STACK {
            return return_address == "u";
        }
        if *rule == Rule::UNSUPPORTED {
            return printed.cfa == "exp" || !recoverable || printed.columns.contains_key("rsp");
        }
        let cfa_agrees = match self.register_offset(&printed.cfa) {
            Some((register, offset)) => {
                rule.cfa == CfaKind::Register as u8
                    && rule.cfa_register == register
                    && rule.cfa_offset == offset
            }
            None => {
                printed.cfa == "exp"
                    && (rule.cfa == CfaKind::Dereference as u8 || rule.cfa == CfaKind::Plt as u8)
            }
        };
        let return_address_agrees = if self.link_register && matches!(return_address, "u" | "s") {
            rule.return_address == SavedKind::Same as u8
        } else {
            recoverable
                && Self::saved_agrees(
                    return_address,
                    rule.return_address,
                    rule.return_address_offset,
                )
        };
        cfa_agrees
            && return_address_agrees
            && Self::saved_agrees(
                printed.column(self.frame_pointer),
                rule.frame_pointer,
                rule.frame_pointer_offset,
            )
            && Self::saved_agrees(
                printed.column(self.base_register),
                rule.base_register,
                rule.base_register_offset,
            )
    }
}

fn rule_at(table: &UnwindTable, address: u64) -> Rule {
    let offset = address - table.start.0;
    let index = rule_index(table.words.as_slice(), table.buckets, offset).unwrap();
    table.rules[usize::from(index)]
}

/// Rows of `.eh_frame` compared; every one agrees.
fn check(path: &Path, machine: &Machine) -> u64 {
    check_section(path, machine, ".eh_frame")
}

/// Rows of `section` compared; every one agrees.
fn check_section(path: &Path, machine: &Machine, section: &str) -> u64 {
    let Built { table, statistics } = build(&File::open(path).unwrap()).unwrap();
    let (mut rows, mut unsupported) = (0, 0);
    readelf(path, section, |printed| {
        rows += 1;
        let rule = rule_at(&table, printed.address);
        unsupported += u64::from(rule == Rule::UNSUPPORTED);
        assert!(
            machine.agrees(&printed, &rule),
            "{}: {:#x}: {} {:?}, ours {rule:?}",
            path.display(),
            printed.address,
            printed.cfa,
            printed.columns,
        );
    });
    println!(
        "{}: {rows} rows, {unsupported} unsupported, {statistics:?}",
        path.display()
    );
    // `longjmp`, `vfork` and the ends of `__builtin_eh_return`: return addresses in registers.
    assert!(unsupported <= 8 + rows / 1000);
    rows
}

#[test]
#[cfg(target_arch = "x86_64")]
fn libraries_of_this_process() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths: Vec<&str> = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|path| path.contains(".so"))
        .collect();
    paths.dedup();
    let rows: u64 = paths
        .iter()
        .map(|path| check(Path::new(path), &Machine::x86_64()))
        .sum();
    assert!(rows > 20_000, "{rows}");
}

#[test]
fn libraries_where_installed() {
    let (x86_64, aarch64) = (Machine::x86_64(), Machine::aarch64());
    let files = [
        ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", &x86_64),
        ("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", &x86_64),
        ("/usr/lib/x86_64-linux-gnu/libx265.so.199", &x86_64),
        ("/usr/aarch64-linux-gnu/lib/libc.so.6", &aarch64),
        ("/usr/aarch64-linux-gnu/lib/libstdc++.so.6", &aarch64),
        ("/usr/aarch64-linux-gnu/lib/libgcc_s.so.1", &aarch64),
    ];
    for (path, machine) in files {
        if Path::new(path).exists() {
            assert!(check(Path::new(path), machine) > 100);
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Programs for aarch64, by what protects their branches: what distributions build with (`standard`), leaf
/// functions too, the other key, and nothing.
#[test]
fn signed_return_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unwind_walk/stacks.c");
    for (protection, signs) in [
        ("none", false),
        ("standard", true),
        ("pac-ret+leaf", true),
        ("pac-ret+b-key", true),
    ] {
        let program = directory.path().join(protection);
        run(Command::new("aarch64-linux-gnu-gcc")
            .args(["-O2", "-g"])
            .arg(format!("-mbranch-protection={protection}"))
            .arg("-o")
            .args([&program, &source]));
        let instructions = run(Command::new("readelf").arg("-wf").arg(&program));
        let states = instructions.matches("AARCH64_negate_ra_state").count();
        // Not only in what the compiler's start files bring.
        assert_eq!(states > 10, signs, "{protection}: {states}");
        assert!(check(&program, &Machine::aarch64()) > 30);
        let Built { statistics, .. } = build(&File::open(&program).unwrap()).unwrap();
        assert_eq!(
            (statistics.undecodable, statistics.malformed_entries),
            (0, 0)
        );

        // The same rows without `.eh_frame`.
        let plain = directory.path().join("debug-frame");
        run(Command::new("aarch64-linux-gnu-gcc")
            .args(["-O2", "-g", "-fno-asynchronous-unwind-tables"])
            .arg("-fno-unwind-tables")
            .arg(format!("-mbranch-protection={protection}"))
            .arg("-o")
            .args([&plain, &source]));
        let debug = check_section(&plain, &Machine::aarch64(), ".debug_frame");
        assert!(debug > 30, "{protection}: {debug}");
    }
}

/// A program that has `.debug_frame` alone, compressed in each way that objcopy knows.
#[test]
#[cfg(target_arch = "x86_64")]
fn compressed_debug_frame() {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unwind_walk/stacks.c");
    let plain = directory.path().join("plain");
    run(Command::new("gcc")
        .args(["-O2", "-g", "-fno-asynchronous-unwind-tables"])
        .arg("-fno-unwind-tables")
        .arg("-o")
        .args([&plain, &source]));
    let mut counts = Vec::new();
    for (method, name, flag) in [
        ("none", ".debug_frame", ""),
        ("zlib", ".debug_frame", "C"),
        ("zstd", ".debug_frame", "C"),
        ("zlib-gnu", ".zdebug_frame", ""),
    ] {
        let path = directory.path().join(method);
        run(Command::new("objcopy")
            .args(["-R", ".eh_frame", "-R", ".eh_frame_hdr"])
            .arg(format!("--compress-debug-sections={method}"))
            .args([&plain, &path]));
        let sections = run(Command::new("readelf").arg("-SW").arg(&path));
        let section = sections
            .lines()
            .find(|line| line.split_whitespace().any(|field| field == name))
            .unwrap_or_else(|| panic!("{method}: no {name}: {sections}"));
        assert_eq!(section.contains(" C "), flag == "C", "{section}");
        assert!(!sections.contains(".eh_frame"), "{sections}");
        counts.push(check_section(&path, &Machine::x86_64(), name));
    }
    assert!(
        counts[0] > 30 && counts.iter().all(|count| *count == counts[0]),
        "{counts:?}"
    );
}

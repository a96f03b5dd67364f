//! What real linkers make of a thread-local variable, in every model, with `readelf` as the oracle; and
//! files that are no ELF files any more.

use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_agent::thread_local::{CLibrary, Facts, Slot, SlotKind, facts_of};
use proptest::prelude::*;
use tempfile::TempDir;

/// The variable, behind another one so that its offset is not zero.
const SOURCE: &str = "
__thread long before = 1;
__thread void *otel_thread_ctx_v1;
__thread _Alignas(64) char wide;
void attach(void *record) { otel_thread_ctx_v1 = record; wide = (char)before; }
";
const MAIN: &str = "int main(void) { attach(0); return 0; }\n";

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: install gcc and binutils"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

struct Built {
    directory: TempDir,
}

impl Built {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        std::fs::write(directory.path().join("library.c"), SOURCE).expect("it can be written");
        let program = format!("{SOURCE}{MAIN}");
        std::fs::write(directory.path().join("program.c"), program).expect("it can be written");
        Self { directory }
    }
    fn build(&self, compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
        let result = self.directory.path().join("result");
        run(Command::new(compiler)
            .current_dir(self.directory.path())
            .args(["-O1", source, "-o", "result"])
            .args(flags));
        result
    }
}

fn facts(file: &Path) -> Facts {
    let file = std::fs::File::open(file).expect("what was built is there");
    facts_of(&file).expect("it is an ELF file")
}

/// Offset of the variable, as `readelf` prints it.
fn offset(file: &Path) -> u64 {
    let symbols = run(Command::new("readelf").args(["-W", "-s"]).arg(file));
    let line = symbols
        .lines()
        .find(|line| line.contains(" TLS ") && line.contains("otel_thread_ctx_v1"))
        .expect("the variable is there");
    let value = line.split_whitespace().nth(1).expect("a value");
    u64::from_str_radix(value, 16).expect("a number")
}

/// Places that relocations of these types name, as `readelf` prints them.
fn places(file: &Path, kind: &str) -> Vec<u64> {
    let relocations = run(Command::new("readelf").args(["-W", "-r"]).arg(file));
    let places = relocations
        .lines()
        .filter(|line| line.split_whitespace().nth(2) == Some(kind))
        .filter_map(|line| u64::from_str_radix(line.split_whitespace().next()?, 16).ok());
    places.collect()
}

#[track_caller]
fn check_library(flags: &[&str], relocation: &str, kind: SlotKind) {
    let built = Built::new();
    let mut all = vec!["-shared", "-fPIC"];
    all.extend(flags);
    let library = built.build("gcc", "library.c", &all);
    let facts = facts(&library);
    assert_eq!((facts.interpreter, &facts.elastic), (None, &None));
    let declared = facts.thread_context.expect("the library declares it");
    assert_eq!(declared.offset, offset(&library));
    let expected: Vec<Slot> = places(&library, relocation)
        .into_iter()
        .map(|address| Slot { kind, address })
        .collect();
    assert!(!expected.is_empty(), "{relocation}");
    assert!(
        expected.iter().any(|slot| declared.slots.contains(slot)),
        "{declared:?}, of {expected:?}"
    );
    // No slot of another kind: those of other variables are theirs.
    assert!(declared.slots.iter().all(|slot| slot.kind == kind));
}

#[cfg(target_arch = "x86_64")]
mod names {
    pub(super) const FIXED: &str = "R_X86_64_TPOFF64";
    pub(super) const MODULE: &str = "R_X86_64_DTPMOD64";
    pub(super) const DESCRIPTOR: &str = "R_X86_64_TLSDESC";
    pub(super) const CALL: &str = "-mtls-dialect=gnu";
    pub(super) const BY_DESCRIPTOR: &str = "-mtls-dialect=gnu2";
}

#[cfg(target_arch = "aarch64")]
mod names {
    pub(super) const FIXED: &str = "R_AARCH64_TLS_TPREL64";
    pub(super) const MODULE: &str = "R_AARCH64_TLS_DTPMOD64";
    pub(super) const DESCRIPTOR: &str = "R_AARCH64_TLSDESC";
    pub(super) const CALL: &str = "-mtls-dialect=trad";
    pub(super) const BY_DESCRIPTOR: &str = "-mtls-dialect=desc";
}

#[test]
fn a_library_with_a_fixed_distance() {
    let flags = ["-ftls-model=initial-exec"];
    check_library(&flags, names::FIXED, SlotKind::ThreadPointerOffset);
}

#[test]
fn a_library_that_calls_for_its_block() {
    check_library(&[names::CALL], names::MODULE, SlotKind::ModuleAndOffset);
}

#[test]
fn a_library_that_calls_for_its_block_and_binds_its_symbols_itself() {
    let flags = [names::CALL, "-ftls-model=local-dynamic"];
    check_library(&flags, names::MODULE, SlotKind::OwnModule);
}

#[test]
fn a_library_with_a_descriptor() {
    for hash in ["gnu", "sysv"] {
        let style = format!("-Wl,--hash-style={hash}");
        let flags = [names::BY_DESCRIPTOR, &style];
        check_library(&flags, names::DESCRIPTOR, SlotKind::Descriptor);
    }
}

/// The distance that the program itself sees.
#[cfg(target_arch = "x86_64")]
fn check_program(compiler: &str, flags: &[&str], interpreter: Option<CLibrary>) {
    const ASK: &str = "#include <stdio.h>
        int main(void) {
            long self;
            __asm__(\"mov %%fs:0, %0\" : \"=r\"(self));
            attach(0);
            printf(\"%ld\\n\", (long)&otel_thread_ctx_v1 - self);
            return 0;
        }\n";
    let built = Built::new();
    let source = format!("{SOURCE}{ASK}");
    std::fs::write(built.directory.path().join("ask.c"), source).expect("it can be written");
    let program = built.build(compiler, "ask.c", flags);
    let distance = run(&mut Command::new(&program));
    let facts = facts(&program);
    let declared = facts.thread_context.expect("the program declares it");
    assert_eq!(
        declared.in_program.to_string(),
        distance.trim(),
        "{flags:?}"
    );
    assert_eq!(facts.interpreter, interpreter, "{flags:?}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_program_of_every_kind() {
    let (gnu, musl) = (Some(CLibrary::Gnu), Some(CLibrary::Musl));
    check_program("gcc", &["-rdynamic"], gnu);
    check_program("gcc", &["-no-pie", "-rdynamic"], gnu);
    check_program("gcc", &["-static"], None);
    check_program("gcc", &["-static-pie"], None);
    check_program("musl-gcc", &["-rdynamic"], musl);
    check_program("musl-gcc", &["-static"], None);
}

#[test]
fn what_does_not_export_the_variable_declares_none() {
    let built = Built::new();
    let flags = ["-shared", "-fPIC", "-fvisibility=hidden"];
    let hidden = built.build("gcc", "library.c", &flags);
    assert!(facts(&hidden).is_empty());
    assert!(facts(Path::new("/proc/self/exe")).is_empty());
    let text = b"#!/bin/sh\n".as_slice();
    assert!(facts_of(text).is_err());
}

fn library() -> Vec<u8> {
    let built = Built::new();
    let flags = ["-shared", "-fPIC", "-s", names::CALL, "-Wl,-z,norelro"];
    let library = built.build("gcc", "library.c", &flags);
    std::fs::read(library).expect("what was built can be read")
}

#[test]
fn any_change_of_a_file_is_read_without_panic() {
    let original = library();
    let length = original.len();
    let mut runner = proptest::test_runner::TestRunner::default();
    let change = (0..length, any::<u64>(), 1..9usize);
    let changes = prop::collection::vec(change, 1..12);
    let outcome = runner.run(&(changes, 0..length), |(changes, cut)| {
        let mut bytes = original.clone();
        for (at, value, count) in changes {
            // Most of what matters is at the beginning.
            let at = if value & 1 == 0 { at % 0x800 } else { at };
            for (byte, new) in bytes
                .iter_mut()
                .skip(at)
                .zip(value.to_le_bytes())
                .take(count)
            {
                *byte = new;
            }
        }
        let _ = facts_of(&bytes[..]);
        let _ = facts_of(&bytes[..cut]);
        Ok(())
    });
    outcome.expect("no change makes it fail");
}

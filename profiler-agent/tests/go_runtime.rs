//! What is read of Go's runtime, from programs that the installed toolchain builds.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object as _, ObjectSegment as _};
use profiler_agent::go::{LineTable, Origin, Runtime, Slot, runtime_of};
use profiler_common::layout::GoRuntime;

/// A text that only the programs' own constants have.
const CONSTANT: &str = "a constant that is looked for";
const PROGRAM: &str =
    "package main\n\nfunc main() { println(\"a constant that is looked for\") }\n";
const WITH_C: &str = "package main\n\n// static __thread long counter;\n\
    // static long bump(void) { return ++counter; }\nimport \"C\"\n\n\
    //export Hello\nfunc Hello() {}\n\nfunc main() { println(C.bump(), \"a constant that is looked for\") }\n";

fn build(source: &str, directory: &Path, machine: &str, arguments: &[&str]) -> PathBuf {
    std::fs::write(directory.join("main.go"), source).expect("a file is written");
    std::fs::write(directory.join("go.mod"), "module program\n\ngo 1.21\n")
        .expect("a file is written");
    let output = directory.join("program");
    let status = Command::new("go")
        .arg("build")
        .args(arguments)
        .arg("-o")
        .arg(&output)
        .current_dir(directory)
        .env("GOTOOLCHAIN", "local")
        .env("GOARCH", machine)
        .env("CGO_ENABLED", if source == WITH_C { "1" } else { "0" })
        .env(
            "CC",
            if machine == "arm64" {
                "aarch64-linux-gnu-gcc"
            } else {
                "gcc"
            },
        )
        .status()
        .expect("Go is installed: `cargo xtask test` says how");
    assert!(status.success());
    output
}

fn runtime(source: &str, arguments: &[&str]) -> Runtime {
    read(source, arguments).1
}

/// A program, and what is read of its runtime.
fn read(source: &str, arguments: &[&str]) -> (Vec<u8>, Runtime) {
    read_for("amd64", source, arguments)
}

fn read_for(machine: &str, source: &str, arguments: &[&str]) -> (Vec<u8>, Runtime) {
    let directory = tempfile::tempdir().expect("a directory is made");
    let program = build(source, directory.path(), machine, arguments);
    let data = std::fs::read(program).expect("the program is read");
    let table = LineTable::find(&data).expect("a Go program has a line table");
    let runtime = runtime_of(&data, &table).expect("its runtime is read");
    (data, runtime)
}

#[test]
fn the_table_of_versions_says_what_debug_information_says() {
    let debug = runtime(PROGRAM, &[]);
    let stripped = runtime(PROGRAM, &["-ldflags=-s -w"]);
    assert_eq!(debug.origin, Origin::DebugInformation);
    assert_eq!(stripped.origin, Origin::Version);
    assert_eq!(debug.offsets, stripped.offsets);
    assert_ne!(debug.offsets.labels, GoRuntime::LABELS_NONE);
}

/// Go's ABI for thread-local storage (`cmd/link/internal/ld/sym.go`): an executable that Go's own linker
/// makes keeps `g` right below the thread pointer.
#[test]
fn the_slot_is_found_in_every_kind_of_file() {
    assert_eq!(runtime(PROGRAM, &[]).slot, Slot::ThreadPointer(-8));
    assert_eq!(
        runtime(PROGRAM, &["-buildmode=pie"]).slot,
        Slot::ThreadPointer(-8)
    );
    let with_c = runtime(WITH_C, &[]).slot;
    assert!(
        matches!(with_c, Slot::ThreadPointer(offset) if offset < 0),
        "{with_c:?}"
    );
    let shared = runtime(WITH_C, &["-buildmode=c-shared"]).slot;
    assert!(matches!(shared, Slot::Indirect(_)), "{shared:?}");
}

/// Where a program has C in it, x28 is not always Go's: what the dynamic linker (AAPCS64: two words behind the
/// thread pointer are its own) and C's compiler leave for `g` is.
#[test]
fn the_slot_is_found_in_every_kind_of_file_for_arm64() {
    let slot = |source, arguments: &[&str]| read_for("arm64", source, arguments).1.slot;
    assert_eq!(slot(PROGRAM, &[]), Slot::Register(28));
    assert_eq!(slot(PROGRAM, &["-buildmode=pie"]), Slot::Register(28));
    for arguments in [&[][..], &["-buildmode=pie"]] {
        let with_c = slot(WITH_C, arguments);
        assert!(
            matches!(with_c, Slot::ThreadPointer(offset) if offset >= 16),
            "{with_c:?}"
        );
    }
    let shared = slot(WITH_C, &["-buildmode=c-shared"]);
    assert!(matches!(shared, Slot::Indirect(_)), "{shared:?}");
}

#[test]
fn constants_are_known_in_every_kind_of_file() {
    for (source, arguments) in [
        (PROGRAM, &[][..]),
        (PROGRAM, &["-ldflags=-s -w"]),
        (PROGRAM, &["-buildmode=pie"]),
        (WITH_C, &[]),
        (WITH_C, &["-buildmode=pie"]),
        (WITH_C, &["-buildmode=c-shared"]),
    ] {
        let (data, runtime) = read(source, arguments);
        let constants =
            runtime.constants.start.0..runtime.constants.start.0 + runtime.constants.length;
        let bytes = CONSTANT.as_bytes();
        let offset = data.windows(bytes.len()).position(|at| at == bytes);
        let offset = offset.expect("the program has its constant") as u64;
        let file = object::read::elf::ElfFile64::<object::LittleEndian>::parse(&*data);
        let file = file.expect("an ELF file");
        let mut found = false;
        for segment in file.segments() {
            let (in_file, length) = segment.file_range();
            let start = segment.address();
            if (in_file..in_file + length).contains(&offset) {
                found |= constants.contains(&(start + offset - in_file));
            }
            if segment.permissions().writable() {
                let end = start + segment.size();
                assert!(
                    end <= constants.start || constants.end <= start,
                    "{arguments:?}"
                );
            }
        }
        assert!(found, "{arguments:?}: {constants:x?}");
    }
}

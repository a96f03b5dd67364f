//! Go programs, built in different ways: the one that says what its runtime knows, and the one with known
//! stacks.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::toolchain::Toolchain;
use crate::{build, sources};

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As `go build` does without C.
    Default,
    /// Without symbols and debug information.
    Stripped,
    /// Stripped, and without section headers.
    Sectionless,
    /// Position independent, by Go's own linker.
    Pie,
    /// With C code, by the C compiler's linker.
    Cgo,
    /// As a shared library, which a C program loads.
    Shared,
    /// With the race detector.
    Race,
    /// Without inlining.
    Outlined,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 8] = [
        Self::Default,
        Self::Stripped,
        Self::Sectionless,
        Self::Pie,
        Self::Cgo,
        Self::Shared,
        Self::Race,
        Self::Outlined,
    ];

    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[],
            Self::Stripped | Self::Sectionless => &["-ldflags=-s -w"],
            Self::Pie => &["-buildmode=pie"],
            Self::Cgo => &["-tags=clib", "-ldflags=-linkmode=external"],
            Self::Shared => &["-tags=clib,shared", "-buildmode=c-shared"],
            Self::Race => &["-race"],
            Self::Outlined => &["-gcflags=all=-l"],
        }
    }

    const fn has_c(self) -> bool {
        matches!(self, Self::Cgo | Self::Shared | Self::Race)
    }

    /// Does the program have inlined calls?
    #[must_use]
    pub const fn inlines(self) -> bool {
        !matches!(self, Self::Outlined)
    }
}

/// The file with the Go code that says what its runtime knows, built.
#[must_use]
pub fn build(toolchain: &Toolchain, variant: Variant) -> PathBuf {
    build_from("go-truth", toolchain, variant)
}

/// The program with known stacks, built.
#[must_use]
pub fn build_stacks(toolchain: &Toolchain, variant: Variant) -> PathBuf {
    build_from("go-stacks", toolchain, variant)
}

/// The same without C, for a CPU by Go's name of it.
#[must_use]
pub fn build_stacks_for(toolchain: &Toolchain, architecture: &str) -> PathBuf {
    build_for("go-stacks", toolchain, architecture)
}

fn build_from(source: &str, toolchain: &Toolchain, variant: Variant) -> PathBuf {
    let directory = sources().join(source);
    let mut command = toolchain.command();
    command
        .args(["build", "-buildvcs=false"])
        .args(variant.arguments())
        .env("CGO_ENABLED", if variant.has_c() { "1" } else { "0" })
        .current_dir(&directory);
    let name = format!("{source}-{}-{variant:?}", toolchain.version);
    let program = build::build(&name.to_lowercase(), &mut command, &directory);
    if variant == Variant::Sectionless {
        remove_section_headers(&program);
    }
    program
}

/// The program for arm64; it cannot be run here.
#[must_use]
pub fn build_for_arm64(toolchain: &Toolchain) -> PathBuf {
    build_for("go-truth", toolchain, "arm64")
}

fn build_for(source: &str, toolchain: &Toolchain, architecture: &str) -> PathBuf {
    let directory = sources().join(source);
    let mut command = toolchain.command();
    command
        .args(["build", "-buildvcs=false"])
        .env("CGO_ENABLED", "0")
        .env("GOARCH", architecture)
        .current_dir(&directory);
    let name = format!("{source}-{}-{architecture}", toolchain.version);
    build::build(&name, &mut command, &directory)
}

/// What `go tool addr2line` says of addresses: the function that has the code, `file:line`.
///
/// # Panics
///
/// When it fails.
#[must_use]
pub fn addr2line(toolchain: &Toolchain, program: &Path, addresses: &[u64]) -> Vec<[String; 2]> {
    let input = tempfile::NamedTempFile::new().expect("a temporary file");
    let text: String = addresses
        .iter()
        .map(|address| format!("{address:#x}\n"))
        .collect();
    fs::write(input.path(), text).expect("the addresses can be written");
    let output = toolchain
        .command()
        .args(["tool", "addr2line"])
        .arg(program)
        .stdin(input.reopen().expect("the addresses can be read"))
        .output()
        .expect("the toolchain is there");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names and paths are UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    let (pairs, rest) = lines.as_chunks::<2>();
    assert!(rest.is_empty() && pairs.len() == addresses.len());
    pairs.iter().map(|pair| pair.map(str::to_owned)).collect()
}

/// What the program says of itself.
///
/// # Panics
///
/// When it fails.
#[must_use]
pub fn say(program: &Path, variant: Variant) -> String {
    let (command, arguments): (PathBuf, Vec<OsString>) = if variant == Variant::Shared {
        (build::c("golang"), vec![program.into()])
    } else {
        (program.to_path_buf(), Vec::new())
    };
    let output = Command::new(&command)
        .args(arguments)
        .output()
        .expect("what was built can be run");
    assert!(
        output.status.success(),
        "{}: {}\n{}",
        command.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("names and paths are UTF-8")
}

/// Makes the ELF header say that there is no section header; programs run without.
fn remove_section_headers(program: &Path) {
    let mut bytes = fs::read(program).expect("what was built can be read");
    // e_shoff; e_shnum and e_shstrndx.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    let fresh = program.with_extension("sectionless");
    fs::write(&fresh, bytes).expect("the program can be written");
    let permissions = program.metadata().expect("it is there").permissions();
    fs::set_permissions(&fresh, permissions).expect("the program can be made executable");
    fs::rename(&fresh, program).expect("the program can be put in place");
}

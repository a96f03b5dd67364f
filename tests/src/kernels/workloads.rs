//! The workloads of the suites, built for the CPU of a guest.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::guest::Guest;
use super::{Cpu, MUSL_LIBRARIES, TO_PREPARE, musl};
use crate::agent::run;
use crate::build::{self, c_with, cpp_with, text};
use crate::go::program::build_stacks_for;
use crate::go::toolchain::{Toolchain, VERSIONS};
use crate::workspace;

/// A program in a guest. Samples are told apart by the name of their process: the file's, 15 letters at most.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the guest.
    pub name: &'static str,
    /// What it is started with.
    pub arguments: &'static str,
    /// Does it wait for a signal before it works (`START_ON`)?
    pub waits: bool,
    /// How long it works, in seconds of the guest.
    pub seconds: u32,
    file: PathBuf,
    /// A library of its own, which lies beside it.
    library: Option<&'static str>,
}

/// How long programs work.
const SECONDS: u32 = 2;
/// How long those do of which something is asked that has a small share.
const SECONDS_OF_MANY: u32 = 6;

/// Held while programs are built: what one test builds the others find.
static BUILDS: Mutex<()> = Mutex::new(());

/// Every program that a CPU's guests run one after the other.
#[must_use]
pub fn all(cpu: Cpu) -> Vec<Program> {
    let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    let c = |name: &str, variant: &str, flags: &[&str]| {
        c_with(
            name,
            &format!("{cpu}-{variant}"),
            compiler(cpu, "gcc"),
            flags,
        )
    };
    let framed = [usual(cpu), &["-fno-omit-frame-pointer"]].concat();
    let newest = Toolchain::get(VERSIONS[VERSIONS.len() - 1]);
    let mut programs = vec![
        split(cpu),
        program("chain-framed", "", c("split", "chain-framed", &framed)),
        Program {
            arguments: "100",
            ..recursion(cpu)
        },
        program("handler", "", c("handler", "handler", usual(cpu))),
        objects(cpu),
        program("rust", "", rust(cpu)),
    ];
    programs.extend(go_programs(cpu, &newest));
    match cpu {
        Cpu::X86_64 => {
            let file = c_with("split", "x86_64-chain-static", "musl-gcc", &["-static"]);
            programs.push(program("chain-static", "", file));
        }
        Cpu::Arm64 => {
            let flags = ["-mbranch-protection=none"];
            let plain = c("split", "chain-plain", &flags);
            programs.push(program("chain-plain", "", plain));
            programs.push(Program {
                seconds: SECONDS_OF_MANY,
                ..program("musl-paths", "", with_musl("musl_paths"))
            });
        }
    }
    programs
}

/// A program for arm64 with the dynamic library of musl, linked as `musl-gcc` links where it is installed.
fn with_musl(name: &str) -> PathBuf {
    let musl = musl();
    let include = musl.join("usr/include/aarch64-linux-musl");
    let libraries = musl.join(MUSL_LIBRARIES);
    let start = ["Scrt1.o", "crti.o", "crtn.o"].map(|file| libraries.join(file));
    let mut flags = vec!["-nostdinc", "-isystem", text(&include), "-nostdlib"];
    flags.extend(start.iter().map(text));
    flags.extend(["-L", text(&libraries), "-lc", "-lgcc"]);
    flags.push("-Wl,--dynamic-linker=/lib/ld-musl-aarch64.so.1");
    let compiler = compiler(Cpu::Arm64, "gcc");
    c_with(name, &format!("arm64-musl-{name}"), compiler, &flags)
}

/// Programs of every version of Go: of each, its goroutines' stacks and its labels.
#[must_use]
pub fn go_versions(cpu: Cpu) -> Vec<GoVersion> {
    let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    let of_version = |version: &&'static str| {
        let [stacks, _, labels] = go_programs(cpu, &Toolchain::get(version));
        let named = |kind: &str, program: Program| Program {
            name: format!("{kind}-{version}").leak(),
            ..program
        };
        GoVersion {
            version,
            stacks: named("stacks", stacks),
            labels: named("labels", labels),
        }
    };
    VERSIONS.iter().map(of_version).collect()
}

/// Programs that one version of Go made.
#[derive(Clone, Debug)]
pub struct GoVersion {
    /// Like `1.21.13`.
    pub version: &'static str,
    /// What [`all`] calls `go-stacks`.
    pub stacks: Program,
    /// What it calls `go-labels`.
    pub labels: Program,
}

/// The programs of a toolchain: its goroutines' stacks, stacks that grow, labels.
fn go_programs(cpu: Cpu, toolchain: &Toolchain) -> [Program; 3] {
    let stacks = build_stacks_for(toolchain, go(cpu));
    let labels = build::go_labels_for(toolchain, go(cpu));
    let waits = |name, arguments, seconds, file| Program {
        waits: true,
        seconds,
        ..program(name, arguments, file)
    };
    [
        // What its runtime does first comes before anybody knows it; what it does then is asked for.
        program("go-stacks", "mixed", stacks.clone()),
        waits("go-grow", "grow", SECONDS_OF_MANY, stacks),
        waits("go-labels", "", SECONDS_OF_MANY, labels),
    ]
}

/// Splits its CPU time between three functions.
#[must_use]
pub fn chain(cpu: Cpu) -> Program {
    let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    split(cpu)
}

fn split(cpu: Cpu) -> Program {
    let file = c_with(
        "split",
        &format!("{cpu}-chain"),
        compiler(cpu, "gcc"),
        usual(cpu),
    );
    program("chain", "", file)
}

/// Threads that wait in known ways.
#[must_use]
pub fn waits(cpu: Cpu) -> Program {
    let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    let flags = [usual(cpu), &["-rdynamic"]].concat();
    let variant = format!("{cpu}-waits");
    program(
        "waits",
        "long",
        c_with("waits", &variant, compiler(cpu, "gcc"), &flags),
    )
}

/// Is as deep as its argument says.
#[must_use]
pub fn recursion(cpu: Cpu) -> Program {
    let variant = format!("{cpu}-recursion");
    let file = c_with("recursion", &variant, compiler(cpu, "gcc"), usual(cpu));
    program("recursion", "", file)
}

/// What distributions build with.
const fn usual(cpu: Cpu) -> &'static [&'static str] {
    match cpu {
        Cpu::X86_64 => &["-pthread"],
        Cpu::Arm64 => &["-pthread", "-mbranch-protection=standard"],
    }
}

/// A library that notes what the verifier says of programs, for `LD_PRELOAD`.
#[must_use]
pub fn verified(cpu: Cpu) -> Program {
    let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    let variant = format!("libverified-{cpu}.so");
    let flags = ["-shared", "-fPIC"];
    let file = c_with("verified", &variant, compiler(cpu, "gcc"), &flags);
    program("libverified.so", "", file)
}

/// Starts others again and again.
#[must_use]
pub fn swarm(cpu: Cpu) -> [Program; 2] {
    let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    ["swarm", "brief"].map(|name| {
        let file = c_with(name, &format!("{cpu}-{name}"), compiler(cpu, "gcc"), &[]);
        program(name, "", file)
    })
}

impl Program {
    /// The build id of its file, as `readelf` says it.
    ///
    /// # Panics
    ///
    /// When it has none.
    #[must_use]
    pub fn build_id(&self) -> String {
        let output = run(Command::new("readelf").arg("--notes").arg(&self.file));
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let id = lines.find_map(|line| line.trim().strip_prefix("Build ID: "));
        id.expect("a build id").to_owned()
    }

    /// Puts the program into a guest.
    pub fn put(&self, guest: &mut Guest) {
        guest.program(self.name, &self.file);
        if let Some(library) = self.library {
            guest.program(library, &self.file.with_file_name(library));
        }
    }
}

fn program(name: &'static str, arguments: &'static str, file: PathBuf) -> Program {
    Program {
        name,
        arguments,
        waits: false,
        seconds: SECONDS,
        file,
        library: None,
    }
}

fn compiler(cpu: Cpu, name: &'static str) -> &'static str {
    match (cpu, name) {
        (Cpu::X86_64, name) => name,
        (Cpu::Arm64, "g++") => "aarch64-linux-gnu-g++",
        (Cpu::Arm64, _) => "aarch64-linux-gnu-gcc",
    }
}

/// The C++ program and the library in the middle of its stacks.
fn objects(cpu: Cpu) -> Program {
    let compiler = compiler(cpu, "g++");
    let name = match cpu {
        Cpu::X86_64 => "libmiddle-x86_64.so",
        Cpu::Arm64 => "libmiddle-arm64.so",
    };
    let library = cpp_with("middle", name, compiler, &["-shared", "-fPIC", "-s"]);
    let directory = library.parent().expect("a directory");
    let linked = format!("-l:{name}");
    let flags = ["-L", text(&directory), &linked, "-Wl,-rpath,$ORIGIN"];
    let file = cpp_with("objects", &format!("{cpu}-objects"), compiler, &flags);
    Program {
        library: Some(name),
        ..program("objects", "", file)
    }
}

fn rust(cpu: Cpu) -> PathBuf {
    match cpu {
        Cpu::X86_64 => build::rust(),
        Cpu::Arm64 => {
            let path = "target/workloads/rust/aarch64-unknown-linux-gnu/release/workload";
            let path = workspace().join(path);
            assert!(
                path.is_file(),
                "{} is not there: {TO_PREPARE}",
                path.display()
            );
            path
        }
    }
}

const fn go(cpu: Cpu) -> &'static str {
    match cpu {
        Cpu::X86_64 => "amd64",
        Cpu::Arm64 => "arm64",
    }
}

//! A guest: its files, its mounts, and the script that it runs.
//!
//! A script is for busybox's shell and has two functions more (`init.sh`): `keep NAME FILE` lets a file leave the
//! guest, `run NAME COMMAND..` runs a command and lets `NAME.out`, `NAME.err` and `NAME.status` leave. Programs are
//! in its working directory.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::initramfs::Archive;
use super::protocol::Output;
use super::qemu::Machine;
use super::{Cpu, MUSL_LIBRARIES, musl};
use crate::agent::{log, run};

/// Where programs lie in a guest.
const PROGRAMS: &str = "work";
/// Kinds of file systems and where they are mounted, in this order.
const MOUNTS: &[[&str; 2]] = &[
    ["proc", "/proc"],
    ["sysfs", "/sys"],
    ["devtmpfs", "/dev"],
    ["tmpfs", "/tmp"],
    ["tracefs", "/sys/kernel/tracing"],
    ["bpf", "/sys/fs/bpf"],
    ["cgroup2", "/sys/fs/cgroup"],
];
/// Libraries of the cross compiler.
const LIBRARIES_FOR_ARM64: &str = "/usr/aarch64-linux-gnu/lib";

/// A guest that is being put together.
#[derive(Debug)]
pub struct Guest {
    cpu: Cpu,
    /// Names in the guest and files here.
    programs: Vec<(String, PathBuf)>,
    mounts: Vec<(String, String)>,
}

impl Guest {
    /// A guest with a shell and the agent.
    #[must_use]
    pub fn new(cpu: Cpu) -> Self {
        let mut guest = Self {
            cpu,
            programs: Vec::new(),
            mounts: MOUNTS
                .iter()
                .map(|mount| mount.map(str::to_owned).into())
                .collect(),
        };
        guest.program("profiler-agent", &cpu.agent());
        guest
    }

    /// The CPU of its programs.
    #[must_use]
    pub const fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// Adds a program, with the libraries that it needs.
    pub fn program(&mut self, name: &str, file: &Path) {
        self.programs.push((name.to_owned(), file.to_path_buf()));
    }

    /// Mounts nothing of a kind.
    pub fn without(&mut self, kind: &str) {
        self.mounts.retain(|(mounted, _)| mounted != kind);
    }

    /// Mounts something more; options of the mount follow the place.
    pub fn mount(&mut self, kind: &str, place_and_options: &str) {
        self.mounts
            .push((kind.to_owned(), place_and_options.to_owned()));
    }

    /// Boots a kernel, runs a script and returns what left the guest; by the name of what it is for, that is also kept
    /// in `target/kernels/SERIES-CPU`, to be looked at.
    ///
    /// # Panics
    ///
    /// When the guest does not come to its end.
    #[must_use]
    pub fn run(&self, machine: &Machine, name: &str, script: &str) -> Output {
        let output = machine.run(|| self.archive(script));
        keep(&machine.kernel.output(name), &output);
        output
    }

    fn archive(&self, script: &str) -> Vec<u8> {
        let mut archive = Archive::default();
        archive.copy("bin/busybox", &busybox(self.cpu));
        archive.file("init", include_str!("init.sh").as_bytes());
        archive.directory("dev");
        let mut mounts = String::new();
        for (kind, place) in &self.mounts {
            let _infallible = writeln!(mounts, "{kind} {place}");
        }
        archive.file("mounts", mounts.as_bytes());
        archive.file("script", script.as_bytes());
        for (name, file) in &self.programs {
            archive.copy(&format!("{PROGRAMS}/{name}"), file);
            match self.cpu {
                Cpu::X86_64 => add_libraries(&mut archive, file),
                Cpu::Arm64 => add_libraries_for_arm64(&mut archive, file),
            }
        }
        archive.finish()
    }
}

/// Adds the libraries that this machine's own loader would map; none of a static program.
fn add_libraries(archive: &mut Archive, program: &Path) {
    let output = run(Command::new("ldd").arg(program));
    let text = String::from_utf8_lossy(&output.stdout);
    for word in text.split_whitespace() {
        // Not the name of the program itself, which a colon follows where there are several.
        if let Some(place) = word.strip_prefix('/')
            && !word.ends_with(':')
        {
            archive.copy(place, Path::new(word));
        }
    }
}

/// Adds libraries by name, and theirs: the loader looks in `/lib`.
fn add_libraries_for_arm64(archive: &mut Archive, program: &Path) {
    let mut names = needed(program);
    if names.iter().any(|name| name == "libc.so") {
        // musl's library is its loader as well.
        let library = musl().join(MUSL_LIBRARIES).join("libc.so");
        return archive.copy("lib/ld-musl-aarch64.so.1", &library);
    }
    if !names.is_empty() {
        names.push("ld-linux-aarch64.so.1".to_owned());
    }
    for name in names {
        let (place, file) = (
            format!("lib/{name}"),
            Path::new(LIBRARIES_FOR_ARM64).join(&name),
        );
        // The workloads' own lie beside them.
        if !archive.contains(&place) && file.is_file() {
            archive.copy(&place, &file);
            add_libraries_for_arm64(archive, &file);
        }
    }
}

fn keep(directory: &Path, output: &Output) {
    let written = fs::create_dir_all(directory).and_then(|()| {
        for (name, content) in &output.files {
            fs::write(directory.join(name), content)?;
        }
        fs::write(directory.join("console"), &output.console)
    });
    written.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}

fn busybox(cpu: Cpu) -> PathBuf {
    match cpu {
        Cpu::X86_64 => "/usr/bin/busybox".into(),
        Cpu::Arm64 => super::directory().join("busybox-arm64"),
    }
}

/// The names of the libraries that a file asks for.
fn needed(file: &Path) -> Vec<String> {
    let output = run(Command::new("readelf")
        .args(["--dynamic", "--wide"])
        .arg(file));
    assert!(output.status.success(), "{}", log(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| line.contains("(NEEDED)"));
    lines
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned()))
        .collect()
}

//! Runs a guest to its end, by emulation of a whole computer.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};
use tempfile::TempDir;

use super::protocol::Output;
use super::{Cpu, Hardware, Kernel};

/// How a kernel is booted.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel.
    pub kernel: Kernel,
    /// CPUs.
    pub processors: u32,
    /// More for the kernel's command line.
    pub command_line: &'static str,
    /// How long the guest may take on a machine that has nothing else to do.
    pub limit: Duration,
}

/// How often more than its limit a guest gets before it is killed: others run at the same time.
const PATIENCE: u32 = 5;
/// Memory of a guest, in MiB: the files it starts from lie in it, twice while they are unpacked.
const MEMORY: u32 = 1024;

impl Machine {
    /// One CPU.
    #[must_use]
    pub const fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            processors: 1,
            command_line: "",
            limit: Duration::from_secs(120),
        }
    }

    /// Boots the kernel, when it is its turn, with the files of an archive and returns what came out of the guest.
    ///
    /// # Panics
    ///
    /// When the guest does not come to its end in time, or what came out is not whole.
    #[must_use]
    pub fn run(&self, initramfs: impl FnOnce() -> Vec<u8>) -> Output {
        let _turn = Turn::take();
        let directory = TempDir::new().expect("a temporary directory");
        let file = directory.path().join("initramfs");
        fs::write(&file, initramfs()).expect("there is room for the guest's files");
        let mut command = self.command(&file);
        let (console, ended) = run_for(&mut command, self.limit * PATIENCE)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Output::parse(&console)
            .unwrap_or_else(|error| panic!("{}: {error:?}\n{console}", self.kernel));
        let end = if ended {
            "ended early"
        } else {
            "took too long"
        };
        assert!(
            output.is_done,
            "{}: the guest {end}: {}",
            self.kernel, output.console
        );
        output
    }

    fn command(&self, initramfs: &Path) -> Command {
        let (mut command, machine, console) = match self.kernel.cpu {
            Cpu::X86_64 => (Command::new("qemu-system-x86_64"), "pc", "ttyS0"),
            Cpu::Arm64 => (Command::new("qemu-system-aarch64"), "virt", "ttyAMA0"),
        };
        let model = match (self.kernel.cpu, self.kernel.hardware) {
            (Cpu::X86_64, _) => "max",
            (Cpu::Arm64, Hardware::Unsigned) => "cortex-a72",
            (Cpu::Arm64, Hardware::NarrowAddresses) => "max,pauth-impdef=on,lpa2=off",
            // The emulated kind of signatures of pointers is quick to compute.
            (Cpu::Arm64, _) => "max,pauth-impdef=on",
        };
        let kernel_line = format!(
            "console={console} panic=-1 quiet mitigations=off {}",
            self.command_line
        );
        command
            .args(["-M", machine, "-accel", "tcg"])
            .args(["-cpu", model])
            // An instruction is 4 ns, and whoever sleeps wakes at once: time does not depend on this machine.
            .args(["-icount", "shift=2,sleep=off"])
            .args(["-m", &MEMORY.to_string()])
            .args(["-smp", &self.processors.to_string()])
            .args(["-nographic", "-no-reboot", "-nic", "none", "-nodefaults"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &kernel_line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }
}

/// A program's standard output, and whether it ended by itself: it is killed after a time.
fn run_for(command: &mut Command, limit: Duration) -> io::Result<(String, bool)> {
    let mut child = command.spawn()?;
    let mut stdout = child.stdout.take().expect("standard output is piped");
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let ended = wait_for(&mut child, limit)?;
    if !ended {
        child.kill()?;
        child.wait()?;
    }
    let bytes = reader.join().expect("the reader does not panic")?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), ended))
}

fn wait_for(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > limit {
            return Ok(false);
        }
        let interval = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        let _nothing_polled = poll(&mut [], Some(&interval));
    }
    Ok(true)
}

/// The right to run a guest: as many run at once as there are processors, each of which keeps one busy.
struct Turn;

static TURNS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Turn {
    fn take() -> Self {
        let most = thread::available_parallelism().map_or(1, usize::from);
        let taken = TURNS.0.lock().expect("nobody panics with it");
        let mut taken = TURNS
            .1
            .wait_while(taken, |taken| *taken >= most)
            .expect("nobody panics with it");
        *taken += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Ok(mut taken) = TURNS.0.lock() {
            *taken -= 1;
        }
        TURNS.1.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_does_not_end_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo before; exec sleep 1000"]);
        command.stdout(Stdio::piped());
        let (console, ended) = run_for(&mut command, Duration::from_millis(300)).expect("sh runs");
        assert_eq!((console.as_str(), ended), ("before\n", false));
    }

    #[test]
    fn a_guest_that_ends_is_read_to_its_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo all"]).stdout(Stdio::piped());
        let read = run_for(&mut command, Duration::from_secs(60)).expect("sh runs");
        assert_eq!(read, ("all\n".to_owned(), true));
    }
}

//! Runs a guest to its end, by emulation of a whole computer.

use std::collections::BTreeMap;
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
    /// Seconds that the guest's programs work. Of the guests that wait, the one that works longest goes first, so that it is not
    /// left to run alone at the end.
    pub seconds: u32,
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
            seconds: 0,
        }
    }

    /// Boots the kernel, when it is its turn, with the files of an archive and returns what came out of the guest.
    ///
    /// # Panics
    ///
    /// When the guest does not come to its end in time, or what came out is not whole.
    #[must_use]
    pub fn run(&self, initramfs: impl FnOnce() -> Vec<u8>) -> Output {
        let _turn = Turn::take(self.seconds);
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

/// Guests that run, and those that wait by the seconds that they work.
#[derive(Debug)]
struct Turns {
    running: usize,
    waiting: BTreeMap<u32, usize>,
}

static TURNS: (Mutex<Turns>, Condvar) = (
    Mutex::new(Turns {
        running: 0,
        waiting: BTreeMap::new(),
    }),
    Condvar::new(),
);

impl Turns {
    /// May a guest that works so long run now, where so many may?
    fn is_free_for(&self, seconds: u32, most: usize) -> bool {
        let longest = self.waiting.keys().next_back();
        self.running < most && longest.is_none_or(|longest| *longest <= seconds)
    }

    fn wait(&mut self, seconds: u32) {
        *self.waiting.entry(seconds).or_default() += 1;
    }

    fn run(&mut self, seconds: u32) {
        self.running += 1;
        if let Some(waiting) = self.waiting.get_mut(&seconds) {
            *waiting -= 1;
        }
        self.waiting.retain(|_, waiting| *waiting > 0);
    }
}

impl Turn {
    fn take(seconds: u32) -> Self {
        let most = thread::available_parallelism().map_or(1, usize::from);
        let mut turns = TURNS.0.lock().expect("nobody panics with it");
        turns.wait(seconds);
        let mut turns = TURNS
            .1
            .wait_while(turns, |turns| !turns.is_free_for(seconds, most))
            .expect("nobody panics with it");
        turns.run(seconds);
        TURNS.1.notify_all();
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Ok(mut turns) = TURNS.0.lock() {
            turns.running -= 1;
        }
        TURNS.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_longest_goes_first() {
        let mut turns = Turns {
            running: 1,
            waiting: BTreeMap::new(),
        };
        turns.wait(0);
        assert!(turns.is_free_for(0, 2) && !turns.is_free_for(0, 1));
        turns.wait(40);
        assert!(turns.is_free_for(40, 2) && !turns.is_free_for(0, 2));
        turns.run(40);
        assert!(!turns.is_free_for(0, 2) && turns.is_free_for(0, 3));
    }

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

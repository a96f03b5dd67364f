//! A command that is started, but runs only when sampling does.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

/// The command's process: before its exec until [`Launched::release`].
pub(super) struct Launched {
    pid: u32,
    gate: Option<PipeWriter>,
    spawning: Option<JoinHandle<io::Result<Child>>>,
    child: Option<Child>,
}

impl Launched {
    /// Forks the process that will run `program`, with this standard output. It waits until it is released; if this agent
    /// ends before, it ends too.
    pub(super) fn prepare(
        program: &OsStr,
        arguments: &[OsString],
        prints: Stdio,
    ) -> io::Result<Self> {
        let (mut pid_reader, pid_writer) = io::pipe()?;
        let (gate_reader, gate) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments).stdout(prints);
        let (pid_descriptor, gate_descriptor) = (pid_writer.as_raw_fd(), gate_reader.as_raw_fd());
        let gate_writer = gate.as_raw_fd();
        let hold = move || {
            // SAFETY: only async-signal-safe calls on descriptors that the fork copied.
            unsafe {
                libc::close(gate_writer);
                let pid = libc::getpid() as u32;
                libc::write(pid_descriptor, (&raw const pid).cast(), 4);
                let mut byte = 0u8;
                if libc::read(gate_descriptor, (&raw mut byte).cast(), 1) != 1 {
                    return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                }
            }
            Ok(())
        };
        // SAFETY: the closure makes async-signal-safe calls only and allocates nothing.
        unsafe { command.pre_exec(hold) };
        // `spawn` returns only after the exec: it waits in a thread of its own.
        let spawning = std::thread::Builder::new()
            .name("launch".to_owned())
            .spawn(move || spawn(command, pid_writer, gate_reader))?;
        let mut pid = [0; 4];
        pid_reader.read_exact(&mut pid)?;
        Ok(Self {
            pid: u32::from_ne_bytes(pid),
            gate: Some(gate),
            spawning: Some(spawning),
            child: None,
        })
    }

    /// Its process id.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it run; an error when it cannot be executed.
    pub(super) fn release(&mut self) -> io::Result<()> {
        if let Some(mut gate) = self.gate.take() {
            gate.write_all(&[1])?;
        }
        if let Some(spawning) = self.spawning.take() {
            let child = spawning
                .join()
                .map_err(|_| io::Error::other("the launching thread panicked"))??;
            self.child = Some(child);
        }
        Ok(())
    }

    /// Has it ended?
    pub(super) fn ended(&mut self) -> io::Result<bool> {
        Ok(self.status()?.is_some())
    }

    /// How it ended, where it has.
    pub(super) fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => child.try_wait(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Asks it to end by SIGTERM, as perf does; was there something to ask?
    pub(super) fn end(&mut self) -> io::Result<bool> {
        let runs = !self.ended()?;
        if let Some(child) = self.child.as_ref().filter(|_| runs) {
            // One that has ended meanwhile is not waited for yet: its number is nobody else's.
            kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        Ok(runs)
    }
}

/// The parent's ends of the child's pipes are closed when the child runs, or could not be made.
fn spawn(
    mut command: Command,
    pid_writer: PipeWriter,
    gate_reader: PipeReader,
) -> io::Result<Child> {
    let child = command.spawn();
    drop((pid_writer, gate_reader));
    child
}

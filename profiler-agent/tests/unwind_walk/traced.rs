//! A program that is executed one instruction at a time, and the stack that its calls and returns
//! make: what is true, without any unwind information.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use libc::{c_int, c_void, pid_t, user_regs_struct};

/// How a frame of the true stack came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By a call: the address is where it returns to.
    Called,
    /// By a signal: the address is where it was interrupted.
    Interrupted,
}

#[derive(Clone, Copy, Debug)]
struct Below {
    /// Where on the stack the address is.
    slot: u64,
    address: u64,
    kind: Kind,
}

/// A stopped program.
pub(crate) struct Traced {
    child: Child,
    pid: pid_t,
    memory: File,
    pub(crate) registers: user_regs_struct,
    stack: Vec<Below>,
    /// A signal to be delivered with the next step.
    signal: c_int,
}

fn ptrace(request: libc::c_uint, pid: pid_t, data: usize) {
    // SAFETY: the requests used here take no address, and as data nothing, an integer, or a
    // pointer to a local of the type that the request fills.
    let result = unsafe { libc::ptrace(request, pid, std::ptr::null_mut::<c_void>(), data) };
    assert!(
        result != -1,
        "ptrace {request}: {}",
        std::io::Error::last_os_error()
    );
}

impl Traced {
    /// Starts `program`; it is stopped at its first instruction.
    pub(crate) fn start(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.env_clear();
        let traceme = || {
            // SAFETY: PTRACE_TRACEME takes no arguments.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
            Ok(())
        };
        // SAFETY: the closure makes one system call, which is async-signal-safe.
        let child = unsafe { command.pre_exec(traceme) }.spawn().unwrap();
        let pid = child.id() as pid_t;
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut traced = Self {
            child,
            pid,
            memory,
            // SAFETY: all zero is a value of this structure of integers.
            registers: unsafe { std::mem::zeroed() },
            stack: Vec::new(),
            signal: 0,
        };
        assert_eq!(traced.wait(), Some(libc::SIGTRAP));
        traced.read_registers();
        traced
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The signal that stopped it; `None` when it is gone.
    fn wait(&mut self) -> Option<c_int> {
        let mut status = 0;
        // SAFETY: `status` is a valid place for a status.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!(pid, self.pid);
        if libc::WIFSTOPPED(status) {
            return Some(libc::WSTOPSIG(status));
        }
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            "{status:#x}"
        );
        None
    }

    fn read_registers(&mut self) {
        let registers = &raw mut self.registers;
        ptrace(libc::PTRACE_GETREGS, self.pid, registers as usize);
    }

    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    pub(crate) fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    /// The true stack, leaf first.
    pub(crate) fn stack(&self) -> Vec<(u64, Kind)> {
        let leaf = (self.registers.rip, Kind::Interrupted);
        let callers = self.stack.iter().rev();
        std::iter::once(leaf)
            .chain(callers.map(|below| (below.address, below.kind)))
            .collect()
    }

    /// Executes one instruction, or enters a signal handler. False when the program has ended.
    pub(crate) fn step(&mut self) -> bool {
        let before = self.registers;
        let instruction = Instruction::at(self.memory_at(before.rip), before.rax);
        let signal = std::mem::take(&mut self.signal);
        ptrace(libc::PTRACE_SINGLESTEP, self.pid, signal as usize);
        let Some(stopped_by) = self.wait() else {
            return false;
        };
        self.read_registers();
        let now = self.registers;
        if stopped_by != libc::SIGTRAP {
            // Not delivered yet: nothing was executed, or a system call has returned.
            self.signal = stopped_by;
        } else if signal != 0 {
            // At the handler's first instruction: the return address, above it the `ucontext`.
            self.push(now.rsp + 8 + 168, before.rip, Kind::Interrupted);
            self.push_return_address();
            return true;
        } else if instruction == Instruction::Call {
            self.push_return_address();
        } else if instruction == Instruction::SignalReturn {
            while self
                .stack
                .pop()
                .is_some_and(|below| below.kind == Kind::Called)
            {}
        }
        // What lies below the stack pointer has returned, or was jumped over. A signal's frame may
        // be on another stack; `longjmp` out of a handler is the program's way back from it.
        let mut left = self.stack.len();
        for (index, below) in self.stack.iter().enumerate().rev() {
            if below.slot >= now.rsp {
                break;
            }
            left = index;
        }
        self.stack.truncate(left);
        true
    }

    fn memory_at(&self, address: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        let _ = self.memory.read_at(&mut bytes, address);
        bytes
    }

    fn push_return_address(&mut self) {
        let slot = self.registers.rsp;
        let address = self.word(slot).unwrap();
        self.push(slot, address, Kind::Called);
    }

    fn push(&mut self, slot: u64, address: u64, kind: Kind) {
        self.stack.push(Below {
            slot,
            address,
            kind,
        });
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instruction {
    Call,
    SignalReturn,
    Other,
}

impl Instruction {
    /// Intel SDM volume 2: CALL is E8 or FF /2, behind prefixes and REX.
    fn at(bytes: [u8; 16], rax: u64) -> Self {
        let prefix = |byte: &u8| matches!(byte, 0x3e | 0x66 | 0x67 | 0xf2 | 0xf3 | 0x40..=0x4f);
        let start = bytes.iter().take_while(|byte| prefix(byte)).count();
        match bytes.get(start..).unwrap_or_default() {
            [0xe8, ..] => Self::Call,
            [0xff, modrm, ..] if modrm >> 3 & 7 == 2 => Self::Call,
            [0x0f, 0x05, ..] if rax == 15 => Self::SignalReturn,
            _ => Self::Other,
        }
    }
}

/// Compiles `source` with `options`; the program.
pub(crate) fn compile(
    compiler: &str,
    directory: &Path,
    name: &str,
    source: &Path,
    options: &[&str],
) -> std::path::PathBuf {
    let program = directory.join(name);
    let status = Command::new(compiler)
        .arg(source)
        .arg("-o")
        .arg(&program)
        .args(options)
        .status()
        .unwrap();
    assert!(status.success(), "{compiler} {options:?}");
    program
}

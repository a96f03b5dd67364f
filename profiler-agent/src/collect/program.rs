//! One program: loaded, and what that cost.

use std::io;
use std::time::{Duration, Instant};

use aya::programs::{BtfTracePoint, Program, ProgramError};
use aya::{Btf, Ebpf};

use super::CollectError;
use super::loader::privilege_fix;
use super::way::Way;

/// What loading a program cost the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// The program's name.
    pub name: &'static str,
    /// How it repeats the steps of a walk, if it walks.
    pub way: Option<Way>,
    /// Instructions that the verifier looked at, where the kernel tells.
    pub verified_instructions: Option<u32>,
    /// How long loading (and attaching) took.
    pub load_time: Duration,
}

/// The verifier gives up with `EAGAIN` when a signal is pending (`BPF_PROG_LOAD` checks between states).
const MOST_ATTEMPTS: u32 = 10;

/// Loads a program and attaches it to a tracepoint of the scheduler.
pub(super) fn load_tracepoint(
    programs: &mut Ebpf,
    name: &'static str,
    tracepoint: &str,
    btf: &Btf,
) -> Result<ProgramCost, CollectError> {
    load(programs, name, |program| {
        let program = <&mut BtfTracePoint>::try_from(program)?;
        program.load(tracepoint, btf)?;
        program.attach().map(|_| ())
    })
}

/// Loads one program and notes what that cost.
pub(super) fn load(
    programs: &mut Ebpf,
    name: &'static str,
    load: impl Fn(&mut Program) -> Result<(), ProgramError>,
) -> Result<ProgramCost, CollectError> {
    let program = programs
        .program_mut(name)
        .ok_or_else(|| no_such_program(name))?;
    let start = Instant::now();
    let mut attempts = 1;
    while let Err(error) = load(program) {
        if attempts == MOST_ATTEMPTS || !is_interrupted(&error) {
            return Err(refused(name, &error));
        }
        attempts += 1;
    }
    let load_time = start.elapsed();
    let info = program.info().map_err(|error| refused(name, &error))?;
    Ok(ProgramCost {
        name,
        way: None,
        verified_instructions: info.verified_instruction_count(),
        load_time,
    })
}

/// `run_cnt` and `run_time_ns` of a program, from its descriptor's information in `/proc`.
pub(super) fn run_statistics(program: std::os::fd::BorrowedFd<'_>) -> Option<(u64, u64)> {
    use std::os::fd::AsRawFd as _;
    let text =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .parse()
                .ok()
        })
    };
    Some((field("run_cnt")?, field("run_time_ns")?))
}

pub(super) fn no_such_program(name: &str) -> CollectError {
    CollectError::System {
        call: format!("the object has no program {name}"),
        source: io::ErrorKind::NotFound.into(),
    }
}

/// Did a signal interrupt the verifier?
fn is_interrupted(error: &ProgramError) -> bool {
    let source = match error {
        ProgramError::LoadError { io_error, .. } => io_error,
        ProgramError::SyscallError(call) => &call.io_error,
        _ => return false,
    };
    matches!(source.raw_os_error(), Some(libc::EAGAIN | libc::EINTR))
}

/// Is a missing privilege the reason?
pub(super) fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::PermissionDenied
        {
            return true;
        }
        current = error.source();
    }
    false
}

pub(super) fn refused(program: &'static str, error: &ProgramError) -> CollectError {
    if is_permission(error)
        && !matches!(error, ProgramError::LoadError { verifier_log, .. } if !verifier_log.to_string().is_empty())
    {
        return CollectError::Privilege {
            what: "loading a BPF program",
            source: io::ErrorKind::PermissionDenied.into(),
            fix: privilege_fix(),
        };
    }
    let text = chain(error);
    let missing_helper = ["unknown func", "invalid func", "unsupported helper"];
    if missing_helper.iter().any(|needle| text.contains(needle)) {
        return CollectError::Kernel {
            missing: format!(
                "`{program}` uses a BPF helper that is not there ({})",
                tail(&text)
            ),
            fix: "A kernel that has this helper for programs of its kind is needed; kernel lockdown may hide some.",
        };
    }
    CollectError::Program {
        program,
        reason: tail(&text).to_owned(),
    }
}

pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut current = error.source();
    while let Some(error) = current {
        text.push_str(": ");
        text.push_str(&error.to_string());
        current = error.source();
    }
    text
}

/// The end of a verifier's log: where the reason is.
fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(2000);
    let start = (start..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    &text[start..]
}

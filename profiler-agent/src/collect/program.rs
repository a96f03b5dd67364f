//! One program: loaded, and what that cost.

use std::io;
use std::time::{Duration, Instant};

use aya::programs::{BtfTracePoint, Program, ProgramError};
use aya::{Btf, Ebpf};

use super::CollectError;
use super::error::{Attempt, again};
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
    again(|| load(program)).map_err(|error| refused(name, &error))?;
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

/// Why the kernel refused a program.
pub(super) fn refused(name: &'static str, error: &ProgramError) -> CollectError {
    let attempt = match error {
        ProgramError::LoadError { .. } => Attempt::LoadProgram(name),
        _ => Attempt::AttachProgram(name),
    };
    CollectError::explained(attempt, error)
}

//! How the kernel side repeats the steps of a walk: found by trying.
//!
//! The step is the same code (`profiler-ebpf/src/repeat.rs`). The first way asks more of the kernel; every kernel that the
//! agent runs on takes the second.

use std::fmt;
use std::str::FromStr;

use aya::maps::Array;
use aya::programs::{BtfTracePoint, PerfEvent, ProgramError};
use aya::{Btf, Ebpf};

use super::CollectError;
use super::program::{self, ProgramCost};

/// A way to repeat the steps of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The helper `bpf_loop` calls the step. Tasks and their registers are what the verifier knows as such
    /// (`bpf_get_current_task_btf`, `bpf_task_pt_regs`): no memory of the kernel is read otherwise.
    Helper,
    /// A bounded loop calls the step, a function that is verified by itself; tasks are read by their address.
    Bounded,
}

impl Way {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Helper, Self::Bounded];

    /// The program that samples in this way.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Helper => "sample",
            Self::Bounded => "sample_bounded",
        }
    }
}

impl Way {
    /// What users call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Helper => "bpf_loop",
            Self::Bounded => "bounded",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|way| way.name() == name)
            .ok_or_else(|| format!("{name} is neither bpf_loop nor bounded"))
    }
}

/// Loads the program that samples: in the `wanted` way, or in the first that the kernel takes.
///
/// # Errors
/// The kernel takes none; why it refused the one that asks least.
pub(super) fn load(
    programs: &mut Ebpf,
    wanted: Option<Way>,
) -> Result<(Way, ProgramCost), CollectError> {
    let mut refused = None;
    for way in Way::ALL {
        if wanted.is_some_and(|wanted| wanted != way) {
            continue;
        }
        match load_one(programs, way) {
            Ok(cost) => return Ok((way, cost)),
            Err(error) if error.is_privilege() => return Err(error),
            Err(error) => {
                tracing::debug!(%way, %error, "the kernel refused one way to walk stacks");
                refused = Some(error);
            }
        }
    }
    Err(refused.unwrap_or_else(|| program::no_such_program("sample")))
}

fn load_one(programs: &mut Ebpf, way: Way) -> Result<ProgramCost, CollectError> {
    let mut cost = program::load(programs, way.program(), |program| {
        <&mut PerfEvent>::try_from(program)?.load()
    })?;
    cost.way = Some(way);
    Ok(cost)
}

/// The program that samples in this way.
pub(super) fn program(programs: &Ebpf, way: Way) -> Result<&PerfEvent, CollectError> {
    let name = way.program();
    programs
        .program(name)
        .ok_or_else(|| program::no_such_program(name))?
        .try_into()
        .map_err(|error: ProgramError| program::refused(name, &error))
}

/// Lets the kernel side find out where tasks keep the registers that they left user space with: it sees one
/// system call of this thread. Where that fails, samples in the kernel have no user stack, and say so. Was it found?
pub(super) fn find_user_registers(programs: &mut Ebpf, btf: &Btf) -> bool {
    const PROGRAM: &str = "find_user_registers";
    let found = program::load_tracepoint(programs, PROGRAM, "sys_enter", btf).map(|_| {
        // Any system call of any thread will do; this is one.
        let _ = rustix::process::getppid();
    });
    if let Some(program) = programs.program_mut(PROGRAM)
        && let Ok(program) = <&mut BtfTracePoint>::try_from(program)
    {
        // It is not loaded where it was refused.
        let _ = program.unload();
    }
    let distance = || -> Option<u64> {
        let map = Array::<_, u64>::try_from(programs.map("USER_REGISTERS")?).ok()?;
        map.get(&0, 0).ok()
    };
    match (found, distance()) {
        (Ok(()), Some(distance)) if distance != 0 => {
            tracing::debug!(distance, "user registers are found on the kernel stack");
            return true;
        }
        (Err(error), _) => tracing::warn!(
            %error,
            "samples inside the kernel will have no user stack: no tracepoint shows where registers are saved"
        ),
        _ => tracing::warn!(
            "samples inside the kernel will have no user stack: no system call was seen"
        ),
    }
    false
}

//! What tells that a thread runs again.

use std::fmt::Write as _;

use aya::programs::{BtfTracePoint, FEntry, KProbe, ProgramError};
use aya::{Btf, Ebpf};

use super::super::CollectError;
use super::super::program::{self, ProgramCost};
use super::super::way::Way;
use super::Symbols;

/// What the program that takes stacks hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeWay {
    /// The tracepoint at the end of the scheduler.
    Tracepoint,
    /// The entry of the function that ends a switch, where the kernel can call a program instead of its tracer.
    Function,
    /// A probe on that function.
    Probe,
}

/// The tracepoint, and the function as the kernel's source has them (`kernel/sched/core.c`).
const TRACEPOINT: &str = "sched_exit_tp";
const FUNCTION: &str = "finish_task_switch";

impl ResumeWay {
    /// All of them, in the order in which they are tried: what costs least first.
    const ALL: [Self; 3] = [Self::Tracepoint, Self::Function, Self::Probe];

    /// What users call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tracepoint => "tracepoint sched_exit_tp",
            Self::Function => "fentry of finish_task_switch",
            Self::Probe => "kprobe on finish_task_switch",
        }
    }

    const fn program(self, way: Way) -> &'static str {
        match (self, way) {
            (Self::Tracepoint, Way::Helper) => "off_resume",
            (Self::Tracepoint, Way::Bounded) => "off_resume_bounded",
            (Self::Function, Way::Helper) => "off_entry",
            (Self::Function, Way::Bounded) => "off_entry_bounded",
            (Self::Probe, Way::Helper) => "off_probe",
            (Self::Probe, Way::Bounded) => "off_probe_bounded",
        }
    }
}

/// The program that takes stacks, loaded and hanging.
pub(super) struct Resume {
    pub(super) way: ResumeWay,
    pub(super) program: &'static str,
    /// The function as this kernel calls it, whose compiler may have made another one of it.
    function: String,
}

impl Resume {
    /// Loads the program, and lets it hang on the first of what the kernel has.
    ///
    /// # Errors
    /// It has none of it, and why.
    pub(super) fn find(
        programs: &mut Ebpf,
        btf: &Btf,
        way: Way,
        symbols: &Symbols,
    ) -> Result<(Self, ProgramCost), CollectError> {
        let mut missing = String::from("nothing tells that a thread runs again");
        for resume_way in ResumeWay::ALL {
            let resume = Self {
                way: resume_way,
                program: resume_way.program(way),
                function: symbols
                    .finish_task_switch
                    .clone()
                    .unwrap_or_else(|| FUNCTION.to_owned()),
            };
            match resume.try_it(programs, btf) {
                Ok(mut cost) => {
                    cost.way = Some(way);
                    return Ok((resume, cost));
                }
                Err(error) if error.is_privilege() => return Err(error),
                Err(error) => {
                    tracing::debug!(way = resume_way.name(), %error, "the kernel has not this way to see that threads run again");
                    // Writing to a string does not fail.
                    let _ = write!(missing, "; {}: {error}", resume_way.name());
                }
            }
        }
        Err(CollectError::OffCpu { missing })
    }

    fn try_it(&self, programs: &mut Ebpf, btf: &Btf) -> Result<ProgramCost, CollectError> {
        let cost = program::load(programs, self.program, |program| match self.way {
            ResumeWay::Tracepoint => <&mut BtfTracePoint>::try_from(program)?.load(TRACEPOINT, btf),
            ResumeWay::Function => <&mut FEntry>::try_from(program)?.load(FUNCTION, btf),
            ResumeWay::Probe => <&mut KProbe>::try_from(program)?.load(),
        })?;
        self.attach(programs)?;
        Ok(cost)
    }

    /// It hangs until it is unloaded, and finds nothing to do where nothing is due: some kernels let a program hang on a
    /// function only once.
    fn attach(&self, programs: &mut Ebpf) -> Result<(), CollectError> {
        let name = self.program;
        let program = programs
            .program_mut(name)
            .ok_or_else(|| program::no_such_program(name))?;
        let attached: Result<(), ProgramError> = match self.way {
            ResumeWay::Tracepoint => <&mut BtfTracePoint>::try_from(program)
                .and_then(BtfTracePoint::attach)
                .map(|_| ()),
            ResumeWay::Function => <&mut FEntry>::try_from(program)
                .and_then(FEntry::attach)
                .map(|_| ()),
            ResumeWay::Probe => <&mut KProbe>::try_from(program)
                .and_then(|program| program.attach(&self.function, 0))
                .map(|_| ()),
        };
        attached.map_err(|error| program::refused(name, &error))
    }
}

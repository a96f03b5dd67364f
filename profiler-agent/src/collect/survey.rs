//! What the running kernel offers: every way to walk stacks is tried, every optional feature looked at. Nothing is
//! sampled, and nothing is left behind.

use std::fs;

use super::error::Host;
use super::program::ProgramCost;
use super::sideband::Sideband;
use super::sideband::open::MappingRecords;
use super::way::Way;
use super::{CollectError, Kernel, LoadOptions, OffCpu, ResumeWay, Selection, cpus, limits};
use crate::profile::SamplePeriod;

/// How much of something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// All of it.
    Ok,
    /// Less: the agent runs without, and what that costs is said.
    Degraded,
    /// It is missing, and the agent cannot run.
    Missing,
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// Something that the agent uses of the kernel or the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is.
    pub name: &'static str,
    /// How much of it is there.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What helps, where something does.
    pub fix: Option<String>,
}

impl Feature {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, State::Ok, detail, None)
    }
    fn new(name: &'static str, state: State, detail: impl Into<String>, fix: Option<&str>) -> Self {
        Self {
            name,
            state,
            detail: detail.into(),
            fix: fix.map(str::to_owned),
        }
    }
}

/// A way to walk stacks: what loading its programs cost, or why the kernel refused them.
#[derive(Debug)]
pub struct Attempt {
    /// The way.
    pub way: Way,
    /// All programs that the agent would run.
    pub loaded: Result<Loaded, CollectError>,
}

/// The programs of one way, loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What each cost.
    pub costs: Vec<ProgramCost>,
    /// Can the user stacks of samples inside the kernel be walked?
    pub finds_user_registers: bool,
    /// What tells that threads run again that were off CPU, or why nothing does.
    pub off_cpu: Result<ResumeWay, CollectError>,
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// Every way, in the order in which the agent tries them.
    pub attempts: Vec<Attempt>,
    /// Everything else.
    pub features: Vec<Feature>,
}

impl Survey {
    /// Looks at the running kernel. Takes as long as loading the programs twice.
    #[must_use]
    pub fn take() -> Self {
        limits::raise();
        let host = Host::read();
        let attempts: Vec<Attempt> = Way::ALL.into_iter().map(attempt).collect();
        let features = vec![
            walk(&attempts),
            user_registers(&attempts),
            off_cpu(&attempts),
            mapping_records(),
            cgroups(fs::read_to_string("/proc/self/mountinfo").ok().as_deref()),
            processors(),
            open_files(&host),
            capabilities(&host),
            lockdown(
                fs::read_to_string("/sys/kernel/security/lockdown")
                    .ok()
                    .as_deref(),
            ),
        ];
        Self { attempts, features }
    }

    /// The worst that was found.
    #[must_use]
    pub fn state(&self) -> State {
        let states = self.features.iter().map(|feature| feature.state);
        states.max().unwrap_or(State::Ok)
    }

    /// Is a missing privilege why the agent cannot run?
    #[must_use]
    pub fn lacks_privilege(&self) -> bool {
        self.attempts
            .iter()
            .all(|attempt| matches!(&attempt.loaded, Err(error) if error.is_privilege()))
    }
}

fn attempt(way: Way) -> Attempt {
    Attempt {
        way,
        loaded: load(way, Some(OffCpu::default())).or_else(|error| match error {
            CollectError::OffCpu { .. } => load(way, None).map(|loaded| Loaded {
                off_cpu: Err(error),
                ..loaded
            }),
            error => Err(error),
        }),
    }
}

fn load(way: Way, off_cpu: Option<OffCpu>) -> Result<Loaded, CollectError> {
    let options = LoadOptions {
        period: SamplePeriod::from_hertz(99),
        selection: Selection::All,
        table_budget: 0,
        way: Some(way),
        off_cpu,
    };
    let (kernel, costs) = Kernel::load(&options)?;
    let not_asked = || CollectError::OffCpu {
        missing: "it was not asked for".to_owned(),
    };
    Ok(Loaded {
        costs,
        finds_user_registers: kernel.finds_user_registers(),
        off_cpu: kernel.off_cpu().ok_or_else(not_asked),
    })
}

/// Can stacks be walked, and how?
fn walk(attempts: &[Attempt]) -> Feature {
    const NAME: &str = "stack walk";
    let first = attempts.iter().find(|attempt| attempt.loaded.is_ok());
    match first.map(|attempt| attempt.way) {
        Some(Way::Helper) => Feature::ok(NAME, "by the helper bpf_loop"),
        Some(Way::Bounded) => Feature::ok(
            NAME,
            "by bounded loops: the kernel lacks bpf_loop or bpf_task_pt_regs, and stacks lose nothing by it",
        ),
        None => {
            let reason = attempts.last().and_then(|last| last.loaded.as_ref().err());
            let reason = reason.map_or_else(String::new, ToString::to_string);
            Feature::new(NAME, State::Missing, reason, None)
        }
    }
}

fn user_registers(attempts: &[Attempt]) -> Feature {
    const NAME: &str = "user registers";
    let loaded = attempts
        .iter()
        .find_map(|attempt| attempt.loaded.as_ref().ok());
    match loaded.map(|loaded| loaded.finds_user_registers) {
        Some(true) => Feature::ok(NAME, "found also for samples inside the kernel"),
        Some(false) => Feature::new(
            NAME,
            State::Degraded,
            "samples inside the kernel have no user stack: neither bpf_task_pt_regs nor the tracepoint sys_enter is there",
            Some("A kernel with CONFIG_FTRACE_SYSCALLS is needed for them."),
        ),
        None => Feature::new(
            NAME,
            State::Missing,
            "no program could be loaded that reads them",
            None,
        ),
    }
}

fn off_cpu(attempts: &[Attempt]) -> Feature {
    const NAME: &str = "off-CPU time";
    let mut loaded = attempts
        .iter()
        .filter_map(|attempt| attempt.loaded.as_ref().ok());
    match loaded.next().map(|loaded| &loaded.off_cpu) {
        Some(Ok(way)) => Feature::ok(NAME, format!("by the {}", way.name())),
        Some(Err(error)) => Feature::new(NAME, State::Degraded, error.to_string(), None),
        None => Feature::new(
            NAME,
            State::Missing,
            "no program could be loaded that samples stacks",
            None,
        ),
    }
}

fn mapping_records() -> Feature {
    const NAME: &str = "process records";
    let online = cpus::online().unwrap_or_default();
    match Sideband::open(&online) {
        Ok(sideband) if sideband.records() == MappingRecords::BuildId => {
            Feature::ok(NAME, "perf records have build ids of what processes map")
        }
        Ok(_) => Feature::ok(
            NAME,
            "perf records have device and inode of what processes map; build ids are read from the files",
        ),
        Err(error) => Feature::new(NAME, State::Missing, error.to_string(), None),
    }
}

/// `mounts` is the content of `/proc/self/mountinfo` (`proc(5)`).
fn cgroups(mounts: Option<&str>) -> Feature {
    const NAME: &str = "control groups";
    let has_version_2 = mounts.is_some_and(|mounts| {
        mounts.lines().any(|line| {
            line.split(" - ")
                .nth(1)
                .is_some_and(|end| end.starts_with("cgroup2 "))
        })
    });
    if has_version_2 {
        return Feature::ok(NAME, "version 2");
    }
    Feature::new(
        NAME,
        State::Degraded,
        "no hierarchy of version 2 is mounted: containers are told apart by the paths of version 1",
        Some(
            "Mount one (mount -t cgroup2 none /sys/fs/cgroup/unified), or boot with systemd.unified_cgroup_hierarchy=1.",
        ),
    )
}

fn processors() -> Feature {
    const NAME: &str = "processors";
    match (cpus::online(), cpus::possible()) {
        (Ok(online), Ok(possible)) => Feature::ok(
            NAME,
            format!(
                "{} online of {possible} possible; others are sampled once they come online",
                online.len()
            ),
        ),
        (Err(error), _) | (_, Err(error)) => Feature::new(
            NAME,
            State::Missing,
            format!("/sys/devices/system/cpu cannot be read: {error}"),
            Some("Mount sysfs at /sys."),
        ),
    }
}

fn open_files(host: &Host) -> Feature {
    const NAME: &str = "open files";
    let online = cpus::online().map_or(1, |online| online.len());
    match limits::check_open_files(online, host) {
        Ok(()) => Feature::ok(
            NAME,
            host.open_files
                .map_or_else(|| "no limit".to_owned(), |limit| limit.to_string()),
        ),
        Err(refusal) => Feature::new(NAME, State::Missing, refusal.why, Some(&refusal.fix)),
    }
}

fn capabilities(host: &Host) -> Feature {
    const NAME: &str = "capabilities";
    let missing = limits::missing_capabilities(host);
    if missing.is_empty() {
        return Feature::ok(
            NAME,
            "none is missing of those that the agent can do without",
        );
    }
    let fix = "Add what is missing, or run the agent as root.";
    Feature::new(NAME, State::Degraded, missing.join("; "), Some(fix))
}

/// `file` is the content of `/sys/kernel/security/lockdown`, in which the level in force is in brackets.
fn lockdown(file: Option<&str>) -> Feature {
    const NAME: &str = "lockdown";
    let level = file.and_then(|file| file.split_once('[')?.1.split_once(']'));
    match level.map(|(level, _)| level) {
        None => Feature::ok(
            NAME,
            "none is known: securityfs is not mounted, or the kernel has none",
        ),
        Some("none") => Feature::ok(NAME, "not in force"),
        Some(level) => Feature::ok(
            NAME,
            format!(
                "{level}: BPF programs may not read the kernel's memory by address at confidentiality"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::error::capability::{Capabilities, SYSLOG};

    #[test]
    fn control_groups_of_version_2_are_seen_beside_those_of_version_1() {
        let first = "30 24 0:26 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu\n";
        let second = "31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroups(Some(first)).state, State::Degraded);
        assert_eq!(cgroups(Some(&format!("{first}{second}"))).state, State::Ok);
        assert_eq!(cgroups(None).state, State::Degraded);
    }

    #[test]
    fn what_a_host_gives_too_little_of_is_said() {
        let host = Host {
            open_files: Some(24),
            ..Host::unrestricted()
        };
        assert_eq!(open_files(&host).state, State::Missing);
        assert_eq!(capabilities(&host).state, State::Ok);
        let host = Host {
            capabilities: Capabilities::ALL.without(SYSLOG),
            ..Host::unrestricted()
        };
        assert_eq!(open_files(&host).state, State::Ok);
        let found = capabilities(&host);
        assert_eq!(found.state, State::Degraded);
        assert_eq!(
            found.detail,
            "CAP_SYSLOG is missing: functions of the kernel have no names"
        );
    }

    #[test]
    fn the_level_in_force_is_the_one_in_brackets() {
        assert_eq!(
            lockdown(Some("[none] integrity confidentiality\n")).detail,
            "not in force"
        );
        let found = lockdown(Some("none integrity [confidentiality]\n"));
        assert!(
            found.detail.starts_with("confidentiality:"),
            "{}",
            found.detail
        );
    }
}

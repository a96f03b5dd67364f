//! From what failed to a sentence that says why, and what to do. Pure.
//!
//! The kernel has few numbers for many causes: `EPERM` is a missing capability, a limit of locked memory, a seccomp
//! filter, a lockdown. Which one it is follows from what was tried and from what is known of the machine
//! ([`Host`]). The sentences are listed in `docs/kernels.md`.

use super::attempt::Attempt;
use super::capability::Need;
use super::feature;
use super::host::{Host, Lockdown};
use super::permission::{locked_down, permission};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The number of the system call's error, where there was one.
    pub errno: Option<i32>,
    /// Anything else that was said: the chain of errors, the verifier's log.
    pub text: &'a str,
}

/// Of what kind the cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A privilege is missing.
    Privilege,
    /// A limit is reached.
    Limit,
    /// Signals interrupted it: it may be tried again.
    Interrupted,
    /// The kernel lacks something.
    Feature,
    /// None that is known.
    Unknown,
}

/// What failed, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}. {fix}")]
pub struct Refusal {
    /// What was tried, on what.
    pub what: String,
    /// Why it failed.
    pub why: String,
    /// What helps; a sentence.
    pub fix: String,
    /// The system call that failed.
    pub call: &'static str,
    /// Of what kind the cause is.
    pub cause: Cause,
}

/// Why `attempt` failed on this host, and what helps.
#[must_use]
pub fn explain(attempt: Attempt<'_>, failure: Failure<'_>, host: &Host) -> Refusal {
    let (cause, why, fix) = by_number(attempt, failure, host)
        .or_else(|| by_text(attempt, failure))
        .unwrap_or_else(|| unknown(attempt, failure));
    Refusal {
        what: attempt.words(),
        call: attempt.call(),
        why,
        fix,
        cause,
    }
}

/// Cause, reason and fix.
pub(super) type Found = (Cause, String, String);

pub(super) fn found(cause: Cause, why: impl Into<String>, fix: impl Into<String>) -> Option<Found> {
    Some((cause, why.into(), fix.into()))
}

/// Numbers that say enough together with what was tried.
fn by_number(attempt: Attempt<'_>, failure: Failure<'_>, host: &Host) -> Option<Found> {
    match failure.errno? {
        libc::EMFILE => found(Cause::Limit, too_few_files(host), MORE_FILES),
        libc::ENFILE => found(
            Cause::Limit,
            "the machine has as many files open as fs.file-max lets",
            "Raise the sysctl fs.file-max.",
        ),
        libc::ENOMEM => found(
            Cause::Limit,
            "the kernel has no memory for it, or the agent's cgroup none left",
            "Raise the agent's memory limit (resources.limits.memory, MemoryMax=, docker --memory), or lower \
             tables.max_size.",
        ),
        libc::EAGAIN | libc::EINTR => found(
            Cause::Interrupted,
            "signals interrupted it each time that it was tried",
            "Start the agent again, and send it fewer signals.",
        ),
        libc::ENOSYS => Some(no_system_call(attempt)),
        libc::EPERM | libc::EACCES => permission(attempt, failure, host),
        libc::ENODEV if attempt.need() == Some(Need::Perf) => found(
            Cause::Unknown,
            "the CPU is offline",
            "It is sampled when it is online again.",
        ),
        libc::EBUSY if attempt.need() == Some(Need::Perf) => found(
            Cause::Limit,
            "another user has the CPU's hardware counters for itself",
            "End the other profiler, or the debugger that uses them.",
        ),
        libc::ENOENT | libc::EOPNOTSUPP if matches!(attempt, Attempt::SampleCpu(_)) => found(
            Cause::Feature,
            "this kernel has neither a counter of cycles nor the timer cpu-clock as a perf event",
            "A kernel with CONFIG_PERF_EVENTS is needed.",
        ),
        libc::ENOENT if attempt == Attempt::ReadTypes => found(
            Cause::Feature,
            "there is none: this kernel was built without it, or /sys is not mounted here",
            "A kernel with CONFIG_DEBUG_INFO_BTF=y is needed, and in a container the host's /sys (or \
             /sys/kernel/btf) mounted.",
        ),
        libc::ENOENT if attempt == Attempt::FindCpus => found(
            Cause::Unknown,
            "there is no such directory: /sys is not mounted here",
            "Mount sysfs on /sys (in a container: the host's /sys, read-only).",
        ),
        libc::E2BIG if matches!(attempt, Attempt::UseMap(_)) => found(
            Cause::Limit,
            "it is full",
            "What has no room in it is counted, and tried again when something else has left.",
        ),
        libc::EINVAL | libc::EOPNOTSUPP => match attempt {
            Attempt::CreateMap(name) => {
                let lacking = feature::of_map(name);
                found(
                    Cause::Feature,
                    format!("this kernel does not have {lacking}"),
                    feature::needed(lacking),
                )
            }
            Attempt::RunProgram(_) => found(
                Cause::Feature,
                "this kernel does not run BPF programs on perf events of this kind",
                "A kernel with CONFIG_BPF_EVENTS=y is needed.",
            ),
            _ => None,
        },
        _ => None,
    }
}

fn no_system_call(attempt: Attempt<'_>) -> Found {
    if attempt.is_bpf() {
        (
            Cause::Feature,
            "this kernel has no bpf(2)".to_owned(),
            "A kernel with CONFIG_BPF_SYSCALL=y is needed.".to_owned(),
        )
    } else {
        (
            Cause::Feature,
            "this kernel has no perf events".to_owned(),
            "A kernel with CONFIG_PERF_EVENTS=y is needed.".to_owned(),
        )
    }
}

/// What the verifier or the loader say in words.
fn by_text(attempt: Attempt<'_>, failure: Failure<'_>) -> Option<Found> {
    let text = failure.text;
    if let Some(tracepoint) = feature::missing_tracepoint(text) {
        return found(
            Cause::Feature,
            format!("this kernel has no tracepoint {tracepoint} with type information"),
            "A kernel with CONFIG_TRACEPOINTS=y and CONFIG_DEBUG_INFO_BTF=y is needed.",
        );
    }
    if !matches!(attempt, Attempt::LoadProgram(_)) {
        return None;
    }
    if let Some(helper) = feature::missing_helper(text) {
        if feature::is_locked_down(&helper) {
            return Some(locked_down(Lockdown::Confidentiality));
        }
        return found(
            Cause::Feature,
            format!("this kernel does not have the BPF helper {helper}"),
            feature::needed(&helper),
        );
    }
    if feature::is_too_large(text) {
        return found(
            Cause::Feature,
            format!(
                "the verifier of this kernel gave up: {}",
                feature::last_lines(text)
            ),
            "Report this kernel with this message.",
        );
    }
    feature::verifier_has_an_objection(text).then(|| {
        (
            Cause::Unknown,
            format!(
                "the verifier of this kernel rejects it: {}",
                feature::last_lines(text)
            ),
            "Report this kernel with this message.".to_owned(),
        )
    })
}

fn unknown(attempt: Attempt<'_>, failure: Failure<'_>) -> Found {
    let why = match (failure.errno, failure.text.trim()) {
        (Some(errno), "") => std::io::Error::from_raw_os_error(errno).to_string(),
        (None, "") => "no reason was given".to_owned(),
        (_, text) => feature::last_lines(text),
    };
    let fix = if attempt.is_bpf() {
        "Report this kernel with this message."
    } else {
        "Report this with the message and the kernel's log."
    };
    (Cause::Unknown, why, fix.to_owned())
}

/// What `EMFILE` means.
fn too_few_files(host: &Host) -> String {
    match host.open_files {
        Some(limit) => {
            format!("the agent has as many files open as it may, {limit} (RLIMIT_NOFILE)")
        }
        None => "the agent has as many files open as it may (RLIMIT_NOFILE)".to_owned(),
    }
}

/// What helps against `EMFILE`.
pub const MORE_FILES: &str = "Raise the limit to 65536 or more: LimitNOFILE=65536 (systemd), \
     --ulimit nofile=65536 (docker), ulimit -n 65536.";

//! What `EPERM` and `EACCES` mean. Pure.

use super::attempt::Attempt;
use super::capability::{self, Capability, Need};
use super::explain::{Cause, Failure, Found, found};
use super::feature;
use super::host::{Host, Lockdown};

/// `EPERM` and `EACCES`.
pub(super) fn permission(attempt: Attempt<'_>, failure: Failure<'_>, host: &Host) -> Option<Found> {
    // The verifier answers EACCES to programs that it does not like, with a log that says why.
    if matches!(attempt, Attempt::LoadProgram(_))
        && feature::verifier_has_an_objection(failure.text)
    {
        return None;
    }
    let Some(need) = attempt.need() else {
        return found(
            Cause::Privilege,
            "permission denied",
            "Run the agent as root, or let it read the file.",
        );
    };
    if !host.initial_user_namespace {
        return found(
            Cause::Privilege,
            "the agent runs in a user namespace, whose capabilities do not count for BPF and perf events",
            "Run it in the host's user namespace (no rootless container; docker --userns=host, or hostUsers: true).",
        );
    }
    let needs: &[Need] = match attempt {
        // Programs that read kernel memory ask for both.
        Attempt::LoadProgram(_) => &[Need::Bpf, Need::Perf],
        _ if need == Need::Bpf => &[Need::Bpf],
        _ => &[Need::Perf],
    };
    if needs
        .iter()
        .any(|need| capability::missing_for(*need, host).is_some())
    {
        return Some(missing_capabilities(host));
    }
    match attempt {
        Attempt::MapSideband(_) if !host.capabilities.has(capability::IPC_LOCK) => {
            return found(
                Cause::Limit,
                "the rings of perf events may take no more memory (kernel.perf_event_mlock_kb)",
                "Add CAP_IPC_LOCK, or raise the sysctl kernel.perf_event_mlock_kb.",
            );
        }
        Attempt::LoadObject | Attempt::CreateMap(_) | Attempt::LoadProgram(_) => {
            if let Some(bytes) = host.locked_memory {
                return Some(too_little_locked_memory(bytes));
            }
        }
        _ => {}
    }
    if host.seccomp_filter {
        let call = if attempt.is_bpf() {
            "bpf(2)"
        } else {
            "perf_event_open(2)"
        };
        return found(
            Cause::Privilege,
            format!("the seccomp filter that the agent runs under forbids {call}"),
            "Run it with a profile that allows bpf and perf_event_open (docker --security-opt seccomp=PROFILE or \
             =unconfined; seccompProfile: {type: Unconfined}).",
        );
    }
    if let Some(by) = &host.confined_by {
        return found(
            Cause::Privilege,
            format!("{by} forbids it"),
            "Allow the agent bpf and perf_event in that policy, or run it unconfined (docker --security-opt \
             apparmor=unconfined or label=disable).",
        );
    }
    if host.lockdown != Lockdown::Off {
        return Some(locked_down(host.lockdown));
    }
    found(
        Cause::Privilege,
        "permission denied, although no capability is missing",
        "Look into the kernel's log and the audit log: a security module forbids it.",
    )
}

/// Names what is missing, and nothing else.
fn missing_capabilities(host: &Host) -> Found {
    let missing = capability::missing(host);
    let list = |words: &dyn Fn(&Capability) -> String| {
        let words: Vec<String> = missing.iter().map(words).collect();
        words.join(" and ")
    };
    let names = list(&|capability| capability.name.to_owned());
    let purposes = list(&|capability| format!("{} ({})", capability.name, capability.purpose));
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let mut fix = format!("Add {purposes}, or run the agent as root.");
    if let Some(level) = host.perf_event_paranoid
        && level > 2
        && missing.contains(&capability::SYS_ADMIN)
    {
        fix.push_str(&format!(
            " Or set kernel.perf_event_paranoid to 2: it is {level}, at which this kernel asks for CAP_SYS_ADMIN in \
             place of CAP_PERFMON."
        ));
    }
    (Cause::Privilege, format!("{names} {verb} missing"), fix)
}

fn too_little_locked_memory(bytes: u64) -> Found {
    (
        Cause::Limit,
        format!(
            "this kernel counts BPF memory as locked memory, of which the agent may have {} KiB (RLIMIT_MEMLOCK)",
            bytes >> 10
        ),
        "Add CAP_SYS_RESOURCE, with which the agent raises the limit itself, or raise it: LimitMEMLOCK=infinity \
         (systemd), --ulimit memlock=-1 (docker), ulimit -l unlimited."
            .to_owned(),
    )
}

/// The kernel is locked down.
pub(super) fn locked_down(lockdown: Lockdown) -> Found {
    let mode = match lockdown {
        Lockdown::Confidentiality => "confidentiality",
        Lockdown::Integrity | Lockdown::Off => "integrity",
    };
    (
        Cause::Privilege,
        format!("the kernel is locked down (lockdown={mode}) and lets no program read its memory"),
        "Boot with lockdown=integrity, or without lockdown.".to_owned(),
    )
}

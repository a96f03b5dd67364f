//! The sentences, each as it is read by whoever has the machine before them.

use super::capability::{self, BPF, Capabilities, PERFMON, SYS_ADMIN, SYS_RESOURCE};
use super::*;

fn errno(number: i32) -> Failure<'static> {
    Failure {
        errno: Some(number),
        text: "",
    }
}

fn log(number: i32, text: &str) -> Failure<'_> {
    Failure {
        errno: Some(number),
        text,
    }
}

fn root() -> Host {
    Host::unrestricted()
}

/// A host whose agent has these capabilities and no other.
fn with(list: &[capability::Capability]) -> Host {
    let without_all = Capabilities(0);
    let capabilities = list.iter().fold(without_all, |have, capability| {
        Capabilities(have.0 | !Capabilities::ALL.without(*capability).0)
    });
    Host {
        capabilities,
        ..root()
    }
}

fn check(attempt: Attempt<'_>, failure: Failure<'_>, host: &Host, cause: Cause, sentence: &str) {
    let refusal = explain(attempt, failure, host);
    assert_eq!(refusal.to_string(), sentence);
    assert_eq!(refusal.cause, cause, "{sentence}");
    let documentation = include_str!("../../../../docs/kernels.md");
    let is_one_of_many = refusal.why.starts_with("CAP_") || refusal.why.contains("BPF helper");
    assert!(
        cause == Cause::Unknown || is_one_of_many || documentation.contains(&refusal.why),
        "docs/kernels.md has no {}",
        refusal.why
    );
}

#[test]
fn a_missing_capability_is_named_alone() {
    check(
        Attempt::CreateMap("RINGS"),
        errno(libc::EPERM),
        &with(&[PERFMON]),
        Cause::Privilege,
        "making the BPF map `RINGS`: CAP_BPF is missing. Add CAP_BPF (it loads the programs and makes their \
         maps), or run the agent as root.",
    );
    check(
        Attempt::SampleCpu(3),
        errno(libc::EACCES),
        &with(&[BPF]),
        Cause::Privilege,
        "sampling CPU 3 (perf_event_open): CAP_PERFMON is missing. Add CAP_PERFMON (it opens the perf \
         events of every CPU and lets the programs read kernel memory), or run the agent as root.",
    );
    // What the program needs beside what it is loaded with.
    check(
        Attempt::LoadProgram("sample"),
        log(
            libc::EPERM,
            "the BPF_PROG_LOAD syscall returned Operation not permitted (os error 1). Verifier output: ",
        ),
        &with(&[BPF]),
        Cause::Privilege,
        "loading the BPF program `sample`: CAP_PERFMON is missing. Add CAP_PERFMON (it opens the perf \
         events of every CPU and lets the programs read kernel memory), or run the agent as root.",
    );
    let nobody = explain(Attempt::CreateMap("RINGS"), errno(libc::EPERM), &with(&[]));
    assert_eq!(nobody.why, "CAP_BPF and CAP_PERFMON are missing");
    assert_eq!(
        nobody.fix,
        "Add CAP_BPF (it loads the programs and makes their maps) and CAP_PERFMON (it opens the perf events of every CPU \
         and lets the programs read kernel memory), or run the agent as root."
    );
}

#[test]
fn a_setting_that_asks_for_more_is_named_with_its_value() {
    let host = Host {
        perf_event_paranoid: Some(3),
        ..with(&[BPF, PERFMON])
    };
    check(
        Attempt::SampleCpu(0),
        errno(libc::EACCES),
        &host,
        Cause::Privilege,
        "sampling CPU 0 (perf_event_open): CAP_SYS_ADMIN is missing. Add CAP_SYS_ADMIN (this kernel asks \
         for it where others ask for CAP_BPF and CAP_PERFMON), or run the agent as root. Or set \
         kernel.perf_event_paranoid to 2: it is 3, at which this kernel asks for CAP_SYS_ADMIN in place of CAP_PERFMON.",
    );
    // A kernel that does not know the two.
    let host = Host {
        last_capability: 37,
        ..with(&[])
    };
    let refusal = explain(Attempt::CreateMap("RINGS"), errno(libc::EPERM), &host);
    assert_eq!(refusal.why, "CAP_SYS_ADMIN is missing");
    // With it, nothing is missing, whatever the setting.
    let host = Host {
        perf_event_paranoid: Some(4),
        ..with(&[SYS_ADMIN])
    };
    assert_eq!(capability::missing(&host), []);
}

#[test]
fn what_is_lost_without_a_capability_is_said() {
    let lost = |host: &Host| -> Vec<&'static str> {
        capability::losses(host)
            .iter()
            .map(|capability| capability.name)
            .collect()
    };
    assert_eq!(lost(&root()), <[&str; 0]>::default());
    assert_eq!(
        lost(&with(&[BPF, PERFMON])),
        [
            "CAP_SYS_PTRACE",
            "CAP_DAC_READ_SEARCH",
            "CAP_SYSLOG",
            "CAP_CHECKPOINT_RESTORE"
        ]
    );
    let public = Host {
        kernel_symbols_are_public: true,
        ..with(&[SYS_ADMIN])
    };
    assert_eq!(lost(&public), ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    assert!(
        capability::losses(&with(&[]))
            .iter()
            .all(|capability| !capability.cost.is_empty())
    );
}

#[test]
fn a_limit_of_descriptors_is_no_old_kernel() {
    let host = Host {
        open_files: Some(24),
        ..root()
    };
    for attempt in [
        Attempt::ReadTypes,
        Attempt::CreateMap("RINGS"),
        Attempt::LoadProgram("sample"),
        Attempt::SampleCpu(1),
        Attempt::OpenSideband(1),
    ] {
        let refusal = explain(attempt, errno(libc::EMFILE), &host);
        assert_eq!(
            refusal.why,
            "the agent has as many files open as it may, 24 (RLIMIT_NOFILE)"
        );
        assert_eq!(refusal.cause, Cause::Limit);
    }
    check(
        Attempt::SampleCpu(1),
        errno(libc::EMFILE),
        &host,
        Cause::Limit,
        "sampling CPU 1 (perf_event_open): the agent has as many files open as it may, 24 (RLIMIT_NOFILE). Raise the \
         limit to 65536 or more: LimitNOFILE=65536 (systemd), --ulimit nofile=65536 (docker), ulimit -n 65536.",
    );
}

#[test]
fn locked_memory_is_told_from_a_missing_capability() {
    let host = Host {
        locked_memory: Some(64 << 10),
        ..with(&[BPF, PERFMON])
    };
    assert!(!host.capabilities.has(SYS_RESOURCE));
    check(
        Attempt::CreateMap("CHUNKS"),
        errno(libc::EPERM),
        &host,
        Cause::Limit,
        "making the BPF map `CHUNKS`: this kernel counts BPF memory as locked memory, of which the agent may have 64 KiB \
         (RLIMIT_MEMLOCK). Add CAP_SYS_RESOURCE, with which the agent raises the limit itself, or raise it: \
         LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (docker), ulimit -l unlimited.",
    );
    check(
        Attempt::MapSideband(2),
        errno(libc::EPERM),
        &with(&[BPF, PERFMON]),
        Cause::Limit,
        "mapping the ring of the processes of CPU 2: the rings of perf events may take no more memory \
         (kernel.perf_event_mlock_kb). Add CAP_IPC_LOCK, or raise the sysctl kernel.perf_event_mlock_kb.",
    );
}

#[test]
fn who_else_forbids_it_is_named() {
    let filtered = Host {
        seccomp_filter: true,
        ..root()
    };
    check(
        Attempt::SampleCpu(0),
        errno(libc::EPERM),
        &filtered,
        Cause::Privilege,
        "sampling CPU 0 (perf_event_open): the seccomp filter that the agent runs under forbids perf_event_open(2). Run \
         it with a profile that allows bpf and perf_event_open (docker --security-opt seccomp=PROFILE or =unconfined; \
         seccompProfile: {type: Unconfined}).",
    );
    let confined = Host {
        confined_by: Some("the AppArmor profile `docker-default`".to_owned()),
        ..root()
    };
    let refusal = explain(Attempt::CreateMap("RINGS"), errno(libc::EPERM), &confined);
    assert_eq!(
        refusal.why,
        "the AppArmor profile `docker-default` forbids it"
    );
    let nested = Host {
        initial_user_namespace: false,
        ..root()
    };
    check(
        Attempt::CreateMap("RINGS"),
        errno(libc::EPERM),
        &nested,
        Cause::Privilege,
        "making the BPF map `RINGS`: the agent runs in a user namespace, whose capabilities do not count for BPF and perf \
         events. Run it in the host's user namespace (no rootless container; docker --userns=host, or hostUsers: true).",
    );
    let refusal = explain(Attempt::CreateMap("RINGS"), errno(libc::EPERM), &root());
    assert_eq!(
        refusal.why,
        "permission denied, although no capability is missing"
    );
}

/// As kernels write it, with aya's words around.
fn verifier(errno: &str, log: &str) -> String {
    format!(
        "the BPF_PROG_LOAD syscall returned {errno}. Verifier output: 0: (bf) r6 = r1\n{log}\nprocessed 12 insns (limit \
         1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    )
}

#[test]
fn a_missing_helper_is_named() {
    for (line, helper) in [
        ("invalid func unknown#181", "bpf_loop"),
        ("unknown func bpf_loop#181", "bpf_loop"),
        ("invalid func unknown#175", "bpf_task_pt_regs"),
        ("invalid func unknown#4711", "number 4711"),
        (
            "program of this type cannot use helper bpf_get_stack#67",
            "bpf_get_stack",
        ),
    ] {
        let text = verifier("Invalid argument (os error 22)", line);
        check(
            Attempt::LoadProgram("sample"),
            log(libc::EINVAL, &text),
            &root(),
            Cause::Feature,
            &format!(
                "loading the BPF program `sample`: this kernel does not have the BPF helper {helper}. A kernel with \
                 {helper} is needed; docs/kernels.md lists what else."
            ),
        );
    }
}

#[test]
fn a_lockdown_is_named() {
    let host = Host {
        lockdown: Lockdown::Confidentiality,
        ..root()
    };
    let sentence = "loading the BPF program `sample`: the kernel is locked down (lockdown=confidentiality) and lets no \
                    program read its memory. Boot with lockdown=integrity, or without lockdown.";
    for line in [
        "unknown func bpf_probe_read_kernel#113",
        "unknown func bpf_probe_read#4",
        "program of this type cannot use helper bpf_probe_read_kernel#113",
    ] {
        let text = verifier("Invalid argument (os error 22)", line);
        let attempt = Attempt::LoadProgram("sample");
        check(
            attempt,
            log(libc::EINVAL, &text),
            &host,
            Cause::Privilege,
            sentence,
        );
    }
    // Another helper has nothing to do with it.
    let text = verifier("Invalid argument (os error 22)", "invalid func unknown#181");
    let refusal = explain(
        Attempt::LoadProgram("sample"),
        log(libc::EINVAL, &text),
        &host,
    );
    assert_eq!(refusal.cause, Cause::Feature);
}

#[test]
fn the_verifier_is_quoted_at_its_end() {
    let long = format!(
        "{}\nR2 min value is negative, either use unsigned or 'var &= const'",
        "1: (07) r1 += 1\n".repeat(5000)
    );
    // EACCES is what the verifier answers: no privilege is missing.
    let text = verifier("Permission denied (os error 13)", &long);
    let refusal = explain(
        Attempt::LoadProgram("sample"),
        log(libc::EACCES, &text),
        &with(&[BPF, PERFMON]),
    );
    assert_eq!(refusal.cause, Cause::Unknown);
    assert!(
        refusal
            .why
            .ends_with("R2 min value is negative, either use unsigned or 'var &= const'"),
        "{}",
        refusal.why
    );
    assert!(refusal.why.len() < 800);
    let text = verifier(
        "Argument list too long (os error 7)",
        "BPF program is too large. Processed 1000001 insn",
    );
    let refusal = explain(
        Attempt::LoadProgram("sample"),
        log(libc::E2BIG, &text),
        &root(),
    );
    assert_eq!(refusal.cause, Cause::Feature);
    assert!(refusal.why.contains("too large"), "{}", refusal.why);
}

#[test]
fn what_the_kernel_was_built_without_is_named() {
    check(
        Attempt::ReadTypes,
        errno(libc::ENOENT),
        &root(),
        Cause::Feature,
        "reading the kernel's type information (/sys/kernel/btf/vmlinux): there is none: this kernel was built without \
         it, or /sys is not mounted here. A kernel with CONFIG_DEBUG_INFO_BTF=y is needed, and in a container the host's \
         /sys (or /sys/kernel/btf) mounted.",
    );
    check(
        Attempt::FindCpus,
        errno(libc::ENOENT),
        &root(),
        Cause::Unknown,
        "reading which CPUs are online (/sys/devices/system/cpu): there is no such directory: /sys is not mounted here. \
         Mount sysfs on /sys (in a container: the host's /sys, read-only).",
    );
    check(
        Attempt::CreateMap("sample_ring"),
        errno(libc::EINVAL),
        &root(),
        Cause::Feature,
        "making the BPF map `sample_ring`: this kernel does not have BPF ring buffers (BPF_MAP_TYPE_RINGBUF) in maps of \
         maps. A kernel with BPF ring buffers (BPF_MAP_TYPE_RINGBUF) in maps of maps is needed; docs/kernels.md lists what \
         else.",
    );
    check(
        Attempt::CreateMap("RINGS"),
        errno(libc::ENOSYS),
        &root(),
        Cause::Feature,
        "making the BPF map `RINGS`: this kernel has no bpf(2). A kernel with CONFIG_BPF_SYSCALL=y is needed.",
    );
    check(
        Attempt::SampleCpu(0),
        errno(libc::ENOSYS),
        &root(),
        Cause::Feature,
        "sampling CPU 0 (perf_event_open): this kernel has no perf events. A kernel with CONFIG_PERF_EVENTS=y is needed.",
    );
    check(
        Attempt::AttachProgram("process_fork"),
        Failure {
            errno: None,
            text: "Unknown BTF type `btf_trace_sched_process_fork`",
        },
        &root(),
        Cause::Feature,
        "attaching the BPF program `process_fork`: this kernel has no tracepoint sched_process_fork with type information. \
         A kernel with CONFIG_TRACEPOINTS=y and CONFIG_DEBUG_INFO_BTF=y is needed.",
    );
}

#[test]
fn what_is_not_known_is_said_as_it_came() {
    check(
        Attempt::UseMap("PROCESSES"),
        errno(libc::EBUSY),
        &root(),
        Cause::Unknown,
        "using the BPF map `PROCESSES`: Device or resource busy (os error 16). Report this kernel with this message.",
    );
    let refusal = explain(Attempt::LoadProgram("sample"), Failure::default(), &root());
    assert_eq!(refusal.why, "no reason was given");
}

#[test]
fn no_sentence_names_a_version() {
    let numbers = 1..134;
    let hosts = [root(), with(&[]), with(&[BPF, PERFMON])];
    for number in numbers {
        for host in &hosts {
            for attempt in [
                Attempt::ReadTypes,
                Attempt::FindCpus,
                Attempt::LoadObject,
                Attempt::CreateMap("RINGS"),
                Attempt::UseMap("RINGS"),
                Attempt::LoadProgram("sample"),
                Attempt::AttachProgram("process_fork"),
                Attempt::SampleCpu(1),
                Attempt::RunProgram(1),
                Attempt::OpenSideband(1),
                Attempt::MapSideband(1),
            ] {
                let sentence = explain(attempt, errno(number), host).to_string();
                assert!(sentence.ends_with('.'), "{sentence}");
                let versions = sentence
                    .split(|c: char| !c.is_ascii_digit() && c != '.')
                    .filter(|word| word.trim_matches('.').contains('.'))
                    .count();
                assert_eq!(versions, 0, "{sentence}");
            }
        }
    }
}

#[test]
fn a_load_that_a_signal_interrupts_is_done_again() {
    let mut left = 5;
    let loaded = again(|| {
        left -= 1;
        match left {
            0 => Ok(7),
            1 => Err(io::Error::from_raw_os_error(libc::EINTR)),
            _ => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
        }
    });
    assert_eq!(loaded.unwrap(), 7);
    let mut attempts = 0;
    let refused: Result<(), _> = again(|| {
        attempts += 1;
        Err(io::Error::from_raw_os_error(libc::EPERM))
    });
    assert_eq!(
        (attempts, refused.unwrap_err().raw_os_error()),
        (1, Some(libc::EPERM))
    );
    attempts = 0;
    let refused: Result<(), _> = again(|| {
        attempts += 1;
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    });
    assert_eq!(
        (attempts, refused.unwrap_err().raw_os_error()),
        (ATTEMPTS, Some(libc::EAGAIN))
    );
}

#[test]
fn the_number_is_found_below_other_errors() {
    let error = aya::maps::MapError::CreateError {
        name: "RINGS".to_owned(),
        io_error: io::Error::from_raw_os_error(libc::EMFILE),
    };
    assert_eq!(errno_of(&error), Some(libc::EMFILE));
    assert_eq!(
        chain(&error),
        "failed to create map `RINGS`: Too many open files (os error 24)"
    );
    let explained = CollectError::explained(Attempt::CreateMap("RINGS"), &error);
    assert!(
        explained.to_string().contains("RLIMIT_NOFILE"),
        "{explained}"
    );
    assert!(!explained.is_privilege());
}

//! The agent as `deploy/daemonset.yaml` runs it: as root with the capabilities that it lists and no other,
//! without a way to get more, on a root file system that it cannot write to. It profiles programs of
//! another user: one whose file nobody else may read, and one whose file is deleted.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use profiler_tests::agent::{FREQUENCY, command, executable, log, run, samples, until};
use profiler_tests::build::c;
use profiler_tests::claim::{C_ROOTS, has_chain_in, has_samples, reaches_root};
use profiler_tests::manifest::{capabilities, container, daemonset};
use profiler_tests::pprof::Profile;
use profiler_tests::workload::Workload;
use serde_json::Value;
use tempfile::TempDir;

const NOBODY: u32 = 65_534;

/// Programs of another user, and a place to record to.
struct Machine {
    unreadable: Workload,
    deleted: Workload,
    directory: TempDir,
}

impl Machine {
    fn new() -> Self {
        // Workloads end by themselves: they do not wait for the agent to be built.
        let _built = executable();
        let directory = TempDir::new().expect("a temporary directory");
        // What another user runs, it must be able to reach.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("our own");
        let home = directory.path().join("home");
        fs::create_dir(&home).expect("an empty directory");
        let own = |path: &Path| {
            fs::set_permissions(path, Permissions::from_mode(0o500)).expect("our own");
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root gives away");
        };
        let program = |name: &str| -> PathBuf {
            let program = home.join(name);
            fs::copy(c("syscalls"), &program).expect("a program can be copied");
            own(&program);
            program
        };
        let (unreadable, deleted) = (program("unreadable"), program("deleted"));
        own(&home);
        let start = |program: &Path| Workload::start(Command::new(program).uid(NOBODY).gid(NOBODY));
        let machine = Self {
            unreadable: start(&unreadable),
            deleted: start(&deleted),
            directory,
        };
        fs::remove_file(deleted).expect("root deletes");
        machine
    }

    fn recording(&self) -> PathBuf {
        self.directory.path().join("profile.pb.gz")
    }

    /// The command that records both programs with these capabilities.
    fn record(&self, capabilities: &[String], seconds: &str) -> Command {
        // A recording of its own mounts: nothing outside of its directory can be written to.
        const CONFINED: &str =
            "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro / && shift && exec \"$@\"";
        let mut bounding = String::from("-all");
        for capability in capabilities {
            bounding.push_str(",+");
            bounding.push_str(&capability.to_lowercase());
        }
        let [unreadable, deleted] =
            [&self.unreadable, &self.deleted].map(|workload| workload.pid().to_string());
        let frequency = FREQUENCY.to_string();
        let agent = command(&["record", "-F", &frequency, "-d", seconds]);
        let mut confined = Command::new("unshare");
        confined
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                CONFINED,
                "sh",
            ])
            .arg(self.directory.path())
            .args(["setpriv", "--no-new-privs", "--inh-caps=-all"])
            .args(["--ambient-caps=-all", "--bounding-set", &bounding])
            .arg(agent.get_program())
            .args(agent.get_args())
            .args(["-p", &unreadable, "-p", &deleted, "-o"])
            .arg(self.recording());
        confined
    }
}

/// A field of `/proc/PID/status`.
fn status(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_else(|| panic!("no {field} in {status}"))
        .trim()
        .to_owned()
}

/// What the kernel is set to, for whom a test fails on: some settings refuse even these capabilities.
fn settings() -> String {
    let setting = |name: &str| {
        let value = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        format!("kernel.{name} = {}", value.trim())
    };
    format!(
        "{}, {} (above 2 a kernel of Debian or Ubuntu asks for CAP_SYS_ADMIN), {} (2 hides kernel symbols from everybody)",
        setting("unprivileged_bpf_disabled"),
        setting("perf_event_paranoid"),
        setting("kptr_restrict"),
    )
}

fn deployed() -> Vec<String> {
    capabilities(&container(&daemonset()))
}

#[test]
fn the_deployed_capabilities_are_enough() {
    let context: Value = container(&daemonset())["securityContext"].clone();
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    let capabilities = deployed();
    let machine = Machine::new();
    let agent = machine
        .record(&capabilities, "3")
        .stderr(Stdio::piped())
        .spawn()
        .expect("util-linux is installed (`cargo xtask test` sees to it)");
    let pid = agent.id();
    until("the agent samples, or says why not", || {
        samples(pid) || status(pid, "State:").starts_with('Z')
    });
    if samples(pid) {
        for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
            let set = u64::from_str_radix(&status(pid, set), 16).expect("a mask");
            assert_eq!(set.count_ones() as usize, capabilities.len(), "{set:x}");
        }
        for set in ["CapInh:", "CapAmb:"] {
            assert_eq!(u64::from_str_radix(&status(pid, set), 16), Ok(0));
        }
        assert_eq!(status(pid, "NoNewPrivs:"), "1");
        let outside = format!("/proc/{pid}/root/usr/written");
        assert!(
            fs::write(outside, "").is_err(),
            "the root can be written to"
        );
    }
    let output = agent.wait_with_output().expect("the agent ends");
    let log = log(&output);
    assert!(output.status.success(), "{log}\n{}", settings());
    assert!(log.contains("lost: nothing"), "{log}\n{}", settings());

    let profile = Profile::read(&machine.recording());
    for workload in [&machine.unreadable, &machine.deleted] {
        let pid = workload.pid().to_string();
        let own = profile.clone().only(|sample| sample.label("pid") == pid);
        has_samples(&own, 300);
        has_chain_in(
            &own,
            &["main", "outer_calls", "middle_calls", "leaf_calls"],
            0.95,
        );
        reaches_root(&own, C_ROOTS);
        // Most of the time goes to the kernel, below the call.
        has_chain_in(&own, &["ksys_read", "vfs_read"], 0.5);
    }
}

/// Each of them for something: without it there is less.
#[test]
fn none_of_the_deployed_capabilities_is_for_nothing() {
    let machine = Machine::new();
    let all = deployed();
    for missing in &all {
        let rest: Vec<String> = all.iter().filter(|c| *c != missing).cloned().collect();
        let output = run(&mut machine.record(&rest, "1"));
        let log = log(&output);
        match missing.as_str() {
            "BPF" | "PERFMON" => {
                assert_eq!(output.status.code(), Some(77), "without {missing}: {log}");
                // Named alone, with what it is for.
                assert!(log.contains(&format!("CAP_{missing} is missing")), "{log}");
                let others = all.iter().filter(|other| *other != missing);
                for other in others {
                    assert!(!log.contains(&format!("CAP_{other} ")), "{other}: {log}");
                }
                continue;
            }
            "SYSLOG" => assert!(log.contains("kernel_symbols_hidden"), "{log}"),
            _ => assert!(
                log.contains("executable_unopened"),
                "without {missing}: {log}"
            ),
        }
        // What it costs is said at the start.
        let warning = format!("CAP_{missing} is missing: ");
        assert!(log.contains(&warning), "{log}");
    }
}

//! Kernels that are booted, mounted or confined in another way: the agent loses what it says that it loses and nothing
//! else, or refuses with the sentence that says why.

use std::path::Path;

use profiler_tests::kernels::guest::Guest;
use profiler_tests::kernels::protocol::Output;
use profiler_tests::kernels::qemu::Machine;
use profiler_tests::kernels::{Kernel, results, workloads};
use profiler_tests::pprof::Profile;
use serde_json::{Value, json};

use crate::profile::{RECORDING, Seen, native, read};

/// The agent's own exit code for a missing privilege.
const PRIVILEGE: &str = "77";

/// Asks the agent what it can do.
const DOCTOR: &str = "run doctor ./profiler-agent doctor --json\n";
/// Records a program on any CPU.
const RECORD: &str = "start_recording\nwork begin 3 chain ./chain\nend_recording\n";
/// Records a program on each of two CPUs.
const RECORD_ON_TWO: &str = "start_recording\n\
                             begin chain taskset 1 ./chain\n\
                             first=$pid\n\
                             kill -CONT $first\n\
                             work begin 3 recursion taskset 2 ./recursion 100\n\
                             kill -TERM $first\n\
                             wait $first\n\
                             keep chain.out /tmp/chain.out\n\
                             end_recording\n";
/// Records a program on the second CPU, which comes online when the agent samples already: it looks once a second.
const RECORD_LATE_CPU: &str = "start_recording\n\
                               echo 1 > /sys/devices/system/cpu/cpu1/online\n\
                               sleep 3\n\
                               work begin 3 chain taskset 2 ./chain\n\
                               end_recording\n";

/// What `doctor --json` printed.
struct Report {
    kernel: Kernel,
    report: Value,
    output: Output,
}

impl Report {
    fn state(&self) -> &str {
        self.report["state"].as_str().expect("a state")
    }

    /// State, detail and fix of a feature.
    fn feature(&self, name: &str) -> [&str; 3] {
        let features = self.report["features"].as_array().expect("features");
        let feature = features.iter().find(|feature| feature["name"] == name);
        let feature = feature.unwrap_or_else(|| panic!("{name} is not in {}", self.report));
        ["state", "detail", "fix"].map(|field| feature[field].as_str().unwrap_or_default())
    }

    /// Why the kernel refused a way to walk stacks.
    fn refusals(&self) -> Vec<&str> {
        let programs = self.report["programs"].as_array().expect("programs").iter();
        programs
            .filter_map(|program| program["reason"].as_str())
            .collect()
    }

    fn status(&self) -> String {
        self.output.text("doctor.status").trim().to_owned()
    }

    /// The profile of `RECORD` holds what the program did.
    fn has_profile(&self) -> Profile {
        let status = self.output.text("record.status");
        let log = self.output.text("record.err");
        assert_eq!(status.trim(), "0", "{}: {log}", self.kernel);
        let profile = read(&self.output.files["profile.pb.gz"]);
        native::split(&Seen::new(
            &profile,
            "chain",
            &self.output.text("chain.out"),
        ));
        profile
    }
}

/// Boots a guest that was made otherwise and judges what the agent says there.
fn check(
    kernel: Kernel,
    name: &str,
    machine: &Machine,
    make: impl FnOnce(&mut Guest),
    script: &str,
    judge: impl FnOnce(&Report),
) {
    results::check(kernel, name, || {
        let mut guest = Guest::new(kernel.cpu);
        workloads::chain(kernel.cpu).put(&mut guest);
        make(&mut guest);
        let output = guest.run(machine, &name.replace([' ', '(', ')'], "-"), script);
        let said = output.text("doctor.out");
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| {
            panic!("{kernel}: {error}: {said}{}", output.text("doctor.err"))
        });
        let report = Report {
            kernel,
            report,
            output,
        };
        judge(&report);
        json!({ "variant": true })
    });
}

/// Distributions ask for CAP_SYS_ADMIN where others are content with CAP_PERFMON.
pub fn perf_event_paranoid(kernel: Kernel) {
    let script = "level=/proc/sys/kernel/perf_event_paranoid\n\
                  echo 3 > $level\n\
                  without='./setpriv --bounding-set -sys_admin'\n\
                  run at_3 $without ./profiler-agent doctor --json\n\
                  run doctor ./profiler-agent doctor --json\n\
                  echo 2 > $level\n\
                  run at_2 $without ./profiler-agent doctor --json\n";
    let machine = Machine::new(kernel);
    let make = |guest: &mut Guest| guest.program("setpriv", Path::new("/usr/bin/setpriv"));
    check(
        kernel,
        "perf_event_paranoid",
        &machine,
        make,
        script,
        |report| {
            assert_eq!((report.state(), report.status().as_str()), ("ok", "0"));
            let output = &report.output;
            assert_eq!(
                output.text("at_2.status").trim(),
                "0",
                "{}",
                output.text("at_2.out")
            );
            assert_eq!(output.text("at_3.status").trim(), PRIVILEGE);
            let said = output.text("at_3.out");
            for part in [
                "CAP_SYS_ADMIN is missing",
                "Or set kernel.perf_event_paranoid to 2: it is 3, at which this kernel asks for CAP_SYS_ADMIN in place of \
             CAP_PERFMON.",
            ] {
                assert!(said.contains(part), "{said}");
            }
        },
    );
}

fn locked_down(kernel: Kernel) -> Machine {
    Machine {
        command_line: "lockdown=confidentiality",
        ..Machine::new(kernel)
    }
}

fn with_securityfs(guest: &mut Guest) {
    guest.mount("securityfs", "/sys/kernel/security");
}

/// A kernel that hides its memory.
pub fn lockdown(kernel: Kernel) {
    let machine = locked_down(kernel);
    check(
        kernel,
        "lockdown (refused)",
        &machine,
        with_securityfs,
        DOCTOR,
        |report| {
            assert_eq!(report.state(), "missing");
            assert_ne!(report.status(), "0");
            let reason = "the kernel is locked down (lockdown=confidentiality) and lets no program read its memory. Boot \
                      with lockdown=integrity, or without lockdown.";
            let refusals = report.refusals();
            assert!(
                refusals.iter().any(|refusal| refusal.ends_with(reason)),
                "{refusals:?}"
            );
            assert!(report.feature("stack walk")[1].ends_with(reason));
        },
    );
}

/// Control groups of version 1 only.
pub fn cgroup_v1(kernel: Kernel) {
    let make = |guest: &mut Guest| {
        guest.without("cgroup2");
        guest.mount("cgroup", "/sys/fs/cgroup cpuacct");
    };
    let script = [DOCTOR, RECORDING, RECORD].concat();
    let machine = Machine::new(kernel);
    check(
        kernel,
        "cgroup v1 only",
        &machine,
        make,
        &script,
        |report| {
            assert_eq!(
                report.feature("control groups"),
                [
                    "degraded",
                    "no hierarchy of version 2 is mounted: containers are told apart by the paths of version 1",
                    "Mount one (mount -t cgroup2 none /sys/fs/cgroup/unified), or boot with \
                 systemd.unified_cgroup_hierarchy=1.",
                ]
            );
            assert_eq!(
                (report.state(), report.status().as_str()),
                ("degraded", "0")
            );
            report.has_profile();
        },
    );
}

/// Control groups of version 2 only.
pub fn cgroup_v2(kernel: Kernel) {
    let machine = Machine {
        command_line: "cgroup_no_v1=all",
        ..Machine::new(kernel)
    };
    check(
        kernel,
        "cgroup v2 only",
        &machine,
        |_| (),
        DOCTOR,
        |report| {
            assert_eq!(report.feature("control groups"), ["ok", "version 2", ""]);
            assert_eq!((report.state(), report.status().as_str()), ("ok", "0"));
        },
    );
}

/// No tracefs: nothing is lost.
pub fn no_tracefs(kernel: Kernel) {
    let script = [DOCTOR, RECORDING, RECORD].concat();
    let machine = Machine::new(kernel);
    let make = |guest: &mut Guest| guest.without("tracefs");
    check(kernel, "no tracefs", &machine, make, &script, |report| {
        assert_eq!((report.state(), report.status().as_str()), ("ok", "0"));
        report.has_profile();
    });
}

/// No type information of the kernel.
pub fn no_btf(kernel: Kernel) {
    let machine = Machine::new(kernel);
    let make = |guest: &mut Guest| guest.mount("tmpfs", "/sys/kernel/btf");
    check(
        kernel,
        "no BTF (refused)",
        &machine,
        make,
        DOCTOR,
        |report| {
            assert_eq!((report.state(), report.status().as_str()), ("missing", "1"));
            let reason = "there is none: this kernel was built without it, or /sys is not mounted here. A kernel with \
                      CONFIG_DEBUG_INFO_BTF=y is needed, and in a container the host's /sys (or /sys/kernel/btf) \
                      mounted.";
            assert!(
                report.feature("stack walk")[1].ends_with(reason),
                "{}",
                report.report
            );
        },
    );
}

/// A kernel that is told to use one CPU.
pub fn nosmp(kernel: Kernel) {
    let machine = Machine {
        processors: 2,
        command_line: "nosmp",
        ..Machine::new(kernel)
    };
    let script = [DOCTOR, RECORDING, RECORD].concat();
    check(
        kernel,
        "nosmp",
        &machine,
        |_| (),
        &script,
        |report| {
            let [state, detail, _] = report.feature("processors");
            assert_eq!(state, "ok");
            assert!(detail.starts_with("1 online of "), "{detail}");
            report.has_profile();
        },
    );
}

/// Two CPUs, with a program on each at the same time.
pub fn two_cpus(kernel: Kernel) {
    let machine = Machine {
        processors: 2,
        ..Machine::new(kernel)
    };
    let script = [DOCTOR, RECORDING, RECORD_ON_TWO].concat();
    let recursion = workloads::recursion(kernel.cpu);
    check(
        kernel,
        "two CPUs",
        &machine,
        |guest| recursion.put(guest),
        &script,
        |report| {
            let [state, detail, _] = report.feature("processors");
            assert_eq!(state, "ok");
            assert!(detail.starts_with("2 online of 2 "), "{detail}");
            let profile = report.has_profile();
            let seen = Seen::new(&profile, "recursion", "");
            native::is_deep(&seen);
        },
    );
}

/// A CPU that is offline when the agent starts is sampled once it is online.
pub fn late_cpu(kernel: Kernel) {
    let machine = Machine {
        processors: 2,
        command_line: "maxcpus=1",
        ..Machine::new(kernel)
    };
    let script = [DOCTOR, RECORDING, RECORD_LATE_CPU].concat();
    check(
        kernel,
        "CPU that comes online",
        &machine,
        |_| (),
        &script,
        |report| {
            let [state, detail, _] = report.feature("processors");
            assert_eq!(state, "ok");
            let expected = "1 online of 2 possible; others are sampled once they come online";
            assert_eq!(detail, expected);
            report.has_profile();
        },
    );
}

/// Records of what processes map without build ids, which the profile has all the same.
pub fn records_without_build_ids(kernel: Kernel) {
    let script = [DOCTOR, RECORDING, RECORD].concat();
    let machine = Machine::new(kernel);
    check(
        kernel,
        "no build ids in records",
        &machine,
        |_| (),
        &script,
        |report| {
            assert_eq!(
                report.feature("process records")[..2],
                [
                    "ok",
                    "perf records have device and inode of what processes map; build ids are read from the files",
                ]
            );
            let profile = report.has_profile();
            let mappings = profile.mappings.values();
            let of_program = mappings.filter(|mapping| mapping.file.ends_with("/chain"));
            let ids: Vec<&str> = of_program
                .map(|mapping| mapping.build_id.as_str())
                .collect();
            assert_eq!(ids, [workloads::chain(kernel.cpu).build_id()]);
        },
    );
}

//! A process in mount and pid namespaces of its own, whose executable no path outside leads to.

use std::process::Command;

use profiler_tests::agent::record_process;
use profiler_tests::build::c_with;
use profiler_tests::claim::{C_ROOTS, has_chain, has_samples, holds, names_all, reaches_root};
use profiler_tests::workload::Workload;
use tempfile::TempDir;

#[test]
fn a_program_of_another_root_is_named() {
    let root = TempDir::new().expect("a temporary directory");
    let program = c_with("split", "contained-split", "gcc", &["-static"]);
    // The file is copied to a file system that is mounted in the new namespace alone.
    let script =
        "mount -t tmpfs none \"$1\" && cp \"$2\" \"$1/inside\" && exec chroot \"$1\" /inside";
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(root.path())
        .arg(&program);
    let workload = Workload::start(&mut command);
    // `unshare` waits for the shell that became the program.
    let children = format!("/proc/{0}/task/{0}/children", workload.pid());
    let children = std::fs::read_to_string(children).expect("the kernel lists children");
    let inside: u32 = children.trim().parse().expect("one child");
    let recording = record_process(inside, 2.0);
    let outside = root.path().join("inside");
    assert!(!outside.exists(), "the program must be inside alone");
    drop(workload);
    let profile = recording
        .profile
        .only(|sample| sample.label("comm") == "inside");
    has_samples(&profile, 800);
    reaches_root(&profile, C_ROOTS);
    has_chain(&profile, &["main", "run_cycle"]);
    names_all(&profile, "inside");
    holds(&profile, "has its name", 1.0, |sample| {
        sample.label("comm") == "inside"
    });
    // The pid is the machine's, not the one that the process sees itself.
    holds(&profile, "has the machine's pid", 1.0, |sample| {
        sample.label("pid") == inside.to_string()
    });
}

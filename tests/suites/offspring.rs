//! What the kernel side keeps ends with the process that it belongs to: more children than its tables hold end, and the
//! one after them is recorded whole.

use profiler_tests::agent::{self, FREQUENCY};
use profiler_tests::build::{c, text};
use profiler_tests::claim::{C_ROOTS, has_chain_in, holds_function, reaches_root};
use profiler_tests::pprof::Profile;
use tempfile::TempDir;

/// More than the kernel's tables of processes and of selected processes hold.
const CHILDREN: &str = "9000";
/// CPU time of the last child.
const MILLISECONDS: u32 = 1500;

#[test]
fn the_child_after_nine_thousand_is_recorded_whole() {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("offspring.pb.gz");
    let frequency = FREQUENCY.to_string();
    let arguments = ["record", "-F", &frequency, "-o", text(&file), "--"];
    let mut command = agent::command(&arguments);
    command
        .arg(c("offspring"))
        .args([CHILDREN, &MILLISECONDS.to_string()]);
    let output = agent::run(&mut command);
    let log = agent::log(&output);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("lost: nothing"), "{log}");
    let last = Profile::read(&file).only(|sample| holds_function(sample, "burn_last"));
    let expected = MILLISECONDS * FREQUENCY / 1000;
    assert!(
        last.count() as u32 >= expected * 9 / 10,
        "{} samples of {expected}\n{log}",
        last.count()
    );
    has_chain_in(&last, &["main", "burn_last"], 1.0);
    reaches_root(&last, C_ROOTS);
}

//! Time off a CPU: threads that wait in known ways and for known times.

use std::process::{Command, Stdio};

use profiler_tests::agent::{self, log};
use profiler_tests::build::{c_with, text};
use profiler_tests::pprof::{Profile, Sample};
use profiler_tests::waits::{Waits, time_in, time_of};
use tempfile::TempDir;

struct Recorded {
    profile: Profile,
    truth: Waits,
    log: String,
}

/// Records `waits` in one of its modes with these options.
fn record(options: &[&str], mode: &str) -> Recorded {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("a.pb.gz");
    let mut command = agent::command(&["record", "-F", "999", "-o", text(&file)]);
    // What publishes a trace is exported.
    let program = c_with("waits", "waits", "gcc", &["-pthread", "-rdynamic"]);
    command.args(options).arg("--").arg(program).arg(mode);
    command.arg(directory.path().join("written"));
    let output = agent::run(command.stdout(Stdio::piped()));
    let log = log(&output);
    assert!(output.status.success(), "{log}");
    let truth = Waits::parse(&String::from_utf8_lossy(&output.stdout));
    Recorded {
        profile: Profile::read(&file),
        truth,
        log,
    }
}

/// Each function's time is what its threads measured, within 2 % and `slack` ns.
fn check_sums(recorded: &Recorded, slack: f64) {
    for (name, (least, most)) in &recorded.truth.off {
        let found = time_in(&recorded.profile, name, |_| true);
        assert!(
            (0.98 * least - slack..=1.02 * most + slack).contains(&found),
            "{name}: {:.1} ms of {:.1} to {:.1} ms\n{}",
            found / 1e6,
            least / 1e6,
            most / 1e6,
            recorded.log
        );
    }
}

/// Nearly all time in these functions is of threads in this state.
fn check_state(recorded: &Recorded, functions: &[&str], state: &str, least: f64) {
    for name in functions {
        let all = time_in(&recorded.profile, name, |_| true);
        let part = time_in(&recorded.profile, name, |sample| {
            sample.label("thread.state") == state
        });
        assert!(
            part >= least * all,
            "{name}: {state} {:.1} of {:.1} ms",
            part / 1e6,
            all / 1e6
        );
    }
}

fn check_stacks(profile: &Profile) {
    let whole = |sample: &Sample| {
        let functions = sample.functions();
        let root = functions.first().copied().unwrap_or_default();
        ["_start", "__libc_start_main", "clone", "__clone3", "clone3"].contains(&root)
            || root.starts_with("__clone")
    };
    let all = time_of(profile, |_| true);
    let reached = time_of(profile, whole);
    assert!(
        reached >= 0.98 * all,
        "{:.1} of {:.1} ms",
        reached / 1e6,
        all / 1e6
    );
}

#[test]
fn sleeps_are_as_long_as_they_are() {
    let recorded = record(&["--off-cpu"], "long");
    let profile = &recorded.profile;
    assert_eq!(
        profile.sample_types,
        ["samples/count", "off_cpu/nanoseconds"]
    );
    check_sums(&recorded, 2e6);
    check_state(
        &recorded,
        &["sleep_10", "sleep_100", "sleep_1000"],
        "blocked",
        0.95,
    );
    check_stacks(profile);
    // Nothing waits for longer than the program runs.
    for sample in &profile.samples {
        assert!((sample.values[1] as f64) < 4e9 * sample.count() as f64);
    }
    // The leaf is what the kernel does when it switches to another thread.
    let sleeps = profile
        .clone()
        .only(|sample| sample.functions().contains(&"sleep_100"));
    assert!(sleeps.count() > 0);
    for sample in &sleeps.samples {
        let leaf = sample.frames.last().expect("a frame");
        assert_eq!(leaf.function, "__schedule");
    }
}

#[test]
fn many_short_waits_add_up() {
    // Each is a tenth of the threshold and less.
    check_sums(&record(&["--off-cpu"], "short"), 4e6);
    // And so do the few that are drawn of them.
    let drawn = record(&["--off-cpu", "--off-cpu-threshold", "10ms"], "short");
    check_sums(&drawn, 40e6);
    assert!(drawn.profile.count() < 1_000, "{}", drawn.profile.count());
}

#[test]
fn what_is_drawn_by_chance_stands_for_all() {
    let recorded = record(&["--off-cpu", "--off-cpu-probability", "0.5"], "short");
    for (name, (least, most)) in &recorded.truth.off {
        let found = time_in(&recorded.profile, name, |_| true);
        // A thousand and more are drawn or not: five standard deviations.
        let range = 0.8 * least..=1.2 * most;
        assert!(range.contains(&found), "{name}: {found} of {range:?}");
    }
}

#[test]
fn a_mutex_a_pipe_and_a_futex_are_waited_for() {
    let recorded = record(&["--off-cpu"], "locks");
    check_sums(&recorded, 3e6);
    let waiting = ["read_pipe", "wait_futex"];
    check_state(&recorded, &waiting, "blocked", 0.9);
    check_stacks(&recorded.profile);
    // Who waits for the mutex is told from who has it.
    let profile = &recorded.profile;
    let held = time_in(profile, "hold_mutex", |_| true);
    let waited = time_in(profile, "wait_mutex", |sample| {
        let functions = sample.functions();
        functions
            .iter()
            .any(|name| name.contains("mutex_lock") || name.contains("lll_lock"))
    });
    assert!(held > 200.0 * 6e6 * 0.98, "{:.1} ms", held / 1e6);
    assert!(
        waited > 0.5 * held,
        "{:.1} of {:.1} ms",
        waited / 1e6,
        held / 1e6
    );
}

#[test]
fn a_disk_is_waited_for() {
    let recorded = record(&["--off-cpu"], "disk");
    check_sums(&recorded, 3e6);
}

#[test]
fn thread_ids_that_come_again_and_a_thread_that_is_killed() {
    check_sums(&record(&["--off-cpu"], "swarm"), 5e6);
    check_sums(&record(&["--off-cpu"], "killed"), 10e6);
}

#[test]
fn a_thread_that_waits_for_its_cpu_is_runnable() {
    let recorded = record(&["--off-cpu"], "pinned");
    check_sums(&recorded, 10e6);
    check_state(&recorded, &["burn_pinned"], "runnable", 0.98);
}

#[test]
fn time_on_and_off_a_cpu_is_the_time_of_a_request() {
    let recorded = record(&["--wall"], "request");
    let (wall, cpu) = recorded.truth.wall["serve_request"];
    let profile = &recorded.profile;
    assert_eq!(profile.sample_types, ["samples/count", "wall/nanoseconds"]);
    let is_off = |sample: &Sample| !sample.label("thread.state").is_empty();
    let of_trace = |sample: &Sample| sample.label("trace_id") == "07".repeat(16);
    let off = time_in(profile, "serve_request", |sample| {
        is_off(sample) && of_trace(sample)
    });
    let on = time_in(profile, "serve_request", |sample| {
        !is_off(sample) && of_trace(sample)
    });
    let near = |found: f64, truth: f64| (found - truth).abs() <= 0.03 * wall;
    assert!(near(off, wall - cpu), "off {off} of {}", wall - cpu);
    assert!(near(on, cpu), "on {on} of {cpu}");
    assert!(near(on + off, wall), "{} of {wall}", on + off);
}

#[test]
fn off_cpu_and_wall_are_one_of_two() {
    let output = Command::new(agent::executable())
        .args(["record", "--off-cpu", "--wall", "-d", "1"])
        .output()
        .expect("the agent runs");
    assert_eq!(output.status.code(), Some(2), "{}", log(&output));
}

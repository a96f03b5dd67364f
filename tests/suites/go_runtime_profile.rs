//! The agent's profile of a Go program beside that of the program's own runtime (`runtime/pprof`), taken at the
//! same time: the functions that took most of the time took as much of it in both.

use std::collections::BTreeMap;
use std::process::Command;

use profiler_tests::agent::{FREQUENCY, record_while, show, works};
use profiler_tests::claim::has_samples;
use profiler_tests::go::program::{Variant, build_stacks};
use profiler_tests::go::toolchain::{Toolchain, VERSIONS, full_matrix};
use profiler_tests::pprof::{Profile, Sample};
use profiler_tests::workload::Workload;
use rustix::process::Signal;
use tempfile::TempDir;

/// How far shares may be apart (of 1).
const APART: f64 = 0.02;
/// Functions that are compared, by own and by all time.
const MOST: usize = 20;
/// CPU time that is recorded, in seconds.
const SECONDS: f64 = 20.0;
const SECONDS_IN_FULL: f64 = 60.0;

/// The functions that call the vDSO: the runtime's own profile leaves them out then.
const CLOCK: [&str; 2] = ["runtime.nanotime1", "time.now"];

/// Shares of the time, by function: own, and with what it calls.
#[derive(Default)]
struct Shares {
    own: BTreeMap<String, f64>,
    all: BTreeMap<String, f64>,
}

impl Shares {
    fn of(profile: &Profile, functions: impl Fn(&Sample) -> Vec<String>) -> Self {
        let total = profile.count() as f64;
        let mut shares = Self::default();
        for sample in &profile.samples {
            let share = sample.count() as f64 / total;
            let mut functions = functions(sample);
            if let Some(own) = functions.last() {
                *shares.own.entry(own.clone()).or_default() += share;
            }
            functions.sort_unstable();
            functions.dedup();
            for function in functions {
                *shares.all.entry(function).or_default() += share;
            }
        }
        shares
    }
}

/// What the runtime sees of a sample of the agent's: no kernel, no vDSO, nothing below `mcall`.
fn as_the_runtime_sees(profile: &Profile, sample: &Sample, program: &str) -> Vec<String> {
    let files: Vec<&str> = sample
        .frames
        .iter()
        .map(|frame| profile.file(frame))
        .collect();
    let in_vdso = files.contains(&"[vdso]");
    let mut functions: Vec<String> = Vec::new();
    for (frame, file) in sample.frames.iter().zip(files) {
        if !file.ends_with(program) || (in_vdso && CLOCK.contains(&frame.function.as_str())) {
            continue;
        }
        functions.push(frame.function.clone());
    }
    if functions
        .first()
        .is_some_and(|root| root == "runtime.goexit")
    {
        functions.remove(0);
        if let Some(switch) = functions.iter().position(|name| name == "runtime.mcall") {
            functions.drain(..switch);
        }
    }
    functions
}

fn compare(
    what: &str,
    agent: &BTreeMap<String, f64>,
    runtime: &BTreeMap<String, f64>,
) -> Vec<String> {
    let mut most: Vec<_> = runtime.iter().collect();
    most.sort_by(|one, other| other.1.total_cmp(one.1));
    let mut apart = Vec::new();
    for (function, share) in most.into_iter().take(MOST) {
        let seen = agent.get(function).copied().unwrap_or(0.0);
        println!(
            "{what} {function}: {:.1} %, the runtime {:.1} %",
            seen * 100.0,
            share * 100.0
        );
        if (seen - share).abs() > APART {
            let (seen, share) = (seen * 100.0, share * 100.0);
            apart.push(format!(
                "{what} {function}: {seen:.1} %, the runtime {share:.1} %"
            ));
        }
    }
    apart
}

#[test]
fn the_agent_sees_what_the_runtime_sees() {
    let full = full_matrix();
    let toolchain = Toolchain::get(VERSIONS[VERSIONS.len() - 1]);
    let program = build_stacks(&toolchain, Variant::Default);
    let directory = TempDir::new().expect("a temporary directory");
    let own = directory.path().join("runtime.pb.gz");
    let mut workload = Workload::start(Command::new(&program).arg("mixed").arg(&own));
    let seconds = if full { SECONDS_IN_FULL } else { SECONDS };
    // What else the machine does changes what the program does: who starts to sample is through with that.
    let agent = record_while(workload.pid(), |_| {
        assert_eq!(workload.ask(Signal::USR2), "profiling");
        works(workload.pid(), seconds);
        assert_eq!(workload.ask(Signal::USR2), "profiled");
    });
    workload.stop();
    let agent = agent.profile;
    has_samples(&agent, (seconds * f64::from(FREQUENCY) * 0.95) as i64);
    let runtime = Profile::read(&own);
    assert!(
        runtime.count() > 1000,
        "{} samples of the runtime's own",
        runtime.count()
    );

    let name = program
        .file_name()
        .expect("it has a name")
        .to_string_lossy();
    let seen = Shares::of(&agent, |sample| as_the_runtime_sees(&agent, sample, &name));
    let truth = Shares::of(&runtime, |sample| {
        let functions = sample.functions();
        functions.into_iter().map(str::to_owned).collect()
    });
    let mut apart = compare("own", &seen.own, &truth.own);
    apart.extend(compare("all", &seen.all, &truth.all));
    assert!(
        apart.is_empty(),
        "{}\n{}",
        apart.join("\n"),
        show(&agent, 12)
    );
}

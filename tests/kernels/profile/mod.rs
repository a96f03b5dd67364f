//! Real programs, profiled in a guest and judged here: all of them in one recording of the whole guest, so that the
//! agent starts once a kernel. Each check looks at the samples of one program.

pub mod go;
pub mod go_versions;
pub mod native;
pub mod off_cpu;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, OnceLock};

use profiler_tests::kernels::guest::Guest;
use profiler_tests::kernels::protocol::Output;
use profiler_tests::kernels::qemu::Machine;
use profiler_tests::kernels::workloads::Program;
use profiler_tests::kernels::{Kernel, results, workloads};
use profiler_tests::pprof::{Profile, Sample};
use profiler_tests::workload::Truth;
use serde_json::json;

/// Functions of scripts that record.
pub const RECORDING: &str = include_str!("../record.sh");

/// Short lives of a program that the agent knows by another name, so that its samples are not among theirs.
const SWARM: &str = "ln brief met-brief\n\
                     begin met-brief ./met-brief\n\
                     kill -KILL $pid\n\
                     ./swarm ./brief 120\n";

/// How much of a program's samples may be of the time until the agent knows its files.
const MOST_PENDING: f64 = 0.15;

/// What was seen of a program, and what was true.
pub struct Seen {
    /// Its samples, once it was at work.
    pub profile: Profile,
    /// What it said of itself.
    pub truth: Truth,
}

impl Seen {
    /// The samples of the program of a name in a profile, and what the program printed.
    pub fn new(profile: &Profile, program: &str, said: &str) -> Self {
        let profile = profile.clone();
        let profile = profile.only(|sample| sample.label("comm") == program);
        Self {
            profile: steady(&profile),
            truth: Truth::parse(said),
        }
    }
}

/// A profile that left a guest.
pub fn read(file: &[u8]) -> Profile {
    let saved = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(saved.path(), file).expect("there is room for it");
    Profile::read(saved.path())
}

/// A recording of a kernel's guest.
struct Recording {
    profile: Profile,
    output: Output,
}

/// Runs a check of what one program's samples are.
fn check(kernel: Kernel, name: &str, program: &str, judge: impl FnOnce(&Seen)) {
    results::check(kernel, name, || {
        let recording = recording(kernel);
        let recording = match &*recording {
            Ok(recording) => recording,
            Err(error) => panic!("{kernel} was not profiled: {error}"),
        };
        let said = recording.output.text(&format!("{program}.out"));
        let seen = Seen::new(&recording.profile, program, &said);
        println!("{kernel}: {program}: {} samples", seen.profile.count());
        judge(&seen);
        json!({})
    });
}

/// The samples of a program at work: not of how it starts, and not of the time until the agent knows its files. An
/// emulated CPU takes long for both.
fn steady(profile: &Profile) -> Profile {
    let is_pending = |sample: &Sample| {
        let first = sample.frames.first();
        first.is_some_and(|frame| frame.function == "[unwind: table_pending]")
    };
    let pending = profile.share(is_pending);
    assert!(
        pending < MOST_PENDING,
        "{:.1} % of {} samples are of the time without tables",
        pending * 100.0,
        profile.count()
    );
    let starts = |sample: &Sample| {
        sample.frames.iter().any(|frame| {
            profile.file(frame).contains("/ld-linux") || frame.function.contains("execve")
        })
    };
    profile
        .clone()
        .only(|sample| !is_pending(sample) && !starts(sample))
}

type Outcome = Arc<Result<Recording, String>>;

/// The recording of a kernel's guest, made for whoever asks first.
fn recording(kernel: Kernel) -> Outcome {
    static RECORDINGS: Mutex<BTreeMap<Kernel, Arc<OnceLock<Outcome>>>> =
        Mutex::new(BTreeMap::new());
    let place = {
        let mut recordings = RECORDINGS.lock().expect("nobody panics with it");
        Arc::clone(recordings.entry(kernel).or_default())
    };
    let outcome = place.get_or_init(|| {
        let made = panic::catch_unwind(AssertUnwindSafe(|| record(kernel)));
        Arc::new(made.map_err(|reason| {
            let text = reason.downcast_ref::<String>().cloned();
            text.unwrap_or_else(|| "no reason was given".to_owned())
        }))
    });
    Arc::clone(outcome)
}

fn record(kernel: Kernel) -> Recording {
    let mut guest = Guest::new(kernel.cpu);
    let mut script = format!("{RECORDING}start_recording\n");
    let mut machine = Machine::new(kernel);
    for program in workloads::all(kernel.cpu) {
        program.put(&mut guest);
        script += &work(&program);
        machine.seconds += program.seconds;
    }
    for program in workloads::swarm(kernel.cpu) {
        program.put(&mut guest);
    }
    workloads::waits(kernel.cpu).put(&mut guest);
    script += SWARM;
    script += "end_recording\n";
    script += off_cpu::SCRIPT;
    let output = guest.run(&machine, "profile", &script);
    Recording {
        profile: recorded(kernel, &output),
        output,
    }
}

/// The line of a script that lets a program work.
pub fn work(program: &Program) -> String {
    let how = if program.waits { "await" } else { "begin" };
    let (name, arguments, seconds) = (program.name, program.arguments, program.seconds);
    format!("work {how} {seconds} {name} ./{name} {arguments}\n")
}

/// The profile that a guest recorded.
pub fn recorded(kernel: Kernel, output: &Output) -> Profile {
    let log = output.text("record.err");
    println!("{kernel}: {log}");
    let kernel_log = output.text("kernel.log");
    assert_eq!(
        output.text("record.status").trim(),
        "0",
        "{log}\n{kernel_log}"
    );
    read(&output.files["profile.pb.gz"])
}

//! Time off CPU, in a recording of its own.

use profiler_tests::kernels::{Hardware, Kernel, results};
use profiler_tests::pprof::{Profile, Sample};
use profiler_tests::waits::{Waits, time_in, time_of};
use serde_json::json;

use super::{read, recording};

/// What follows the recording of CPU time in a guest.
pub const SCRIPT: &str = "\
    ./profiler-agent record --off-cpu -o /tmp/off-cpu.pb.gz -- ./waits long > /tmp/waits.out 2> /tmp/off-cpu.err\n\
    echo $? > /tmp/off-cpu.status\n\
    for file in waits.out off-cpu.err off-cpu.status off-cpu.pb.gz; do\n\
    [ -e /tmp/$file ] && keep $file /tmp/$file\n\
    done\n";

/// What the agent says where a kernel has nothing that tells it when a thread runs again.
const REFUSED: &str = "this kernel cannot tell how long threads are off CPU";
/// In ns: a thread that was woken, and others that want its CPU.
const SLACK: f64 = 20e6;

/// Threads that sleep were off CPU for as long, in the functions in which they slept.
pub fn waits(kernel: Kernel) {
    results::check(kernel, "off-CPU time", || {
        let recording = recording(kernel);
        let recording = match &*recording {
            Ok(recording) => recording,
            Err(error) => panic!("{kernel} was not profiled: {error}"),
        };
        let output = &recording.output;
        let log = output.text("off-cpu.err");
        println!("{kernel}: {log}");
        // It is built without tracing of functions, without kprobes, and older than the tracepoint.
        if kernel.hardware == Hardware::LargestPages && log.contains(REFUSED) {
            return json!({"refused": true});
        }
        assert_eq!(output.text("off-cpu.status").trim(), "0", "{log}");
        let truth = Waits::parse(&output.text("waits.out"));
        judge(&read(&output.files["off-cpu.pb.gz"]), &truth);
        json!({})
    });
}

fn judge(profile: &Profile, truth: &Waits) {
    assert!(truth.off.len() >= 4, "{truth:?}");
    for (name, (least, most)) in &truth.off {
        let found = time_in(profile, name, |_| true);
        let range = 0.97 * least - SLACK..=1.03 * most + SLACK;
        assert!(range.contains(&found), "{name}: {found} of {range:?}");
    }
    let of_waits = |sample: &Sample| sample.label("comm") == "waits";
    let all = time_of(profile, of_waits);
    // The guest's C library names neither where threads start nor what else it does not export.
    // By samples: the longest is a quarter of all time, and an emulated CPU is slow to build the tables for the first.
    let rooted = profile.clone().only(of_waits).share(|sample| {
        let first = sample.frames.first();
        first.is_some_and(|frame| !frame.function.starts_with("[unwind"))
    });
    assert!(rooted >= 0.95, "{rooted} of all samples lead to a root");
    let blocked = time_of(profile, |sample| {
        of_waits(sample) && sample.label("thread.state") == "blocked"
    });
    assert!(blocked >= 0.9 * all, "{blocked} of {all} ns are blocked");
}

//! The agent on a Go program, with symbols and stripped: inlined calls, lines and the kind of frames come from
//! the line table alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use profiler_agent::go::LineTable;
use profiler_tests::agent::{command, record_process, show};
use profiler_tests::claim::{has_samples, holds, passes};
use profiler_tests::go::program::{Variant, build};
use profiler_tests::go::toolchain::{Toolchain, VERSIONS};
use profiler_tests::pprof::{Profile, Sample};
use profiler_tests::workload::Workload;
use prost::Message as _;
use tempfile::TempDir;

/// From the function that has the code to the innermost inlined one.
const INLINED: [&str; 3] = ["main.rectangle.area", "main.mix", "main.rotate"];
const WRAPPER: &str = "main.(*rectangle).area";

fn newest(variant: Variant) -> std::path::PathBuf {
    build(&Toolchain::get(VERSIONS[VERSIONS.len() - 1]), variant)
}

/// The program is profiled while it works.
fn profile(program: &Path) -> Profile {
    let workload = Workload::start(Command::new(program).arg("burn"));
    let recording = record_process(workload.pid(), 2.0);
    workload.stop();
    recording.profile
}

/// Leaves with their inlined calls and lines.
fn leaves_are_whole(profile: &Profile) {
    let leaf = |sample: &Sample| {
        let last = sample.frames.last();
        last.is_some_and(|frame| INLINED.contains(&frame.function.as_str()))
    };
    let working = profile.clone().only(leaf);
    has_samples(&working, 1000);
    holds(
        &working,
        "the function, and what is inlined",
        1.0,
        |sample| {
            // Outermost first: each but the first is inlined into the one before.
            let start = sample.frames.iter().rposition(|frame| !frame.inlined);
            let location = &sample.frames[start.unwrap_or(0)..];
            location.len() <= INLINED.len()
                && location.iter().zip(INLINED).all(|(frame, expected)| {
                    frame.function == expected
                        && frame.file.ends_with("tests/workloads/go-truth/burn.go")
                        && frame.line > 0
                })
        },
    );
    let deepest = profile.share(|sample| passes(sample, &INLINED));
    assert!(
        deepest > 0.05,
        "{:.1} % in the innermost function\n{}",
        deepest * 100.0,
        show(profile, 12)
    );
}

#[test]
fn stacks_show_inlined_calls_and_no_wrappers() {
    let program = newest(Variant::Default);
    let data = fs::read(&program).expect("the program can be read");
    let table = LineTable::find(&data).expect("a line table");
    assert!(
        table
            .functions()
            .any(|function| function.name() == Some(WRAPPER.as_bytes())),
        "the program has no wrapper"
    );
    let profile = profile(&program);
    leaves_are_whole(&profile);
    let working = profile.only(|sample| passes(sample, &["main.rectangle.area"]));
    holds(&working, "from the start to the work", 0.995, |sample| {
        let functions = sample.functions();
        let chain = [
            "main.main",
            "main.burn",
            "main.drawn",
            "main.rectangle.area",
        ];
        functions.windows(chain.len()).any(|window| window == chain)
    });
    holds(&working, "without wrappers", 1.0, |sample| {
        !sample.functions().contains(&WRAPPER)
    });
}

#[test]
fn a_stripped_program_has_its_names() {
    leaves_are_whole(&profile(&newest(Variant::Stripped)));
}

#[test]
fn frames_are_go_frames() {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("profile.otlp");
    let workload = Workload::start(Command::new(newest(Variant::Stripped)).arg("burn"));
    let pid = workload.pid().to_string();
    let mut record = command(&[
        "record", "-F", "999", "-d", "2", "--format", "otlp", "-p", &pid,
    ]);
    let output = record.arg("-o").arg(&file).output();
    let output = output.expect("the agent can be run");
    workload.stop();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let bytes = fs::read(&file).expect("the agent has written it");
    let request = ExportProfilesServiceRequest::decode(&*bytes).expect("a request");
    let dictionary = request.dictionary.expect("a dictionary");
    let text = |index: i32| dictionary.string_table[index as usize].as_str();
    let mut seen = 0;
    for location in &dictionary.location_table {
        let name = location.lines.last().map(|line| {
            let function = &dictionary.function_table[line.function_index as usize];
            text(function.name_strindex)
        });
        let Some(name) = name.filter(|name| name.starts_with("main.")) else {
            continue;
        };
        let kind = location.attribute_indices.iter().find_map(|index| {
            let attribute = &dictionary.attribute_table[*index as usize];
            let value = attribute.value.as_ref()?.value.as_ref()?;
            match value {
                Value::StringValue(value)
                    if text(attribute.key_strindex) == "profile.frame.type" =>
                {
                    Some(value.as_str())
                }
                _ => None,
            }
        });
        assert_eq!(kind, Some("go"), "{name}");
        seen += 1;
    }
    assert!(seen > 0, "no location of the program");
}

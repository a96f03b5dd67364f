//! Files of every format, told by their content; expected values come from the programs that wrote them.

use proptest::prelude::*;

use super::saved::{Saved, SavedFormat, decode, detect};
use super::{ReadError, ReadLimits};
use crate::export::{collapsed, otlp, pprof};
use crate::profile::example::any_profile;
use crate::profile::{FrameType, Profile, SamplePeriod, UnixTime};

const SMALL: ReadLimits = ReadLimits {
    bytes: 1 << 20,
    entries: 1_000,
    elements: 5_000,
};

fn read(text: &str) -> Saved {
    decode(text.as_bytes(), &ReadLimits::default()).unwrap()
}

/// Each stack as `comm/pid/tid: leaf < caller`, an inlined function in front of its caller with `^`.
fn stacks(profile: &Profile) -> Vec<(String, u64)> {
    let stack = |sample: &crate::profile::ProfileSample| {
        let thread = &profile.threads[sample.thread.0 as usize];
        let process = &profile.processes[thread.process as usize];
        let locations = profile.stacks.get(sample.stack).iter();
        let frames: Vec<String> = locations
            .map(|index| {
                let location = &profile.locations[index.0 as usize];
                let names = location.lines.iter();
                let names = names.map(|line| &*profile.functions[line.function.0 as usize].name);
                names.collect::<Vec<_>>().join("^")
            })
            .collect();
        let owner = format!("{}/{}/{}", process.comm, process.key.pid, thread.tid);
        (format!("{owner}: {}", frames.join(" < ")), sample.value)
    };
    profile.samples.iter().map(stack).collect()
}

/// What perf 6.1 printed of a program that calls an inlined function, and of `dd`.
const PERF_SCRIPT: &str = "\
# ========
# captured on    : Mon Nov 30 15:27:34 2026
# cmdline : /usr/bin/perf record -e cpu-clock -F 99 -g -o p.data ./w x 300000
# ========
#
w x 30339  1937.755947:   10101010 cpu-clock: 
\t            1145 hot (inlined)
\t            1145 outer+0xc (/tmp/w x)
\t            118f main+0x16 (/tmp/w x)
\t           2724a __libc_start_call_main+0x7a (/usr/lib/x86_64-linux-gnu/libc.so.6)

dd 30947/30948 [001]  2004.623880:   20202020 cpu-clock: 
\tffffffff81d35fae read_zero+0xae ([kernel.kallsyms])
\tffffffff81000130 entry_SYSCALL_64_after_hwframe+0x76 ([kernel.kallsyms])
\t           f82ad read+0xd (/usr/lib/x86_64-linux-gnu/libc.so.6)
\tffffffffffff2e29 [unknown] ([unknown])

dd 30947/30948 [001]  2004.700000: sched:sched_switch: prev_comm=dd prev_pid=30947 ==> next_comm=x next_pid=1
\tffffffff821facd8 __schedule+0x618 ([kernel.kallsyms])

";

#[test]
fn call_chains_of_perf_script() {
    let saved = read(PERF_SCRIPT);
    assert_eq!(saved.format, SavedFormat::PerfScript);
    let profile = &saved.profile;
    assert_eq!(
        stacks(profile),
        [
            (
                "w x/30339/30339: hot^outer < main < __libc_start_call_main".to_owned(),
                10_101_010
            ),
            (
                "dd/30947/30948: read_zero < entry_SYSCALL_64_after_hwframe < read < 0xffffffffffff2e29"
                    .to_owned(),
                20_202_020
            ),
        ]
    );
    assert_eq!(
        profile.kind.period,
        Some(SamplePeriod::from_nanoseconds(10_101_010))
    );
    assert_eq!(profile.start, UnixTime(1_937_755_947_000));
    let types: Vec<_> = profile
        .locations
        .iter()
        .map(|l| (l.frame_type, l.kind.is_named()))
        .collect();
    assert_eq!(types[0], (FrameType::Native, true));
    assert_eq!(types[3], (FrameType::Kernel, true));
    assert_eq!(types[6], (FrameType::Native, false));
    assert_eq!(profile.mappings[2].file.as_ref(), "[kernel]");
    assert_eq!(
        saved.notes,
        ["samples of `cpu-clock` are shown, 1 of other events are not"]
    );
}

#[test]
fn perf_script_without_call_chains() {
    let text = "             w x 30359  1942.569997:   10101010 cpu-clock:      560a87b4d145 leaf+0xc (/tmp/w x)\n\
                              dd 30360  1942.624197:   10101010 cpu-clock:      560a87b4d14f main+0x16 (/tmp/dd (deleted))\n";
    let saved = read(text);
    assert_eq!(saved.format, SavedFormat::PerfScript);
    let expected = [
        ("w x/30359/30359: leaf".to_owned(), 10_101_010),
        ("dd/30360/30360: main".to_owned(), 10_101_010),
    ];
    assert_eq!(stacks(&saved.profile), expected);
    assert_eq!(saved.notes, Vec::<String>::new());
    assert_eq!(&*saved.profile.mappings[1].file, "/tmp/dd (deleted)");
}

#[test]
fn perf_script_with_few_fields() {
    let text = "w x 30339 \n\t 1145 leaf\n\t 118f main\n\nw x 30339 \n\t 118f main\n\n";
    let saved = read(text);
    assert_eq!(saved.format, SavedFormat::PerfScript);
    let expected = [
        ("w x/30339/30339: leaf < main".to_owned(), 10_000_000),
        ("w x/30339/30339: main".to_owned(), 10_000_000),
    ];
    assert_eq!(stacks(&saved.profile), expected);
    assert_eq!(saved.notes.len(), 1, "{:?}", saved.notes);
}

#[test]
fn collapsed_stacks() {
    let saved =
        read("# made by hand\nserver;main;run task;read_[k] 12\r\n\na 3\nserver;main;;x 1\n");
    assert_eq!(saved.format, SavedFormat::Collapsed);
    let expected = [
        ("server/0/0: read < run task < main".to_owned(), 120_000_000),
        ("a/0/0: ".to_owned(), 30_000_000),
        ("server/0/0: x < [unknown] < main".to_owned(), 10_000_000),
    ];
    assert_eq!(stacks(&saved.profile), expected);
    let read = saved
        .profile
        .locations
        .iter()
        .find(|l| l.frame_type == FrameType::Kernel);
    assert!(read.is_some());
    let error = decode(b"a;b 1\na;b\n", &SMALL).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2: not a stack and its count (`caller;callee 12`)"
    );
}

/// In the form of the specification: camel case, hexadecimal ids, 64-bit numbers as texts.
const OTLP_JSON: &str = r#"
{"resourceProfiles": [{"resource": {"attributes": [
    {"key": "process.pid", "value": {"intValue": "4711"}},
    {"key": "process.executable.name", "value": {"stringValue": "server"}}]},
  "schemaUrl": "x", "scopeProfiles": [{"scope": {"name": "n"}, "profiles": [{
    "sampleType": {"typeStrindex": 1, "unitStrindex": 2}, "periodType": {"typeStrindex": 3, "unitStrindex": 4},
    "period": "50000000", "timeUnixNano": "1700000000000000000", "durationNano": 1000000000,
    "samples": [{"stackIndex": 1, "linkIndex": 1, "values": ["2"]}, {"stackIndex": 2, "values": [1]}]}]}]}],
 "dictionary": {
  "mappingTable": [{}, {"memoryStart": "4096", "memoryLimit": "8192", "filenameStrindex": 7}],
  "locationTable": [{}, {"mappingIndex": 1, "address": "4112", "lines": [{"functionIndex": 2}, {"functionIndex": 1, "line": "7"}]},
    {"mappingIndex": 1, "address": 4200, "lines": [{"functionIndex": 1}]}],
  "functionTable": [{}, {"nameStrindex": 5}, {"nameStrindex": 6}],
  "linkTable": [{}, {"traceId": "0102030405060708090A0b0c0d0e0f10", "spanId": "0102030405060708"}],
  "stringTable": ["", "samples", "count", "cpu", "nanoseconds", "ma\"in\u00e9", "inlined", "/bin/server"],
  "attributeTable": [{}], "stackTable": [{}, {"locationIndices": [1, 2]}, {"locationIndices": [2]}]}}
"#;

#[test]
fn otlp_as_json() {
    let saved = read(OTLP_JSON);
    assert_eq!(saved.format, SavedFormat::OtlpJson);
    let stacks = stacks(&saved.profile);
    let names: Vec<_> = stacks
        .iter()
        .map(|(stack, value)| (stack.split(": ").nth(1).unwrap(), *value))
        .collect();
    assert_eq!(
        names,
        [
            ("inlined^ma\"iné < ma\"iné", 100_000_000),
            ("ma\"iné", 50_000_000)
        ]
    );
    assert_eq!(saved.profile.start, UnixTime(1_700_000_000_000_000_000));
    let link = saved.profile.samples[0].link.unwrap();
    assert_eq!((link.trace_id[9], link.span_id[7]), (10, 8));
    assert_eq!(saved.profile.processes[0].key.pid, 4711);
    for (json, hint) in [
        (r#"{"traceEvents": []}"#, "no OTLP profiles"),
        (r#"{"resourceProfiles": [}"#, "line 1 column 23"),
        (
            r#"{"dictionary": {"stringTable": [1]}}"#,
            "a number is not expected",
        ),
        (
            r#"{"dictionary": {"linkTable": [{"traceId": "xy"}]}}"#,
            "hexadecimal",
        ),
    ] {
        let error = decode(json.as_bytes(), &SMALL).unwrap_err().to_string();
        assert!(error.contains(hint), "{json}: {error}");
    }
}

#[test]
fn what_is_no_profile_is_said_with_a_hint() {
    for (bytes, hint) in [
        (b"".as_slice(), "empty"),
        (b"  \n", "nothing in it"),
        (b"PERFILE2\x68\0\0", "perf script -i FILE"),
        (b"\x7fELF\x02\x01", "a program"),
        (b"<?xml version='1.0'?><svg/>", "a picture"),
        (b"FLR\0\0\x02", "flight recorder"),
        (b"\x28\xb5\x2f\xfd\0", "zstd -d"),
        (b"hello world\n", "a text, but neither"),
        (b"\0\x01\x02\x03", "neither pprof"),
    ] {
        let error = decode(bytes, &SMALL).unwrap_err();
        assert!(matches!(error, ReadError::Unknown { .. }), "{error}");
        assert!(error.to_string().contains(hint), "{bytes:?}: {error}");
    }
}

#[test]
fn texts_are_bounded() {
    let bounded = |text: &str| match decode(text.as_bytes(), &SMALL) {
        Err(ReadError::TooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(bounded(&"a;b 1\n".repeat(2_000)), "samples");
    assert_eq!(bounded(&format!("a{} 1\n", ";b".repeat(6_000))), "frames");
    assert_eq!(
        bounded(&format!("a;b 1\n{} 1\n", "x".repeat(1 << 20))),
        "bytes"
    );
    let inlined = format!(
        "x 1  1.5: cpu-clock:\n{}",
        "\t 1 f (inlined)\n".repeat(2_000)
    );
    assert_eq!(bounded(&inlined), "inlined functions at one address");
    let deep = format!("x 1  1.5: cpu-clock:\n{}", "\t 1 f (/a)\n".repeat(6_000));
    assert_eq!(bounded(&deep), "frames");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn collapsed_stacks_come_back(profile in any_profile(0, true)) {
        let text = collapsed::encode(&profile, false);
        prop_assume!(!text.is_empty());
        let read = decode(text.as_bytes(), &ReadLimits::default()).unwrap();
        prop_assert_eq!(collapsed::encode(&read.profile, false), text);
    }

    #[test]
    fn our_own_files_are_told_by_their_content(profile in any_profile(1_000, true)) {
        let compressed = pprof::encode(&profile).unwrap();
        let read = decode(&compressed, &ReadLimits::default()).unwrap();
        prop_assert_eq!(read.format, SavedFormat::Pprof);
        let file = otlp::encode_one(&profile, &otlp::Options::file(otlp::Host::default())).bytes;
        let read = decode(&file, &ReadLimits::default()).unwrap();
        prop_assert_eq!(read.format, SavedFormat::Otlp);
    }

    #[test]
    fn damaged_texts_do_no_harm(
        which in 0..3usize,
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = [PERF_SCRIPT, OTLP_JSON, "server;main;run_[k] 12\nserver;x 3\n"][which];
        let mut bytes = text.as_bytes().to_vec();
        for (position, value) in &damages {
            let position = position.index(bytes.len());
            bytes[position] = *value;
        }
        for length in [bytes.len(), cut.index(bytes.len())] {
            if let Ok(read) = decode(&bytes[..length], &SMALL) {
                crate::profile::example::flatten(&read.profile);
                pprof::encode(&read.profile).unwrap();
            }
        }
    }

    #[test]
    fn noise_is_told_apart(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[ -~\n\t]{0,300}") {
        let _ = (detect(&bytes), decode(&bytes, &SMALL));
        let _ = decode(text.as_bytes(), &SMALL);
    }
}

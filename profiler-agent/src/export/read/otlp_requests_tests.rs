//! Files of several requests, and what is no request.

use super::ReadLimits;
use super::otlp_requests::decode;
use crate::profile::{Profile, ProfileKind};

const LIMITS: ReadLimits = ReadLimits {
    bytes: 1 << 20,
    entries: 1_000,
    elements: 1_000,
};
const CPU: &str = r#""sampleType": {"typeStrindex": 1, "unitStrindex": 2}, "periodType": {"typeStrindex": 3, "unitStrindex": 4}, "period": "1000""#;
const OFF_CPU: &str = r#""sampleType": {"typeStrindex": 5, "unitStrindex": 4}"#;
const HEAP: &str = r#""sampleType": {"typeStrindex": 6, "unitStrindex": 2}"#;

/// A request on one line, with one sample of a function.
fn request(kind: &str, function: &str, value: &str) -> String {
    format!(
        r#"{{"resourceProfiles": [{{"scopeProfiles": [{{"profiles": [{{{kind}, "samples": [{{"stackIndex": 1, "values": [{value}]}}]}}]}}]}}], "dictionary": {{"locationTable": [{{}}, {{"lines": [{{"functionIndex": 1}}]}}], "functionTable": [{{}}, {{"nameStrindex": 7}}], "stringTable": ["", "samples", "count", "cpu", "nanoseconds", "off_cpu", "heap", "{function}"], "attributeTable": [{{}}], "stackTable": [{{}}, {{"locationIndices": [1]}}]}}}}"#
    )
}

fn read(text: &str) -> Result<(Profile, Vec<String>), String> {
    decode(text.as_bytes(), &LIMITS).map_err(|error| error.to_string())
}

/// Each function with what its samples stand for.
fn values(profile: &Profile) -> Vec<(&str, u64)> {
    let samples = profile.samples.iter().map(|sample| {
        let leaf = profile.stacks.get(sample.stack)[0].0 as usize;
        let function = profile.locations[leaf].lines[0].function.0 as usize;
        (&*profile.functions[function].name, sample.value)
    });
    samples.collect()
}

#[test]
fn the_requests_of_a_file_are_added_up() {
    let lines = [
        request(CPU, "main", "2"),
        r#"{"resourceLogs": []}"#.to_owned(),
        request(CPU, "other", "1"),
        r#"{"resourceProfiles": []}"#.to_owned(),
        request(CPU, "main", "\"3\""),
    ];
    for text in [
        lines.join("\n"),
        lines.join("\r\n") + "\r\n\r\n",
        lines.concat(),
    ] {
        let (profile, notes) = read(&text).unwrap();
        assert_eq!(values(&profile), [("main", 5_000), ("other", 1_000)]);
        assert_eq!(notes, [""; 0]);
    }
}

#[test]
fn one_kind_of_time_is_read() {
    let off_cpu = request(OFF_CPU, "wait", "7");
    let (profile, notes) = read(&[off_cpu.as_str(); 2].join("\n")).unwrap();
    assert_eq!(profile.kind.kind, ProfileKind::OffCpu);
    assert_eq!((values(&profile), notes), (vec![("wait", 14)], Vec::new()));
    let mixed = [
        request(HEAP, "heap", "7"),
        off_cpu.clone(),
        off_cpu.clone(),
        request(CPU, "main", "2"),
        off_cpu,
    ];
    let (profile, notes) = read(&mixed.join("\n")).unwrap();
    assert_eq!(profile.kind.kind, ProfileKind::OnCpu);
    assert_eq!(values(&profile), [("main", 2_000)]);
    assert_eq!(
        notes,
        ["3 of its requests measure another kind of time and are not shown"]
    );
    let heap = read(&request(HEAP, "heap", "7")).unwrap_err();
    assert!(heap.contains("not a profile of time"), "{heap}");
}

#[test]
fn a_last_request_that_is_cut_is_left_out() {
    let whole = request(CPU, "main", "2");
    for length in [1, 20, whole.len() - 1] {
        let (profile, notes) = read(&format!("{whole}\n{}", &whole[..length])).unwrap();
        assert_eq!(values(&profile), [("main", 2_000)]);
        assert_eq!(notes, ["its last request is cut short and is not shown"]);
        assert!(read(&whole[..length]).is_err());
    }
}

#[test]
fn what_is_no_number_has_its_place() {
    for (value, what) in [
        ("1.5", "a whole number"),
        ("\"1.5\"", "a whole number"),
        ("\"NaN\"", "a whole number"),
        ("\"\"", "a whole number"),
        ("1e400", "out of range"),
        ("NaN", "expected value"),
        ("{}", "an object is not expected"),
        ("18446744073709551616", "a whole number"),
    ] {
        let wrong = request(CPU, "main", value);
        let text = format!("{}\n\n{wrong}\n", request(CPU, "main", "2"));
        let error = read(&text).unwrap_err();
        assert!(error.contains(what), "{value}: {error}");
        assert!(error.contains(" at line 3 column "), "{value}: {error}");
    }
    let double = |value: &str| {
        let attribute = format!(
            r#"{{"resource": {{"attributes": [{{"key": "x", "value": {{"doubleValue": {value}}}}}]}}}}"#
        );
        read(&format!(r#"{{"resourceProfiles": [{attribute}]}}"#))
    };
    for value in ["1", "-1", "1.5", "\"NaN\"", "\"-Infinity\"", "\"1.5\""] {
        assert!(double(value).is_ok(), "{value}");
    }
    assert!(
        double("\"much\"")
            .unwrap_err()
            .contains("a number is expected at line 1")
    );
    let time = read(
        r#"{"resourceProfiles": [{"scopeProfiles": [{"profiles": [{"timeUnixNano": -1}]}]}]}"#,
    );
    assert!(
        time.unwrap_err()
            .contains("not negative is expected at line 1")
    );
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let deep = format!(r#"{{"resourceProfiles": {}}}"#, nested(100_000));
    let error = read(&deep).unwrap_err();
    assert!(
        error.contains("recursion limit exceeded at line 1"),
        "{error}"
    );
    // Of no use here, and so never built.
    let ignored = format!(r#"{{"x": {}, "resourceProfiles": []}}"#, nested(100_000));
    assert!(read(&ignored).is_ok());
    // Two bytes that become eight: too many in one request, and in two.
    for requests in [1, 2] {
        let times = "0,".repeat(30_000 / requests) + "0";
        let values = format!(r#"1], "timestampsUnixNano": [{times}"#);
        let text = request(CPU, "main", &values).repeat(requests);
        let limits = ReadLimits {
            bytes: 200_000,
            elements: 1 << 20,
            ..LIMITS
        };
        assert!(text.len() < limits.bytes / 3, "{}", text.len());
        let error = decode(text.as_bytes(), &limits).unwrap_err().to_string();
        assert_eq!(error, "more than 200000 bytes as protobuf");
    }
}

#[test]
fn all_requests_together_are_bounded() {
    let lines = |count: usize| -> String {
        let all = (0..count).map(|number| request(CPU, &format!("f{number}"), "1") + "\n");
        all.collect()
    };
    assert_eq!(read(&lines(200)).unwrap().0.samples.len(), 200);
    let error = read(&lines(400)).unwrap_err();
    assert_eq!(error, "more than 1000 entries of all requests");
}

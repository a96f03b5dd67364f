//! Pyroscope: what is pushed, as a receiver of this test reads it; and where PYROSCOPE_URL names a server
//! (2.2 or later), what it shows of a window that came through OTLP and of one that was pushed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use profiler_agent::export::otlp::{self, Protocol};
use profiler_agent::export::pyroscope;
use profiler_agent::profile::{Delivery, Destination, Payload, Profile, UnixTime, WindowUuid};
use profiler_tests::agent::until;
use profiler_tests::pprof;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::window;

const STACKS: u64 = 500;
const TYPE: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// First lines and bodies of requests.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Takes every request, and keeps it.
fn receiver() -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).expect("a request");
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a header");
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            kept.lock().expect("no panic with it").push((first, body));
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\n\
                          content-length: 0\r\nconnection: close\r\n\r\n";
            let stream = stream.get_mut();
            stream.write_all(answer.as_bytes()).expect("an answer");
        }
    });
    (format!("http://{address}"), requests)
}

/// The fields of a protobuf message, which are all of the kind that has a length.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        assert_eq!(tag & 7, 2, "a field with a length");
        let length = varint(&mut bytes) as usize;
        let (field, rest) = bytes.split_at(length);
        fields.push((tag >> 3, field));
        bytes = rest;
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a number");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

async fn send(destination: &impl Destination, payloads: Vec<Payload>) {
    for payload in payloads {
        let delivery = destination.send(Arc::new(payload)).await;
        assert_eq!(delivery, Delivery::Accepted);
    }
}

#[tokio::test]
async fn a_receiver_reads_what_was_sampled() {
    let (url, requests) = receiver();
    let mut config = pyroscope::Config::new(url.parse().expect("an address"));
    config.options.limits.samples = 200;
    let profile = window::window(UnixTime(1_795_271_525_000_000_000), STACKS);
    let window = WindowUuid::new(profile.start, 1);
    let payloads = pyroscope::encode(&profile, window, &config.options);
    let client = pyroscope::Client::new(config).expect("a client");
    send(&client, payloads).await;
    let directory = TempDir::new().expect("a temporary directory");
    let mut stacks = BTreeMap::new();
    let requests = requests.lock().expect("no panic with it");
    assert!(requests.len() > 2, "split: {}", requests.len());
    for (first, body) in &*requests {
        assert!(first.starts_with("POST /push.v1.PusherService/Push "));
        let [(1, series)] = fields(body)[..] else {
            panic!("one series");
        };
        let mut labels = BTreeMap::new();
        for (number, field) in fields(series) {
            let text = |field: &[u8]| String::from_utf8(field.to_vec()).expect("text");
            match (number, &fields(field)[..]) {
                (1, [(1, name), (2, value)]) => {
                    labels.insert(text(name), text(value));
                }
                (2, [(1, raw), (2, id)]) => {
                    assert_eq!(id.len(), 36);
                    let file = directory.path().join(text(id));
                    fs::write(&file, raw).expect("a file");
                    let read = pprof::Profile::read(&file);
                    assert!(read.samples.len() <= 200);
                    for sample in read.samples {
                        let frames = sample.functions().into_iter().map(str::to_owned);
                        let frames: Vec<_> = frames.collect();
                        *stacks.entry(frames).or_default() += sample.count();
                        let linked = sample.labels.contains_key("trace_id");
                        assert_eq!(sample.labels.len(), if linked { 2 } else { 0 });
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(labels["__name__"], "process_cpu");
        assert_eq!(labels["service_name"], "shop");
        assert_eq!(labels["comm"], "shop");
    }
    assert_eq!(stacks, window::sampled(&profile));
}

/// Asks the query API of the server, in JSON.
fn ask(url: &str, method: &str, question: &Value) -> Value {
    const PROGRAM: &str = "import sys, urllib.request as u\n\
        r = u.Request(sys.argv[1], sys.argv[2].encode(), {'Content-Type': 'application/json'})\n\
        sys.stdout.buffer.write(u.urlopen(r, timeout=30).read())";
    let url = format!(
        "{}/querier.v1.QuerierService/{method}",
        url.trim_end_matches('/')
    );
    let mut python = Command::new("python3");
    python.args(["-c", PROGRAM, &url, &question.to_string()]);
    let output = python.output().expect("python3 is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{url} {question}: {error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The server's flame graph of a service, of one trace where `trace` names it: nanoseconds, and names.
fn flame_graph(
    url: &str,
    service: &str,
    profile: &Profile,
    trace: Option<&str>,
) -> (u64, Vec<String>) {
    let mut question = json!({
        "profileTypeID": TYPE,
        "labelSelector": format!("{{service_name=\"{service}\"}}"),
        "start": (profile.start.0 / 1_000_000 - 60_000).to_string(),
        "end": (profile.end.0 / 1_000_000 + 60_000).to_string(),
        "maxNodes": "100000",
    });
    if let Some(trace) = trace {
        question["traceIdSelector"] = json!([trace]);
    }
    let answer = ask(url, "SelectMergeStacktraces", &question);
    let graph = &answer["flamegraph"];
    let total = graph["total"]
        .as_str()
        .map_or(0, |total| total.parse().expect("a number"));
    let names = graph["names"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |name: &Value| name.as_str().expect("a name").to_owned();
    (total, names.iter().map(name).collect())
}

#[tokio::test]
async fn a_server_shows_what_came() {
    // Without a server the receiver above is all that there is to ask.
    let Ok(url) = std::env::var("PYROSCOPE_URL") else {
        eprintln!("PYROSCOPE_URL names no server: only what is sent is checked");
        return;
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_nanos() as u64;
    let profile = window::window(UnixTime(now - 30_000_000_000), STACKS);
    let window = WindowUuid::new(profile.start, u64::from(std::process::id()));
    let service = |way: &str| format!("delivery-{way}-{now}");
    let endpoint: http::Uri = url.parse().expect("PYROSCOPE_URL is an address");

    let mut push = pyroscope::Config::new(endpoint.clone());
    push.options.service_name = Some(service("push"));
    let payloads = pyroscope::encode(&profile, window, &push.options);
    send(&pyroscope::Client::new(push).expect("a client"), payloads).await;

    let mut otlp = otlp::Config::new(endpoint);
    otlp.protocol = Protocol::Http;
    otlp.options.service_name = Some(service("otlp"));
    let payloads = otlp::encode(&profile, window, &otlp.options);
    send(&otlp::Client::new(otlp).expect("a client"), payloads).await;

    let period = profile.kind.quantum();
    let of_trace: String = window::trace_id(7)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    for way in ["push", "otlp"] {
        let service = service(way);
        let all = STACKS * 2 * period;
        until("the flame graph is whole", || {
            flame_graph(&url, &service, &profile, None).0 == all
        });
        let (_, names) = flame_graph(&url, &service, &profile, None);
        assert!(
            names.contains(&"module::function_16".to_owned()),
            "{names:?}"
        );
        let (total, names) = flame_graph(&url, &service, &profile, Some(&of_trace));
        assert_eq!(total, 2 * period, "{way}: the stack of one trace");
        assert!(
            names.contains(&"module::function_7".to_owned()),
            "{names:?}"
        );
    }
}

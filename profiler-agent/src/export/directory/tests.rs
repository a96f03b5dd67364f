//! Files as others find them, in directories that others spoil.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::Message as _;
use tempfile::TempDir;

use super::name::{hidden, is_hidden, is_ours, of, stamp};
use super::{Client, Config, FileFormat, encode};
use crate::export::{ReadLimits, otlp, pprof};
use crate::profile::example::example;
use crate::profile::{Coding, Delivery, Destination, Payload, PayloadId, UnixTime, WindowUuid};

/// A payload of a window that began so many seconds ago.
fn payload(age: u64, part: u32, length: usize) -> Payload {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let start = UnixTime((now.unwrap().as_secs() - age) * 1_000_000_000);
    Payload {
        id: PayloadId {
            window: WindowUuid::new(start, 7),
            part,
        },
        start,
        end: UnixTime(start.0 + 1),
        samples: 1,
        coding: Coding::Gzip,
        raw_length: length as u64,
        bytes: vec![b'x'; length],
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries.map(|e| name(e).into_string().unwrap()).collect()
}

fn config(directory: &TempDir) -> Config {
    Config::new(directory.path().to_owned())
}

async fn send(client: &Client, payload: &Payload) -> Delivery {
    client.send(Arc::new(payload.clone())).await
}

#[test]
fn names_are_those_of_the_scheme() {
    let mut payload = payload(0, 3, 1);
    payload.start = UnixTime(1_795_271_525_999_999_999);
    payload.id.window = WindowUuid([0xab; 16]);
    // By `date -u -d @1795271525`.
    let name = of(&payload);
    assert_eq!(
        name,
        format!("{}-{}-3.pb.gz", date(1_795_271_525), "ab".repeat(16))
    );
    assert_eq!(stamp(UnixTime(0)), "19700101T000000Z");
    assert!(is_ours(&name) && !is_hidden(&name));
    assert!(is_hidden(&hidden(&name)) && !is_ours(&hidden(&name)));
    payload.coding = Coding::Identity;
    assert!(of(&payload).ends_with("-3.otlp") && is_ours(&of(&payload)));
    let window = "ab".repeat(16);
    for other in [
        "",
        "notes.txt",
        "profile.pb.gz",
        &format!("20261121T142205Z-{window}-0.txt"),
        &format!("20261121T142205Z-{window}-.pb.gz"),
        &format!("20261121T142205Z-{window}-00000000000.pb.gz"),
        &format!("20261121T142205Z-{window}-0-1.pb.gz"),
        &format!("20261121t142205Z-{window}-0.pb.gz"),
        &format!("20261121T142205Z-{}-0.pb.gz", "AB".repeat(16)),
        &format!("../20261121T142205Z-{window}-0.pb.gz"),
    ] {
        assert!(!is_ours(other) && !is_hidden(other), "{other}");
    }
}

fn date(seconds: u64) -> String {
    let output = Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y%m%dT%H%M%SZ"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn files_hold_what_was_sampled() {
    let window = WindowUuid::new(example().start, 1);
    for format in [FileFormat::Pprof, FileFormat::Otlp] {
        let directory = TempDir::new().unwrap();
        // The window began in 1970.
        let config = Config {
            max_age: Duration::MAX,
            ..config(&directory)
        };
        let client = Client::new(config).unwrap();
        let [payload] = encode(&example(), window, format).try_into().unwrap();
        assert_eq!(payload.samples, example().sample_count());
        assert_eq!(send(&client, &payload).await, Delivery::Accepted);
        // The same again is the same file.
        assert_eq!(send(&client, &payload).await, Delivery::Accepted);
        let [name] = Vec::from_iter(names(directory.path())).try_into().unwrap();
        let bytes = fs::read(directory.path().join(&name)).unwrap();
        let limits = ReadLimits::default();
        let read = match format {
            FileFormat::Pprof => {
                assert!(name.ends_with("-0.pb.gz"));
                let tool = Command::new("go")
                    .args(["tool", "pprof", "-raw"])
                    .arg(directory.path().join(&name))
                    .output()
                    .unwrap();
                assert!(tool.status.success(), "{tool:?}");
                pprof::decode(&bytes, &limits).unwrap()
            }
            FileFormat::Otlp => {
                assert!(name.ends_with("-0.otlp"));
                let request = opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest::decode(&*bytes).unwrap();
                otlp::check::check(&request);
                assert_eq!(
                    request.resource_profiles[0].scope_profiles[0].profiles[0].profile_id,
                    window.profile(0)
                );
                otlp::decode(&bytes, &limits).unwrap()
            }
        };
        assert_eq!(read.sample_count(), example().sample_count());
    }
    let mut empty = example();
    empty.samples.clear();
    assert!(encode(&empty, window, FileFormat::Pprof).is_empty());
}

#[tokio::test]
async fn the_oldest_files_go_first() {
    let directory = TempDir::new().unwrap();
    let others = ["notes.txt", ".hidden", "20261121.pb.gz"];
    for name in others {
        fs::write(directory.path().join(name), vec![b'y'; 10_000]).unwrap();
    }
    let bounded = Config {
        max_bytes: 3_000,
        max_age: Duration::from_secs(3_600),
        ..config(&directory)
    };
    let client = Client::new(bounded.clone()).unwrap();
    let of_window = |age| of(&payload(age, 0, 1));
    let written: Vec<_> = [50, 40, 30, 20].map(|age| payload(age, 0, 1_000)).into();
    for payload in &written {
        assert_eq!(send(&client, payload).await, Delivery::Accepted);
    }
    let mut expected: BTreeSet<String> = others.map(str::to_owned).into();
    expected.extend(written[1..].iter().map(of));
    assert_eq!(names(directory.path()), expected);
    // The bounds hold over a restart; the newest stays even if it alone is too large.
    drop(client);
    let client = until_open(&bounded);
    let large = payload(10, 0, 9_000);
    assert_eq!(send(&client, &large).await, Delivery::Accepted);
    let mut expected: BTreeSet<String> = others.map(str::to_owned).into();
    expected.insert(of(&large));
    assert_eq!(names(directory.path()), expected);
    // What is too old goes, even if it is the only one.
    let old = payload(4_000, 0, 1);
    assert_eq!(send(&client, &old).await, Delivery::Accepted);
    assert!(!names(directory.path()).contains(&of(&old)));
    assert!(!names(directory.path()).contains(&of_window(4_000)));
}

/// The thread of a client that was dropped ends soon.
fn until_open(config: &Config) -> Client {
    let start = std::time::Instant::now();
    loop {
        match Client::new(config.clone()) {
            Ok(client) => return client,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn what_was_left_half_written_is_removed() {
    let directory = TempDir::new().unwrap();
    let left = hidden(&of(&payload(5, 0, 1)));
    fs::write(directory.path().join(&left), "half").unwrap();
    fs::write(directory.path().join(".other.part"), "not ours").unwrap();
    let _client = Client::new(config(&directory)).unwrap();
    assert_eq!(names(directory.path()), [".other.part".to_owned()].into());
}

#[tokio::test]
async fn links_are_not_followed() {
    let (directory, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let written = payload(5, 0, 10);
    let place = directory.path().join(of(&written));
    let before = directory.path().join(hidden(&of(&written)));
    let old = directory.path().join(of(&payload(90, 0, 10)));
    let client = Client::new(Config {
        max_bytes: 1,
        ..config(&directory)
    });
    let client = client.unwrap();
    for link in [&place, &before, &old] {
        symlink(&victim, link).unwrap();
    }
    assert_eq!(send(&client, &written).await, Delivery::Accepted);
    assert_eq!(fs::read(&place).unwrap(), [b'x'; 10]);
    assert!(!fs::symlink_metadata(&place).unwrap().is_symlink());
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    // A link of such a name is no file of ours: it counts for nothing.
    drop(client);
    let client = until_open(&config(&directory));
    assert_eq!(send(&client, &payload(4, 0, 1)).await, Delivery::Accepted);
    assert!(fs::symlink_metadata(&old).unwrap().is_symlink());
}

#[tokio::test]
async fn one_agent_writes_to_a_directory() {
    let directory = TempDir::new().unwrap();
    let _client = Client::new(config(&directory)).unwrap();
    let error = Client::new(config(&directory)).unwrap_err().to_string();
    assert!(error.contains("another agent"), "{error}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Client::new(Config::new(file)).is_err());
}

#[tokio::test]
async fn a_directory_that_goes_away_is_made_again() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("a/b");
    let client = Client::new(Config::new(path.clone())).unwrap();
    assert_eq!(send(&client, &payload(9, 0, 1)).await, Delivery::Accepted);
    fs::remove_dir_all(&path).unwrap();
    let delivery = send(&client, &payload(8, 0, 1)).await;
    let Delivery::Retry { message, .. } = delivery else {
        panic!("{delivery:?}");
    };
    assert!(message.contains("a/b: "), "{message}");
    assert_eq!(send(&client, &payload(8, 0, 1)).await, Delivery::Accepted);
    let [name] = Vec::from_iter(names(&path)).try_into().unwrap();
    let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
    assert_eq!(mode & 0o037, 0, "nobody else reads it");
}

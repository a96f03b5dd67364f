//! A real OpenTelemetry collector that writes the profiles it receives to a file.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use tempfile::TempDir;

use super::build;
use super::received::Received;
use crate::agent::until;
use crate::authority::Authority;
use crate::build::text;
use crate::daemon::free_address;

/// Without it a collector refuses a pipeline of profiles.
const PROFILES: &str = "--feature-gates=service.profilesSupport";

/// Where a collector sends the profiles that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// Into a file, to be read.
    File,
    /// To another receiver, over gRPC: it answers when that one has answered, and keeps nothing.
    Forward(SocketAddr),
    /// Nowhere.
    Nop,
}

/// How a collector is set up, beside where its gRPC receiver listens.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Where it sends profiles.
    pub exporter: Exporter,
    /// Shows who it is and asks who calls, by certificates of this authority.
    pub tls: Option<&'a Authority>,
    /// Does it take profiles? Else traces only.
    pub profiles: bool,
}

/// A running collector with ports on loopback and files of its own; killed when dropped.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    grpc: SocketAddr,
    http: SocketAddr,
    directory: TempDir,
    reading: Mutex<Reading>,
}

/// How far the file was read, and what was in it.
#[derive(Debug, Default)]
struct Reading {
    offset: u64,
    received: Received,
}

impl Collector {
    /// Starts a collector whose gRPC receiver has this address, and waits until it receives.
    ///
    /// # Panics
    ///
    /// When it does not build or start.
    #[must_use]
    pub fn start(grpc: SocketAddr, exporter: Exporter) -> Self {
        let setup = Setup {
            exporter,
            tls: None,
            profiles: true,
        };
        Self::set_up(grpc, setup)
    }

    /// The same, in another way.
    ///
    /// # Panics
    ///
    /// When it does not build or start.
    #[must_use]
    pub fn set_up(grpc: SocketAddr, setup: Setup<'_>) -> Self {
        let program = build::collector();
        let directory = TempDir::new().expect("a temporary directory");
        let http = free_address();
        let config = configuration(grpc, http, setup, &directory);
        let config_file = directory.path().join("collector.yaml");
        fs::write(&config_file, config).expect("a configuration");
        let child = Command::new(program)
            .args([PROFILES, "--config", text(&config_file)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the collector starts");
        let mut collector = Self {
            child,
            grpc,
            http,
            directory,
            reading: Mutex::default(),
        };
        until("the collector receives", || {
            let ended = collector.child.try_wait().expect("it is a child");
            assert!(ended.is_none(), "the collector has ended: {ended:?}");
            [grpc, http]
                .iter()
                .all(|address| TcpStream::connect(address).is_ok())
        });
        collector
    }

    /// The address of its gRPC receiver.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// The address of its HTTP receiver.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// What it has written to its file so far. Asking again while this is held waits for ever.
    ///
    /// # Panics
    ///
    /// When it is not what a collector writes.
    pub fn received(&self) -> impl std::ops::Deref<Target = Received> {
        let mut reading = self.reading.lock().expect("no panic with it");
        reading.go_on(&profiles(&self.directory));
        Held(reading)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

struct Held<'a>(MutexGuard<'a, Reading>);

impl std::ops::Deref for Held<'_> {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.0.received
    }
}

impl Reading {
    /// Reads the lines that were completed since the last time.
    fn go_on(&mut self, path: &std::path::Path) {
        let mut file = File::open(path).expect("the collector has made its file");
        file.seek(SeekFrom::Start(self.offset)).expect("a file");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("a file");
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |end| end + 1));
        self.offset += bytes.len() as u64;
        let text = String::from_utf8(bytes).expect("JSON is UTF-8");
        for line in text.lines() {
            self.received.add(line);
        }
    }
}

fn profiles(directory: &TempDir) -> PathBuf {
    directory.path().join("profiles.json")
}

fn configuration(
    grpc: SocketAddr,
    http: SocketAddr,
    setup: Setup<'_>,
    directory: &TempDir,
) -> String {
    let (name, settings) = match setup.exporter {
        Exporter::File => ("file", format!("path: {}", text(&profiles(directory)))),
        Exporter::Forward(receiver) => (
            "otlp_grpc",
            format!(
                "endpoint: \"{receiver}\", tls: {{insecure: true}}, sending_queue: {{enabled: false}}, \
                 retry_on_failure: {{enabled: false}}"
            ),
        ),
        Exporter::Nop => ("nop", String::new()),
    };
    let tls = setup.tls.map_or_else(String::new, |authority| {
        let file = |name| authority.path(name).display().to_string();
        format!(
            ", tls: {{cert_file: {}, key_file: {}, client_ca_file: {}}}",
            file("server.pem"),
            file("server.key"),
            file("ca.pem")
        )
    });
    let listen = |address| format!("{{endpoint: \"{address}\"{tls}}}");
    let protocols = format!("{{grpc: {}, http: {}}}", listen(grpc), listen(http));
    let signal = if setup.profiles { "profiles" } else { "traces" };
    format!(
        "receivers: {{otlp: {{protocols: {protocols}}}}}\n\
         exporters: {{{name}: {{{settings}}}}}\n\
         service:\n\
         \x20 telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}\n\
         \x20 pipelines: {{{signal}: {{receivers: [otlp], exporters: [{name}]}}}}\n"
    )
}

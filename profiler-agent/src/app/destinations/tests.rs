//! Changes of what really runs: directories as destinations, spools, and places that cannot be used.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::super::clock;
use super::super::plan::{Change, Plan};
use super::*;
use crate::config::AgentConfig;
use crate::profile::example::example;
use crate::profile::{Profile, UnixTime, WindowUuid};

/// Destinations with the configuration that is in effect.
struct Agent {
    directory: TempDir,
    config: AgentConfig,
    running: Destinations,
    /// Windows so far.
    windows: u64,
}

impl Agent {
    async fn start(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = read(&directory, text);
        let running = Destinations::start(config.destinations()).await.unwrap();
        Self {
            directory,
            config,
            running,
            windows: 0,
        }
    }

    /// What a reload of this text comes to; whatever that is, each sample is accounted for.
    async fn change(&mut self, text: &str) -> Result<(), ChangeError> {
        let new = read(&self.directory, text);
        let wanted = new.destinations();
        let plan = Plan::new(&self.config, new, &self.running.in_effect(), wanted);
        let Change::Exporters(exporters) = plan.change else {
            panic!("{:?}", plan.change);
        };
        self.balance();
        let changed = self.running.change(exporters).await;
        self.balance();
        if changed.is_ok() {
            self.config = plan.config;
        }
        changed
    }

    /// Closes a window.
    fn window(&mut self) {
        self.windows += 1;
        let name = WindowUuid::new(UnixTime(self.windows), 1);
        // Of now: old windows are dropped.
        let now = clock::pair().unix;
        let profile = Profile {
            start: now,
            end: now,
            ..example()
        };
        self.running.outlets().deliver(&profile, name);
        self.balance();
    }

    fn balance(&self) {
        for (name, counts) in self.running.outlets().counts() {
            assert!(counts.is_balanced(), "{name}: {counts:?}");
        }
    }

    fn names(&self) -> Vec<String> {
        let all = self.running.in_effect().into_iter();
        all.map(|destination| destination.name.clone()).collect()
    }

    fn counts(&self, name: &str) -> DeliveryCounts {
        let counts = self.running.outlets().counts();
        let found = counts.into_iter().find(|(other, _)| other == name);
        found.unwrap_or_else(|| panic!("{name} does not run")).1
    }

    /// Waits until a destination has all windows that were closed.
    async fn has_all(&self, name: &str) {
        let all = self.windows * example().sample_count();
        while self.counts(name).samples < all {
            self.balance();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.counts(name).samples, all);
    }
}

fn read(directory: &TempDir, text: &str) -> AgentConfig {
    let path = directory.path().display().to_string();
    let mut text = text.replace("DIR", &path);
    if !text.contains("spool:") {
        text.push_str(&format!("\nspool: {{directory: {path}/spool}}"));
    }
    AgentConfig::parse(&text, &|_| None).unwrap()
}

fn files(directory: &Path, ending: &str) -> usize {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(ending))
        .count()
}

const FILE: &str = "exporters: {file: {directory: DIR/a}}";

#[tokio::test]
async fn an_exporter_of_files_is_changed_without_a_loss() {
    let mut agent = Agent::start(FILE).await;
    agent.window();
    agent
        .change("exporters: {file: {directory: DIR/a, format: otlp}}")
        .await
        .unwrap();
    agent.window();
    agent.has_all("file").await;
    let directory = agent.directory.path().join("a");
    assert_eq!(files(&directory, ".pb.gz"), 1);
    assert_eq!(files(&directory, ".otlp"), 1);
    // Another exporter for the same directory, and back.
    agent
        .change("exporters: {file/other: {directory: DIR/a}}")
        .await
        .unwrap();
    assert_eq!(agent.names(), ["file/other"]);
    agent.change(FILE).await.unwrap();
    assert_eq!(agent.names(), ["file"]);
    agent.running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_made_touches_nothing() {
    let mut agent = Agent::start(FILE).await;
    agent.window();
    fs::write(agent.directory.path().join("file"), "no directory").unwrap();
    for wrong in [
        "spool: {directory: DIR/file/spool}\nexporters: {file: {directory: DIR/a}}",
        "exporters: {file: {directory: DIR/file/a}}",
        "exporters: {file: {directory: DIR/a}, file/b: {directory: DIR/file/b}}",
        "exporters: {otlp_grpc: {endpoint: 'https://a:1', tls: {ca_file: DIR/none}}}",
    ] {
        let refused = agent.change(wrong).await;
        assert!(
            matches!(refused, Err(ChangeError::Refused(_))),
            "{refused:?}"
        );
        assert_eq!(agent.names(), ["file"]);
        agent.window();
    }
    agent.has_all("file").await;
    agent.running.stop().await;
}

#[tokio::test]
async fn what_does_not_start_after_the_old_has_ended_is_rolled_back() {
    let mut agent = Agent::start(FILE).await;
    // Another writer holds a directory that is looked at only when the one before has been given back.
    let held = agent.directory.path().join("held");
    fs::create_dir(&held).unwrap();
    let lock = File::open(&held).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    agent.window();
    let both =
        "exporters: {file: {directory: DIR/a, max_size: 2MiB}, file/b: {directory: DIR/held}}";
    let rolled_back = agent.change(both).await;
    assert!(
        matches!(rolled_back, Err(ChangeError::RolledBack(_))),
        "{rolled_back:?}"
    );
    assert_eq!(agent.names(), ["file"]);
    agent.window();
    agent.has_all("file").await;
    // The same file of configuration is good when the directory is free.
    drop(lock);
    agent.change(both).await.unwrap();
    assert_eq!(agent.names(), ["file", "file/b"]);
    agent.window();
    agent.has_all("file").await;
    agent.running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_again_is_missing_until_it_can() {
    let mut agent = Agent::start(FILE).await;
    let (here, away) = (
        agent.directory.path().join("a"),
        agent.directory.path().join("away"),
    );
    // Its directory goes away and the path of its successor is held: neither starts.
    fs::rename(&here, &away).unwrap();
    fs::write(&here, "no directory").unwrap();
    let held = agent.directory.path().join("held");
    fs::create_dir(&held).unwrap();
    let lock = File::open(&held).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let changed = agent
        .change("exporters: {file: {directory: DIR/held}}")
        .await;
    assert!(matches!(changed, Err(ChangeError::RolledBack(_))));
    assert_eq!(agent.names(), ["file"]);
    let missing = agent.running.retry().await;
    assert!(
        missing.len() == 1 && missing[0].starts_with("the exporter file is not running: "),
        "{missing:?}"
    );
    // What is closed meanwhile waits.
    agent.window();
    let counts = agent.counts("file");
    assert_eq!(counts.waiting_samples, example().sample_count());
    fs::remove_file(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    assert_eq!(agent.running.retry().await, [""; 0]);
    agent.has_all("file").await;
    agent.running.stop().await;
}

#[tokio::test]
async fn every_sample_is_accounted_for_while_a_receiver_is_away_and_exporters_change() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let text = |more: &str| {
        format!(
            "exporters: {{otlp_grpc: {{endpoint: 'http://{address}'{more}}}, file: {{directory: DIR/a}}}}"
        )
    };
    let mut agent = Agent::start(&text("")).await;
    let one = example().sample_count();
    for number in 1..=3 {
        agent.window();
        agent.window();
        agent
            .change(&text(&format!(", timeout: {number}s")))
            .await
            .unwrap();
        let counts = agent.counts("otlp_grpc");
        assert_eq!(counts.taken, 2 * number * one);
        assert_eq!(counts.samples, 0);
    }
    // Elsewhere: what the old spool holds is left there.
    let elsewhere = format!(
        "spool: {{directory: {}}}\n{}",
        directory.path().display(),
        text("")
    );
    agent.change(&elsewhere).await.unwrap();
    agent.window();
    let counts = agent.counts("otlp_grpc");
    assert_eq!(counts.taken, 7 * one);
    assert!(counts.losses.samples() == 0, "{counts:?}");
    agent.has_all("file").await;
    let running = std::mem::take(&mut agent.running);
    for (name, counts) in running.stop().await {
        assert!(counts.is_balanced(), "{name}: {counts:?}");
        assert_eq!(counts.waiting_samples, 0, "{name}");
        assert_eq!(counts.taken, 7 * one, "{name}");
        assert!(counts.losses.samples() == 0, "{name}: {counts:?}");
    }
}

//! The agent as a daemon, with a store and a page of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{self, until};
use crate::build::text;
use crate::quota::{CpuQuota, MemoryQuota};

/// Longest time from SIGTERM to the end.
const STOP: Duration = Duration::from_secs(5);
/// Longest time to the end where it had hardly any CPU time until its own time for it was over.
const LATE_STOP: Duration = Duration::from_secs(20);
/// Periods of a share of the CPU that are longer than all of the agent's own time to stop.
const STARVED: u64 = 60;
/// Longest time without a byte of an answer.
const ANSWER: Duration = Duration::from_secs(100);

/// The agent in windows of a second, at [`agent::FREQUENCY`]; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    page: SocketAddr,
    telemetry: SocketAddr,
    directory: TempDir,
    /// Where nobody reads what it logs.
    unread: Option<PipeReader>,
}

impl Daemon {
    /// Starts it with this receiver of OTLP, which need not be there, and waits for its page.
    ///
    /// # Panics
    ///
    /// When it cannot be started; the other methods, when it does not do as it should.
    #[must_use]
    pub fn start(receiver: SocketAddr) -> Self {
        let endpoint = format!("http://{receiver}");
        Self::launch(
            TempDir::new().expect("a temporary directory"),
            "",
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)],
        )
    }

    /// Starts it with this receiver of profiles and further variables of the environment.
    #[must_use]
    pub fn start_with(receiver: SocketAddr, variables: &[(&str, &str)]) -> Self {
        let endpoint = format!("http://{receiver}");
        let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
        all.extend(variables);
        Self::launch(TempDir::new().expect("a temporary directory"), "", &all)
    }

    /// Starts it with more keys of the configuration, in which `DIRECTORY` stands for one that is its own and `PAGE_PORT`
    /// for its page's port.
    #[must_use]
    pub fn with(more: &str) -> Self {
        Self::launch(TempDir::new().expect("a temporary directory"), more, &[])
    }

    /// As [`Self::with`], with so much memory.
    #[must_use]
    pub fn within(quota: &MemoryQuota, more: &str) -> Self {
        let mut command = quota.command();
        command.arg(agent::executable());
        let directory = TempDir::new().expect("a temporary directory");
        Self::launch_by(command, directory, more, &[])
    }

    /// With these variables; nobody reads what it logs, and the pipe that it logs into is full from the start.
    #[must_use]
    pub fn with_unread_log(environment: &[(&str, &str)]) -> Self {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let blocking = fcntl_getfl(&writer).expect("its flags");
        fcntl_setfl(&writer, blocking | OFlags::NONBLOCK).expect("flags");
        while writer.write(&[b'\n'; 4_096]).is_ok() {}
        fcntl_setfl(&writer, blocking).expect("flags");
        let mut command = agent::command(&[]);
        command.stderr(writer);
        let directory = TempDir::new().expect("a temporary directory");
        let mut daemon = Self::launch_by(command, directory, "", environment);
        daemon.unread = Some(reader);
        daemon
    }

    /// As [`Self::with`], and has it look names up as this `resolv.conf` says.
    #[must_use]
    pub fn with_name_servers(resolv_conf: &str, more: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let file = directory.path().join("resolv.conf");
        fs::write(&file, resolv_conf).expect("a file");
        // A mount of its own process, which becomes the agent.
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(&file);
        command.arg(agent::executable());
        Self::launch_by(command, directory, more, &[])
    }

    fn launch(directory: TempDir, more: &str, environment: &[(&str, &str)]) -> Self {
        Self::launch_by(agent::command(&[]), directory, more, environment)
    }

    fn launch_by(
        mut command: Command,
        directory: TempDir,
        more: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let page = free_address();
        let telemetry = free_address();
        let file = directory.path().join("agent.yaml");
        let text_of_file = configuration(&directory, page, telemetry, more);
        fs::write(&file, text_of_file).expect("a configuration");
        let child = command
            .args(["agent", "--config", text(&file)])
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .expect("the agent starts");
        let daemon = Self {
            child,
            page,
            telemetry,
            directory,
            unread: None,
        };
        until("the page answers", || TcpStream::connect(page).is_ok());
        daemon
    }

    /// Its own directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its page is.
    #[must_use]
    pub const fn page_address(&self) -> SocketAddr {
        self.page
    }

    /// Where its metrics and probes are.
    #[must_use]
    pub const fn telemetry_address(&self) -> SocketAddr {
        self.telemetry
    }

    /// Writes other keys into its configuration and has it read them.
    pub fn configure(&self, more: &str) {
        // Whole at once: it may be read at any moment.
        let (new, file) = (
            self.directory.path().join("agent.yaml.new"),
            self.directory.path().join("agent.yaml"),
        );
        let text = configuration(&self.directory, self.page, self.telemetry, more);
        fs::write(&new, text).expect("a configuration");
        fs::rename(new, file).expect("a configuration");
        self.hang_up();
    }

    /// Has it read its configuration again.
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("the agent runs");
    }

    /// Kills it as nothing else does, and starts another one over what it left.
    #[must_use]
    pub fn kill_and_start(mut self, more: &str) -> Self {
        self.child.kill().expect("the agent runs");
        self.child.wait().expect("the agent ends");
        let directory = TempDir::new().expect("a temporary directory");
        let directory = std::mem::replace(&mut self.directory, directory);
        Self::launch(directory, more, &[])
    }

    /// An answer of the query API.
    #[must_use]
    pub fn ask(&self, path: &str) -> Value {
        let body = self.get(path);
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// An answer of the query API; none while the page is not there.
    #[must_use]
    pub fn try_ask(&self, path: &str) -> Option<Value> {
        let answer = try_ask(self.page, path, "").ok()?;
        let body = (answer.status == 200).then_some(answer.body)?;
        serde_json::from_slice(&body).ok()
    }

    /// Saves what the store has for a query of `/api/flamegraph`, as pprof.
    pub fn save(&self, query: &str, file: &Path) {
        let body = self.get(&format!("/api/flamegraph?format=pprof&{query}"));
        fs::write(file, body).expect("a file");
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let answer = ask(self.page, path, "");
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{path}: {}{text}", answer.head);
        answer.body
    }

    /// What the page's address answers to a path.
    #[must_use]
    pub fn page(&self, path: &str) -> Answer {
        ask(self.page, path, "")
    }

    /// Its own metrics by name with labels, as Prometheus text has them; none while they cannot be asked for.
    #[must_use]
    pub fn metrics(&self) -> Option<BTreeMap<String, f64>> {
        let answer = try_ask(self.telemetry, "/metrics", "").ok()?;
        let text = String::from_utf8((answer.status == 200).then_some(answer.body)?).ok()?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// What the address of metrics and probes answers to a path; `headers` are lines of the request.
    #[must_use]
    pub fn telemetry(&self, path: &str, headers: &str) -> Answer {
        ask(self.telemetry, path, headers)
    }

    /// Samples by the window's start in ms, as the store has them.
    #[must_use]
    pub fn windows(&self) -> BTreeMap<u64, u64> {
        let answer = self.ask("/api/windows");
        let windows = answer["windows"].as_array().expect("windows").iter();
        windows
            .map(|window| {
                let number = |key: &str| window[key].as_u64().expect("a number");
                (number("from"), number("samples"))
            })
            .collect()
    }

    /// Ends it by SIGTERM, promptly.
    pub fn stop(self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the agent runs");
        self.ends_within(STOP);
    }

    /// Ends it by SIGTERM while it has hardly any CPU time, and gives it all that there is once its own time to stop is
    /// over: it is through with waiting then, and has done what it could.
    ///
    /// The share is measured in what the agent was refused, not by the clock: how long a share lasts is up to whoever
    /// else uses the machine.
    pub fn stop_starved(mut self, quota: CpuQuota) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the agent runs");
        let before = quota.throttled();
        until("its time to stop is over", || {
            let has_ended = self.child.try_wait().expect("the agent is ours").is_some();
            has_ended || quota.throttled() >= before + STARVED
        });
        drop(quota);
        self.ends_within(LATE_STOP);
    }

    fn ends_within(mut self, longest: Duration) {
        let start = Instant::now();
        let status = self.child.wait().expect("the agent ends");
        assert!(status.success(), "{status}");
        assert!(
            start.elapsed() < longest,
            "it took {:?} to stop",
            start.elapsed()
        );
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended where a test stopped it.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn configuration(
    directory: &TempDir,
    page: SocketAddr,
    telemetry: SocketAddr,
    more: &str,
) -> String {
    let path = directory.path().display().to_string();
    let frequency = agent::FREQUENCY;
    let own = [
        (
            "sampling",
            format!("{{frequency: {frequency}, window: 1s}}"),
        ),
        ("store", format!("{{directory: {path}/store}}")),
        ("tables", format!("{{cache_directory: {path}/tables}}")),
        ("spool", format!("{{directory: {path}/spool}}")),
        ("page", format!("{{endpoint: \"{page}\"}}")),
        ("telemetry", format!("{{endpoint: \"{telemetry}\"}}")),
    ];
    let mut text = more
        .replace("DIRECTORY", &path)
        .replace("PAGE_PORT", &page.port().to_string());
    for (key, value) in own {
        if !more.contains(&format!("{key}:")) {
            text.push_str(&format!("{key}: {value}\n"));
        }
    }
    text
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

fn ask(address: SocketAddr, path: &str, headers: &str) -> Answer {
    try_ask(address, path, headers).expect("an answer")
}

fn try_ask(address: SocketAddr, path: &str, headers: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let cut = || io::Error::other("a part of an answer");
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let body = answer.split_off(end.ok_or_else(cut)? + 4);
    let head = String::from_utf8_lossy(&answer).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer {
        status: status.ok_or_else(cut)?,
        head,
        body,
    })
}

/// An address on loopback that nobody listens on.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// A configuration of an agent that keeps what it writes in `directory`, with a page of its own.
///
/// # Panics
///
/// As [`free_address`].
#[must_use]
pub fn configuration_in(directory: &Path) -> String {
    let (path, page) = (directory.display(), free_address());
    format!(
        "store: {{directory: {path}/store}}\ntables: {{cache_directory: {path}/tables}}\n\
         page: {{endpoint: \"{page}\"}}\n"
    )
}

//! What a request looks like.

use crate::profile::Coding;

/// How a sample's occurrences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// When each one was taken. A profile that has no times is written as `Values`.
    Timestamps,
    /// How many there are.
    Values,
}

/// Which processes share a resource. Kernel threads always share one with `Container`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// One per container and executable, one per process outside of containers. Processes of a container that
    /// come and go (workers, shells) do not make new series.
    Container,
    /// One per process: nothing is lost, for files.
    Process,
}

/// The machine, as resource attributes name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// `host.id`: the content of /etc/machine-id.
    pub id: Option<String>,
    /// `host.name`.
    pub name: Option<String>,
    /// `host.arch` by the semantic conventions: `amd64`, `arm64`.
    pub arch: Option<&'static str>,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn read() -> Self {
        let id = std::fs::read_to_string("/etc/machine-id").ok();
        let system = rustix::system::uname();
        Self {
            id: id
                .map(|id| id.trim().to_owned())
                .filter(|id| !id.is_empty()),
            name: system.nodename().to_str().ok().map(str::to_owned),
            arch: match std::env::consts::ARCH {
                "x86_64" => Some("amd64"),
                "aarch64" => Some("arm64"),
                _ => None,
            },
        }
    }
}

/// How profiles become requests.
#[derive(Clone, Debug)]
pub struct Options {
    /// How a sample's occurrences are written.
    pub shape: Shape,
    /// Which processes share a resource.
    pub grouping: Grouping,
    /// Adds `thread.id` and `thread.name` to samples, and `process.pid` where a resource holds
    /// several processes. Off for receivers by default: a common one makes a series of every
    /// distinct value of a sample attribute.
    pub threads: bool,
    /// Adds `goroutine.id` to samples that know it.
    pub goroutines: bool,
    /// `service.name` of everything; else it is each process's own ([`Process::service`]).
    ///
    /// [`Process::service`]: crate::profile::Process::service
    pub service_name: Option<String>,
    /// Further resource attributes. Where a process has a fact of the same name, the fact stays.
    pub resource: Vec<(String, String)>,
    /// The machine.
    pub host: Host,
    /// Largest request in bytes (not compressed); a single sample that is larger is sent as it is.
    pub max_bytes: usize,
    /// How requests are compressed.
    pub coding: Coding,
}

impl Default for Options {
    /// For a receiver: timestamps, containers, no threads, 4 MiB (the limit of a collector's gRPC), gzip (the one
    /// compression that every receiver must know).
    fn default() -> Self {
        Self {
            shape: Shape::Timestamps,
            grouping: Grouping::Container,
            threads: false,
            goroutines: false,
            service_name: None,
            resource: Vec::new(),
            host: Host::default(),
            max_bytes: 4 << 20,
            coding: Coding::Gzip,
        }
    }
}

impl Options {
    /// For a file: everything that the profile holds, in one request, not compressed.
    #[must_use]
    pub fn file(host: Host) -> Self {
        Self {
            grouping: Grouping::Process,
            threads: true,
            goroutines: true,
            host,
            max_bytes: usize::MAX,
            coding: Coding::Identity,
            ..Self::default()
        }
    }
}

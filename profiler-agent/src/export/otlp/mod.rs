//! OTLP profiles (`opentelemetry.proto.profiles.v1development`, wire format of 1.10 and later).
//!
//! One request holds the samples of one window, or of a part of it where that would be larger than
//! [`Options::max_bytes`]: each part has its own dictionary, so that it stands for itself. One
//! `ResourceProfiles` per [`Grouping`], with one `Profile` of samples/count and period cpu/nanoseconds: what the
//! receivers of the field know as CPU profiles.
//!
//! Invariants, checked by `check` in the tests as the official checker does: element 0 of each
//! table is its zero value, no duplicates, no orphans, every index in range, one shape for all
//! samples, timestamps within the profile. Resource and scope attributes are spelled out (`key`,
//! `string_value`): receivers of before 1.10 read no indices there.

#[cfg(test)]
pub(super) mod check;
mod config;
mod decode;
mod dictionary;
mod encode;
mod environment;
mod facts;
mod grpc;
mod http;
mod options;
mod outcome;
mod resource;
mod send;
mod settings;
mod status;
mod tables;

#[cfg(test)]
mod tests;

pub use config::{Config, Protocol};
pub use decode::decode;
pub use encode::{encode, encode_one};
pub use environment::{ConfigError, FromEnvironment};
pub use options::{Grouping, Host, Options, Shape};
pub use send::Client;
pub use settings::{Compression, Grpc, Http, Settings};

const SERVICE_NAME: &str = "service.name";
const CONTAINER_ID: &str = "container.id";
const PROCESS_PID: &str = "process.pid";
const PROCESS_COMM: &str = "process.comm";
const PROCESS_CGROUP: &str = "process.linux.cgroup";
const PROCESS_EXECUTABLE_NAME: &str = "process.executable.name";
const PROCESS_EXECUTABLE_PATH: &str = "process.executable.path";
const THREAD_ID: &str = "thread.id";
const THREAD_NAME: &str = "thread.name";
/// Before the key of a label that the sampled code gave itself.
const LABEL_PREFIX: &str = "process.context.label.";
const GOROUTINE_ID: &str = "goroutine.id";
const FRAME_TYPE: &str = "profile.frame.type";
const BUILD_ID_GNU: &str = "process.executable.build_id.gnu";
const BUILD_ID_HTLHASH: &str = "process.executable.build_id.htlhash";
/// `process.executable.name` of kernel threads, which have no executable.
const KERNEL_EXECUTABLE: &str = "[kernel]";

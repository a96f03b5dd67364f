//! Pyroscope's own push API (`/push.v1.PusherService/Push`: Connect, unary, protobuf).
//!
//! A payload is one profile of one series: what a server says of it is about it alone, and a retry repeats no
//! other. A series is what processes have in common that people ask for by name; what there is too much of (ids of
//! processes, threads, goroutines, traces; names of threads) is in no label of a series. Trace and span ids are
//! labels of samples, which Pyroscope keeps apart from the series (trace ids since 2.1). Labels that the
//! sampled code gave itself are labels of samples too, and become labels of series there; they are bounded where
//! they are read.
//!
//! | label | what |
//! |---|---|
//! | `__name__` | `process_cpu`; `off_cpu`, `wall` |
//! | `service_name` | what the process calls itself, else its executable |
//! | `namespace`, `pod`, `container`, `node` | by Kubernetes; else the container's name or id, and the machine |
//! | `comm` | the process's name; none for the kernel's threads, which are named after CPUs |
//! | `service_namespace`, `service_version`, `deployment_environment` | as the process says |
//! | `service_repository`, `service_git_ref` | as the process says: for the view of sources |

mod config;
mod encode;
#[expect(unreachable_pub, reason = "written by a generator")]
mod generated;
mod outcome;
mod send;
mod series;
mod settings;

#[cfg(test)]
mod tests;

pub use config::{Config, Limits, Options};
pub use encode::encode;
pub use send::Client;
pub use settings::Settings;

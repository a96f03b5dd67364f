//! Pyroscope's own push API.

mod config;

pub use config::{Config, Limits, Options};

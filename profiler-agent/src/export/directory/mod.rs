//! A directory of files, one for each window.

mod config;

pub use config::{Config, FileFormat};

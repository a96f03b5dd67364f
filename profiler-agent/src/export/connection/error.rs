//! Why a client cannot be made.

use std::path::PathBuf;

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file could not be read.
    #[error("read {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {message}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A header cannot be sent.
    #[error("header {name}: {message}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong; never its value.
        message: String,
    },
    /// The endpoint makes no sense.
    #[error("endpoint {endpoint}: {message}")]
    Endpoint {
        /// Where to, without credentials.
        endpoint: String,
        /// What is wrong.
        message: String,
    },
    /// The system has no certificates to trust.
    #[error("the system's certificates: {0}; install ca-certificates, or name a file of your own")]
    NoRoots(String),
}

//! The token that the page asks for, from the file that the configuration names.

use std::io;
use std::path::{Path, PathBuf};

use crate::confine;
use crate::page::{BadToken, Token};

/// Longer than any token, with white space around it.
const MAX_BYTES: u64 = 4096;

/// A file that has no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read {path} for the page's token: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path} holds no token for the page: {source}")]
    NoToken {
        /// The file.
        path: PathBuf,
        /// What a token is.
        source: BadToken,
    },
}

/// The token in the file; none where no file is named.
pub(super) fn read(path: &Path) -> Result<Option<Token>, TokenError> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let path = path.to_owned();
    match confine::read_configured(&path, MAX_BYTES) {
        Ok(content) => match Token::parse(&content) {
            Ok(token) => Ok(Some(token)),
            Err(source) => Err(TokenError::NoToken { path, source }),
        },
        Err(source) => Err(TokenError::Unreadable { path, source }),
    }
}

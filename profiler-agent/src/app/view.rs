//! The page over saved profiles.

mod input;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use input::Bounds;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::codec::encode;
use super::page_token::{self, TokenError};
use super::page_users::{self, UserError};
use crate::export::{ReadLimits, read_saved};
use crate::page::{Page, SavedSource};
use crate::profile::Profile;

/// Why saved profiles cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A file cannot be read.
    #[error("cannot read {path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The users cannot be read.
    #[error(transparent)]
    Users(#[from] UserError),
    /// The address is taken, or the runtime cannot start.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Who may see the files.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// On loopback root, this process's user and the one that called sudo.
    Users,
    /// Whoever has the token in this file.
    Token(&'a Path),
    /// Everybody who reaches the address.
    Everybody,
}

/// Shows the files until SIGTERM or SIGINT; `-` is standard input. `note` is told what a person should know of a file, `ready` the page's address.
pub fn run(
    files: &[PathBuf],
    address: SocketAddr,
    access: Access<'_>,
    note: impl Fn(&Path, &str),
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ViewError> {
    let (token, users) = match access {
        Access::Users => (None, Some(page_users::read(&[])?)),
        Access::Token(path) => (page_token::read(path)?, None),
        Access::Everybody => (None, None),
    };
    let mut saved = Vec::new();
    for path in files {
        let label = match path.file_name() {
            Some(name) if name == input::STANDARD_INPUT => "standard input".into(),
            Some(name) => name.to_string_lossy(),
            None => path.to_string_lossy(),
        };
        let (bytes, profile) = read(path, &note).map_err(|problem| ViewError::File {
            path: path.clone(),
            problem,
        })?;
        saved.push((label.into_owned(), bytes, profile));
    }
    let page = Page {
        source: Arc::new(SavedSource::new(saved)),
        encode,
        limits: crate::page::Limits::VIEWER,
        is_short: Arc::new(|| false),
        rest: || {},
        status: Box::new(|| None),
        host_names: Vec::new(),
        trace_url: None,
        token,
        users,
        further: Default::default(),
        probes: Default::default(),
    };
    let failed = |what: String| move |source| ViewError::System { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("starting the runtime".to_owned()))?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .map_err(failed(format!("cannot listen on {address}")))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(failed("handling SIGINT".to_owned()))?;
        let mut terminate =
            signal(SignalKind::terminate()).map_err(failed("handling SIGTERM".to_owned()))?;
        let local = listener
            .local_addr()
            .map_err(failed("the page's address".to_owned()))?;
        ready(local);
        let ended = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        page.serve(listener, ended)
            .await
            .map_err(failed("serving the page".to_owned()))
    })
}

fn read(path: &Path, note: &impl Fn(&Path, &str)) -> Result<(u64, Profile), String> {
    let waits = || note(path, "waiting for what comes of this pipe");
    let bytes = input::read(path, Bounds::default(), waits)?;
    let saved = read_saved(&bytes, &ReadLimits::default()).map_err(|error| error.to_string())?;
    saved.notes.iter().for_each(|text| note(path, text));
    Ok((bytes.len() as u64, saved.profile))
}

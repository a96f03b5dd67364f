//! The encoder, and the destination: a thread that writes, so that a disk that hangs holds back nobody else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::config::{Config, FileFormat};
use super::write::Directory;
use crate::export::{otlp, pprof};
use crate::profile::{
    Coding, Delivery, Destination, Payload, PayloadId, Profile, UnixTime, WindowUuid,
};

/// Longest time for one file.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Files that wait for the thread: more than a destination is sent at once.
const WAITING: usize = 8;

/// A directory that cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("{directory}: {error}")]
pub struct DirectoryError {
    /// The directory.
    pub directory: PathBuf,
    /// Why.
    pub error: std::io::Error,
}

/// The profile as a file, with everything that it holds; none where it has no samples.
#[must_use]
pub fn encode(profile: &Profile, window: WindowUuid, format: FileFormat) -> Vec<Payload> {
    if profile.sample_count() == 0 {
        return Vec::new();
    }
    match format {
        FileFormat::Otlp => {
            let options = otlp::Options::file(otlp::Host::read());
            otlp::encode(profile, window, &options)
        }
        FileFormat::Pprof => {
            let (bytes, raw_length) = pprof::encode_measured(profile);
            vec![Payload {
                id: PayloadId { window, part: 0 },
                start: profile.start,
                end: profile.end,
                samples: profile.sample_count(),
                coding: Coding::Gzip,
                raw_length: raw_length as u64,
                bytes,
            }]
        }
    }
}

/// A directory that files are written to.
#[derive(Debug)]
pub struct Client {
    jobs: SyncSender<Job>,
}

struct Job {
    payload: Arc<Payload>,
    done: oneshot::Sender<Delivery>,
}

impl DirectoryError {
    /// Does another writer hold the directory, perhaps for a moment only?
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.error.kind() == std::io::ErrorKind::ResourceBusy
    }
}

/// Could files be written to the directory, once nobody else writes to it?
///
/// # Errors
/// The directory cannot be made, opened or written to.
pub fn check(config: &Config) -> Result<(), DirectoryError> {
    Directory::check(config).map_err(|error| DirectoryError {
        directory: config.directory.clone(),
        error,
    })
}

impl Client {
    /// Opens the directory, and starts the thread that writes to it.
    ///
    /// # Errors
    /// The directory cannot be made or opened, or another agent writes to it.
    pub fn new(config: Config) -> Result<Self, DirectoryError> {
        let path = config.directory.clone();
        let failed = |error| DirectoryError {
            directory: path.clone(),
            error,
        };
        let directory = Directory::open(&config).map_err(failed)?;
        let (jobs, received) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("directory".to_owned())
            .spawn(move || work(&received, directory, &config))
            .map_err(failed)?;
        Ok(Self { jobs })
    }
}

/// Writes until nobody sends any more.
fn work(jobs: &Receiver<Job>, directory: Directory, config: &Config) {
    let mut open = Some(directory);
    while let Ok(Job { payload, done }) = jobs.recv() {
        let written = match open.take().map_or_else(|| Directory::open(config), Ok) {
            Ok(mut directory) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now = UnixTime(now.unwrap_or_default().as_nanos() as u64);
                let written = directory.write(&payload, now);
                if written.is_ok() {
                    open = Some(directory);
                }
                // After a failure it is opened again: it may be another one by then, or mounted anew.
                written
            }
            Err(error) => Err(error),
        };
        let delivery = match written {
            Ok(()) => Delivery::Accepted,
            Err(error) => Delivery::Retry {
                after: None,
                message: format!("{}: {error}", config.directory.display()),
            },
        };
        // Whoever asked may have given up: the file is there, and takes its own place when it comes again.
        let _ = done.send(delivery);
    }
}

impl Destination for Client {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        let retry = |message: &str| Delivery::Retry {
            after: None,
            message: message.to_owned(),
        };
        let (done, answer) = oneshot::channel();
        match self.jobs.try_send(Job { payload, done }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return retry("the disk does not keep up"),
            Err(TrySendError::Disconnected(_)) => return retry("the thread that writes is gone"),
        }
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(_)) => retry("the thread that writes is gone"),
            Err(_) => retry("the disk does not answer"),
        }
    }
}

//! A file system in user space, over `/dev/fuse` itself, that stops answering when a test wants it: one file, with which
//! a program can be started before (the kernel's `include/uapi/linux/fuse.h`).

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// Name of the one file.
const NAME: &[u8] = b"program\0";
const ROOT: u64 = 1;
const FILE: u64 = 2;
/// Seconds that the kernel keeps what it was told.
const VALID: u64 = 3600;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;
const REQUEST_HEADER: usize = 40;
const BUFFER: usize = 1 << 20;

/// A mounted file system; gone when dropped.
#[derive(Debug)]
pub struct Fuse {
    directory: TempDir,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    device: Mutex<File>,
    hangs: AtomicBool,
    over: AtomicBool,
    content: Vec<u8>,
}

impl Fuse {
    /// Mounts it with this content of its file.
    ///
    /// # Panics
    ///
    /// Without root, or where the kernel has no FUSE.
    #[must_use]
    pub fn mount(content: Vec<u8>) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut options = File::options();
        let device = options.read(true).write(true);
        let device = device
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open("/dev/fuse")
            .expect("/dev/fuse: the kernel has FUSE, and the suites run as root");
        let fd = device.as_raw_fd();
        let data = format!("fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other");
        let data = std::ffi::CString::new(data).expect("no zero");
        mount(
            "hanging",
            directory.path(),
            "fuse",
            MountFlags::NOSUID | MountFlags::NODEV,
            Some(data.as_c_str()),
        )
        .expect("FUSE can be mounted");
        let shared = Arc::new(Shared {
            device: Mutex::new(device),
            hangs: AtomicBool::new(false),
            over: AtomicBool::new(false),
            content,
        });
        let serving = Arc::clone(&shared);
        let server = std::thread::spawn(move || serving.serve());
        Self {
            directory,
            shared,
            server: Some(server),
        }
    }

    /// The file.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.directory.path().join("program")
    }

    /// From now on nothing is answered: requests wait.
    pub fn hang(&self) {
        let _no_request_is_half_done = self.shared.lock();
        self.shared.hangs.store(true, Ordering::Release);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        if let Some(server) = self.server.take() {
            let _ended = server.join();
        }
        // Who waits is told that the connection is gone when the device is closed, and what is mapped stays.
        let _unmounted = unmount(self.directory.path(), UnmountFlags::DETACH);
        *self.shared.lock() = File::open("/dev/null").expect("/dev/null is there");
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, File> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut request = vec![0; BUFFER];
        let interval = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        while !self.over.load(Ordering::Acquire) {
            let mut device = self.lock();
            let read = match self.hangs.load(Ordering::Acquire) {
                true => Err(ErrorKind::WouldBlock.into()),
                false => device.read(&mut request),
            };
            match read {
                Ok(length) => {
                    if let Some(answer) = self.answer(&request[..length]) {
                        // Who asked may be gone.
                        let _written = device.write(&answer);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let again = device.try_clone().expect("a descriptor");
                    drop(device);
                    let mut waiting = match self.hangs.load(Ordering::Acquire) {
                        true => vec![],
                        false => vec![PollFd::from_borrowed_fd(again.as_fd(), PollFlags::IN)],
                    };
                    let _polled = poll(&mut waiting, Some(&interval));
                }
                Err(_) => {}
            }
        }
    }

    /// The answer to a request; none where none is wanted.
    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let word = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().expect("8 bytes"));
        let half = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().expect("4 bytes"));
        let (unique, node) = (word(8), word(16));
        let body = match half(4) {
            // LOOKUP
            1 if node == ROOT && &request[REQUEST_HEADER..] == NAME => {
                Ok([words(&[FILE, 0, VALID, VALID, 0]), self.attributes(FILE)].concat())
            }
            1 => Err(ENOENT),
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return None,
            // GETATTR
            3 => Ok([words(&[VALID, 0]), self.attributes(node)].concat()),
            // OPEN: files need not be opened, so that reading one is what hangs.
            14 => Err(ENOSYS),
            // READ
            15 => {
                let start = (word(REQUEST_HEADER + 8) as usize).min(self.content.len());
                let end = (start + half(REQUEST_HEADER + 16) as usize).min(self.content.len());
                Ok(self.content[start..end].to_vec())
            }
            // RELEASE
            18 => Ok(Vec::new()),
            // INIT: 7.31, with what it offered of readahead.
            26 => {
                let mut offer = vec![0; 64];
                offer[..4].copy_from_slice(&7_u32.to_le_bytes());
                offer[4..8].copy_from_slice(&31_u32.to_le_bytes());
                offer[8..12].copy_from_slice(&request[REQUEST_HEADER + 8..REQUEST_HEADER + 12]);
                offer[20..24].copy_from_slice(&(128_u32 << 10).to_le_bytes());
                offer[24..28].copy_from_slice(&1_u32.to_le_bytes());
                Ok(offer)
            }
            _ => Err(ENOSYS),
        };
        let (error, body) = match body {
            Ok(body) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let mut answer = ((16 + body.len()) as u32).to_le_bytes().to_vec();
        answer.extend(error.to_le_bytes());
        answer.extend(unique.to_le_bytes());
        answer.extend(body);
        Some(answer)
    }

    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = match node {
            ROOT => (0o040_755_u32, 0),
            _ => (0o100_755, self.content.len() as u64),
        };
        let mut attributes = words(&[node, size, size.div_ceil(512), 1, 1, 1]);
        for half in [0, 0, 0, mode, 1, 65_534, 65_534, 0, 4096, 0] {
            attributes.extend(u32::to_le_bytes(half));
        }
        attributes
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The program with so much in it that the kernel has not read all of it when it runs.
///
/// # Panics
///
/// When binutils fail.
#[must_use]
pub fn padded(program: &Path, directory: &Path) -> Vec<u8> {
    let (pad, padded) = (directory.join("pad"), directory.join("padded"));
    fs::write(&pad, vec![1; 8 << 20]).expect("there is room");
    let status = std::process::Command::new("objcopy")
        .arg(format!("--add-section=.pad={}", pad.display()))
        .args([program, &padded])
        .status()
        .expect("objcopy is there");
    assert!(status.success());
    fs::read(&padded).expect("objcopy wrote it")
}

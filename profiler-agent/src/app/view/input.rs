//! The bytes of a saved profile: of a file, or of a pipe up to the same length. Nothing else is read: a device may have no end,
//! and what opens one may act on it.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

/// What stands for standard input.
pub(super) const STANDARD_INPUT: &str = "-";
/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;
/// Silence after which is said that a pipe is waited for.
const SOON: Duration = Duration::from_secs(1);

/// What is read of one input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes.
    pub(super) bytes: u64,
    /// How long nothing may come of a pipe.
    pub(super) patience: Duration,
}

impl Default for Bounds {
    /// 1 GiB, and 10 minutes: whoever writes may take the profile first.
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            patience: Duration::from_secs(600),
        }
    }
}

/// Everything in the file or pipe at `path`, [`STANDARD_INPUT`] among them; `waits` is called once where nothing comes at first.
///
/// # Errors
/// What it is in place of a file or pipe, which bound it exceeds, or what the kernel says; with what helps.
pub(super) fn read(path: &Path, bounds: Bounds, waits: impl FnOnce()) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| error.to_string();
    let handle = match path == Path::new(STANDARD_INPUT) {
        true => io::stdin().as_fd().try_clone_to_owned().map_err(failed)?,
        // Not opened before it is known what it is.
        false => openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| failed(error.into()))?,
    };
    let stat = fstat(&handle).map_err(|error| failed(error.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile
            if u64::try_from(stat.st_size).is_ok_and(|size| size > bounds.bytes) =>
        {
            return Err(too_long(bounds));
        }
        FileType::RegularFile | FileType::Fifo | FileType::Socket => {}
        FileType::Directory => return Err("it is a directory: name the files in it".to_owned()),
        _ => {
            return Err(
                "it is a device or a terminal, which may have no end: name a file, or give a pipe"
                    .to_owned(),
            );
        }
    }
    let file = match path == Path::new(STANDARD_INPUT) {
        true => File::from(handle),
        false => opened(&handle).map_err(failed)?,
    };
    read_all(file, bounds, waits)
}

/// Opens what the handle is on. A pipe that nobody has open for writing is not waited for here.
fn opened(handle: &OwnedFd) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(openat(CWD, path, flags, Mode::empty())?.into())
}

fn read_all(mut file: File, bounds: Bounds, waits: impl FnOnce()) -> Result<Vec<u8>, String> {
    let mut waits = Some(waits);
    let mut content = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let mut is_ready = wait(&file, bounds.patience.min(SOON));
        if let Ok(false) = is_ready {
            if let Some(waits) = waits.take() {
                waits();
            }
            is_ready = wait(&file, bounds.patience);
        }
        if !is_ready.map_err(|error| error.to_string())? {
            let seconds = bounds.patience.as_secs();
            return Err(format!(
                "nothing came for {seconds} s: is there a program that writes into it?"
            ));
        }
        match file.read(&mut piece) {
            Ok(0) => return Ok(content),
            Ok(length) => content.extend_from_slice(&piece[..length]),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error.to_string()),
        }
        if content.len() as u64 > bounds.bytes {
            return Err(too_long(bounds));
        }
    }
}

/// Waits until there is something to read, or the end; false where the time is over before.
fn wait(file: &File, time: Duration) -> io::Result<bool> {
    let timeout = Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos().into(),
    };
    let mut inputs = [PollFd::new(file, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut inputs, Some(&timeout)))?;
    Ok(ready > 0)
}

fn too_long(bounds: Bounds) -> String {
    format!(
        "it is longer than {} MiB: record for a shorter time, or fewer processes",
        bounds.bytes >> 20
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write as _;
    use std::thread;

    use rustix::fs::mknodat;

    use super::*;

    const SMALL: Bounds = Bounds {
        bytes: 1 << 20,
        patience: Duration::from_millis(30),
    };
    const PATIENT: Bounds = Bounds {
        bytes: 1 << 20,
        patience: Duration::from_secs(60),
    };

    /// Reads a pipe by a path, as of a process substitution, into which `write` writes.
    fn of_pipe(
        bounds: Bounds,
        write: impl FnOnce(&mut io::PipeWriter) -> io::Result<()> + Send,
    ) -> Result<Vec<u8>, String> {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        thread::scope(|scope| {
            // Nobody reads the rest of what is too long.
            scope.spawn(move || _ = write(&mut writer));
            let read = read(Path::new(&path), bounds, || {});
            drop(reader);
            read
        })
    }

    #[test]
    fn files_are_read_up_to_the_bound() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        for (length, is_read) in [(0, true), (1 << 20, true), ((1 << 20) + 1, false)] {
            std::fs::write(&file, vec![7; length]).unwrap();
            match read(&file, SMALL, || {}) {
                Ok(content) => assert!(is_read && content == vec![7; length]),
                Err(problem) => assert!(!is_read && problem.contains("longer than 1 MiB")),
            }
        }
        // One of a length that is not known before.
        assert!(
            !read(Path::new("/proc/self/maps"), SMALL, || {})
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn what_is_neither_file_nor_pipe_is_refused_with_what_helps() {
        for (path, words) in [
            ("/dev/zero", "name a file"),
            ("/dev/null", "name a file"),
            ("/proc/self", "it is a directory"),
            ("/no/such/file", "No such file"),
        ] {
            let problem = read(Path::new(path), PATIENT, || {}).unwrap_err();
            assert!(problem.contains(words), "{path}: {problem}");
        }
    }

    #[test]
    fn pipes_are_read_up_to_the_bound() {
        let read = of_pipe(PATIENT, |pipe| {
            pipe.write_all(&[7; 300_000])?;
            pipe.write_all(b"end")
        });
        let read = read.unwrap();
        assert!(read.len() == 300_003 && read.ends_with(b"\x07end"));
        let endless = of_pipe(PATIENT, |pipe| {
            loop {
                pipe.write_all(&[7; 100_000])?;
            }
        });
        assert!(endless.unwrap_err().contains("longer than 1 MiB"));
    }

    #[test]
    fn a_pipe_is_not_waited_for_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let told = Cell::new(0);
        let tell = || told.set(told.get() + 1);
        let nobody = read(&pipe, SMALL, tell).unwrap_err();
        assert!(nobody.contains("nothing came"), "{nobody}");
        // One that is held open, and silent.
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"a").unwrap();
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let silent = read(Path::new(&path), SMALL, tell).unwrap_err();
        assert!(silent.contains("nothing came"), "{silent}");
        assert_eq!(told.get(), 2);
    }
}

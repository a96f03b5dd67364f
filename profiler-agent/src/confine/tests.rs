//! Paths that try to leave a root, and files that are none.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

fn root_of(path: &Path) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).unwrap()
}

fn content(root: &OwnedFd, path: &str) -> io::Result<String> {
    let mut text = String::new();
    open_in_root(root.as_fd(), Path::new(path))?
        .file
        .read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn no_path_leaves_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("secret");
    fs::write(&outside, "outside").unwrap();
    let inside = directory.path().join("root");
    fs::create_dir_all(inside.join("dir")).unwrap();
    fs::write(inside.join("file"), "inside").unwrap();
    symlink("/file", inside.join("absolute")).unwrap();
    symlink("../../../../file", inside.join("dir/up")).unwrap();
    symlink(&outside, inside.join("escape")).unwrap();
    symlink("../secret", inside.join("relative-escape")).unwrap();
    symlink("loop", inside.join("loop")).unwrap();
    let root = root_of(&inside);
    for path in [
        "file",
        "/file",
        "absolute",
        "dir/up",
        "/dir/../../../file",
        "../file",
    ] {
        assert_eq!(content(&root, path).unwrap(), "inside", "{path}");
    }
    for path in [
        "escape",
        "relative-escape",
        "../secret",
        outside.to_str().unwrap(),
        "loop",
        "",
    ] {
        assert!(content(&root, path).is_err(), "{path}");
    }
}

#[test]
fn magic_links_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let root = own_root().unwrap();
    let link = format!("/proc/self/fd/{}", file.as_file().as_raw_fd());
    assert!(fs::read(&link).is_ok());
    let error = content(&root, &link).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
}

/// Would block (or worse) if opened for reading; the test would not end.
#[test]
fn only_regular_files_are_opened() {
    let directory = tempfile::tempdir().unwrap();
    let make = |name: &str, kind, device| {
        let path = directory.path().join(name);
        mknodat(CWD, &path, kind, Mode::from_raw_mode(0o644), device).unwrap();
    };
    make("fifo", FileType::Fifo, 0);
    make("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    let _listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    fs::create_dir(directory.path().join("dir")).unwrap();
    symlink("fifo", directory.path().join("link")).unwrap();
    let root = root_of(directory.path());
    for path in ["fifo", "null", "socket", "dir", "link", "/"] {
        let error = content(&root, path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
    }
}

#[test]
fn huge_files_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let root = own_root().unwrap();
    file.as_file().set_len(MAX_FILE_BYTES).unwrap();
    assert!(open_in_root(root.as_fd(), file.path()).is_ok());
    file.as_file().set_len(MAX_FILE_BYTES + 1).unwrap();
    let error = open_in_root(root.as_fd(), file.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
}

#[test]
fn the_innermost_pid_counts() {
    assert_eq!(innermost_pid(b"Name:\tx\nNSpid:\t41250\t17\t1\nx"), Some(1));
    assert_eq!(innermost_pid(b"Pid:\t7\n"), None);
    assert_eq!(innermost_pid(b"NSpid:\n"), None);
    assert_eq!(
        namespaced_pid(std::process::id()).unwrap(),
        std::process::id()
    );
    assert!(namespaced_pid(u32::MAX).is_err());
}

/// What a configuration names is a file like any other: FIFOs and devices in its place are refused, not waited for.
#[test]
fn a_configured_file_is_a_regular_one() {
    let directory = tempfile::tempdir().unwrap();
    let (file, fifo) = (directory.path().join("file"), directory.path().join("fifo"));
    std::fs::write(&file, "four").unwrap();
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("file", &link).unwrap();
    assert_eq!(read_configured(&file, 4).unwrap(), b"four");
    assert_eq!(read_configured(&link, 4).unwrap(), b"four");
    for (path, kind) in [
        (fifo.as_path(), io::ErrorKind::InvalidInput),
        (Path::new("/dev/zero"), io::ErrorKind::InvalidInput),
        (directory.path(), io::ErrorKind::InvalidInput),
    ] {
        assert_eq!(
            read_configured(path, 4).unwrap_err().kind(),
            kind,
            "{path:?}"
        );
    }
    let error = read_configured(&file, 3).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

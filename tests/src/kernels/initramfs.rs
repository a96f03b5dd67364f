//! The file system that a guest starts from: an archive of cpio's format `newc`, which the kernel unpacks into memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// An archive in the making. Names are paths without the slash in front; directories above them are added by
/// themselves.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Archive {
    /// Adds a directory.
    pub fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY | 0o755, &[]);
    }

    /// Adds a file that anybody may execute.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, REGULAR | 0o755, content);
    }

    /// Adds a copy of a file.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn copy(&mut self, name: &str, file: &Path) {
        if self.contains(name) {
            return;
        }
        let content = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.file(name, &content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, target: &str) {
        self.entry(name, LINK | 0o777, target.as_bytes());
    }

    /// Is there something of this name?
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The whole archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.append("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// The first of a name is kept.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        if self.contains(name) {
            return;
        }
        if let Some((above, _)) = name.rsplit_once('/') {
            self.directory(above);
        }
        self.append(name, mode, content);
        self.names.insert(name.to_owned());
    }

    fn append(&mut self, name: &str, mode: u32, content: &[u8]) {
        let inode = self.names.len() + 1;
        let length = u32::try_from(content.len()).expect("files of guests are small");
        self.bytes.extend_from_slice(b"070701");
        let mut number = |number: u32| {
            self.bytes
                .extend_from_slice(format!("{number:08x}").as_bytes());
        };
        number(u32::try_from(inode).expect("guests have few files"));
        number(mode);
        // User, group, links, time.
        for value in [0, 0, 1, 0] {
            number(value);
        }
        number(length);
        // Its device, and the one that it is.
        for value in [0, 0, 0, 0] {
            number(value);
        }
        number(u32::try_from(name.len() + 1).expect("names are short"));
        // A check sum that this format has not.
        number(0);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_independent_reader_finds_what_was_added() {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        let mut archive = Archive::default();
        archive.file("a/b/c", b"four\n");
        archive.file("a/b/c", b"again");
        archive.link("a/d", "b/c");
        archive.file("empty", b"");
        assert!(archive.contains("a/b") && !archive.contains("b"));
        let file = directory.path().join("archive");
        fs::write(&file, archive.finish()).expect("the archive can be written");
        let status = Command::new("cpio")
            .args(["--extract", "--quiet", "--make-directories"])
            .stdin(fs::File::open(&file).map_or_else(|_| Stdio::null(), Stdio::from))
            .current_dir(directory.path())
            .status()
            .expect("cpio is installed (`cargo xtask test` sees to it)");
        assert!(status.success());
        let read = |name: &str| fs::read(directory.path().join(name)).expect("it was unpacked");
        assert_eq!(read("a/b/c"), b"four\n");
        assert_eq!(read("a/d"), b"four\n");
        assert_eq!(read("empty"), b"");
    }
}

//! Debug information that lies in a file of its own.
//!
//! Looked for where gdb does ("Debugging Information in Separate Files"): by build id in
//! `/usr/lib/debug/.build-id`, then by the name that `.gnu_debuglink` states, beside the executable, in
//! `.debug` beside it, and below `/usr/lib/debug`. All of it within the process's root, without leaving
//! it; by build id also in the agent's own root, since a build id names one content wherever it lies.
//! A file is taken when its build id is the executable's; where that has none, when its CRC-32 is the one
//! that the link states.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use super::image::ElfImage;
use crate::confine;
use crate::elf::mapped::{MappedFile, let_go};
use crate::profile::{BuildId, Executable};
use crate::symbolize::budget::Budget;

/// Where distributions put debug information.
const DEBUG_DIRECTORY: &str = "usr/lib/debug";
/// Bytes of the name in a debug link.
const MAX_LINK: usize = 255;
/// Bytes of a file whose CRC is computed.
const MAX_CRC: usize = 1 << 30;

/// Bytes whose CRC is computed between two looks at the budget, and what they cost.
const CRC_CHUNK: usize = 1 << 20;
const CRC_STEPS: u64 = 1 << 13;

/// What is looked for.
struct Wanted<'budget, 'time> {
    /// The program's own device and inode.
    executable: Option<(u64, u64)>,
    budget: &'budget mut Budget<'time>,
}

/// What a file must be.
#[derive(Clone, Copy)]
enum Proof {
    BuildId(BuildId),
    Crc(u32),
}

/// The file with the executable's debug information, if there is one.
pub(super) fn find(
    executable: &Executable,
    image: &ElfImage<'_>,
    budget: &mut Budget<'_>,
) -> Option<File> {
    let mut wanted = Wanted {
        executable: executable.file.as_ref().and_then(identity_of),
        budget,
    };
    let own_root = confine::own_root().ok()?;
    let root = executable
        .root
        .as_ref()
        .map_or(own_root.as_fd(), |root| root.as_fd());
    let build_id = image.build_id();
    let link = image.debug_link();
    if let Some(id) = build_id {
        let path = build_id_path(id);
        let proof = Proof::BuildId(id);
        let found = wanted.open(root, &path, proof).or_else(|| {
            executable.root.as_ref()?;
            wanted.open(own_root.as_fd(), &path, proof)
        });
        if found.is_some() {
            return found;
        }
    }
    let (name, crc) = link?;
    let proof = build_id.map_or(Proof::Crc(crc), Proof::BuildId);
    link_paths(&executable.path, name)
        .iter()
        .find_map(|path| wanted.open(root, path, proof))
}

/// The supplementary file that debug information refers to, by its build id, as `dwz` and the
/// distributions lay it: in `.build-id`, by its own name, or in `.dwz`.
pub(super) fn find_supplementary(executable: &Executable, debug: &ElfImage<'_>) -> Option<File> {
    let (name, id) = debug.supplementary_link()?;
    let own_root = confine::own_root().ok()?;
    let root = executable
        .root
        .as_ref()
        .map_or(own_root.as_fd(), |root| root.as_fd());
    let mut paths = vec![build_id_path(id)];
    if let Ok(name) = std::str::from_utf8(name)
        && name.len() <= MAX_LINK
    {
        let name = Path::new(name);
        paths.extend(name.strip_prefix("/").map(Path::to_owned));
        let file = name
            .file_name()
            .map(|file| Path::new(DEBUG_DIRECTORY).join(".dwz").join(file));
        paths.extend(file);
    }
    paths
        .iter()
        .find_map(|path| open(root, path, |_, image| image.build_id() == Some(id)))
}

/// `usr/lib/debug/.build-id/ab/cdef.debug`.
fn build_id_path(id: BuildId) -> PathBuf {
    let text = id.to_string();
    let (first, rest) = text.split_at(2.min(text.len()));
    Path::new(DEBUG_DIRECTORY)
        .join(".build-id")
        .join(first)
        .join(format!("{rest}.debug"))
}

/// Where the file that a link names may be, in order.
fn link_paths(executable: &str, name: &[u8]) -> Vec<PathBuf> {
    let Ok(name) = std::str::from_utf8(name) else {
        return Vec::new();
    };
    if name.is_empty() || name.len() > MAX_LINK || name.contains('/') || name == ".." {
        return Vec::new();
    }
    let executable = executable.strip_suffix(" (deleted)").unwrap_or(executable);
    let Some(directory) = Path::new(executable).parent() else {
        return Vec::new();
    };
    let relative = directory.strip_prefix("/").unwrap_or(directory);
    vec![
        relative.join(name),
        relative.join(".debug").join(name),
        Path::new(DEBUG_DIRECTORY).join(relative).join(name),
    ]
}

fn open(
    root: BorrowedFd<'_>,
    path: &Path,
    is_right: impl FnOnce(&File, &ElfImage<'_>) -> bool,
) -> Option<File> {
    let file = confine::open_in_root(root, path).ok()?.file;
    let mapped = MappedFile::new(&file).ok()?;
    let image = ElfImage::parse(&mapped)?;
    is_right(&file, &image).then_some(file)
}

impl Wanted<'_, '_> {
    /// The file at `path`, if it is what is looked for. A link may state the program's own name, and a copy of the
    /// stripped program has its build id: what says no more than the program does is not it.
    fn open(&mut self, root: BorrowedFd<'_>, path: &Path, proof: Proof) -> Option<File> {
        open(root, path, |file, image| {
            identity_of(file) != self.executable
                && (image.has_debug_info() || image.has_symbols())
                && match proof {
                    Proof::BuildId(id) => image.build_id() == Some(id),
                    Proof::Crc(crc) => {
                        image.data.len() <= MAX_CRC && crc32(image.data, self.budget) == Some(crc)
                    }
                }
        })
    }
}

/// Device and inode.
fn identity_of(file: &File) -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(file).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// The CRC-32 of a mapped file; `None` when the budget is empty.
fn crc32(bytes: &[u8], budget: &mut Budget<'_>) -> Option<u32> {
    let mut crc = flate2::Crc::new();
    for chunk in bytes.chunks(CRC_CHUNK) {
        crc.update(chunk);
        let_go(chunk.as_ptr(), chunk.len());
        if !budget.step(CRC_STEPS) {
            return None;
        }
    }
    Some(crc.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_s_name_cannot_leave_its_directories() {
        assert!(link_paths("/bin/x", b"../../etc/passwd").is_empty());
        assert!(link_paths("/bin/x", b"..").is_empty());
        assert!(link_paths("/bin/x", b"").is_empty());
        assert_eq!(
            link_paths("/opt/a/x (deleted)", b"x.debug"),
            [
                PathBuf::from("opt/a/x.debug"),
                PathBuf::from("opt/a/.debug/x.debug"),
                PathBuf::from("usr/lib/debug/opt/a/x.debug"),
            ]
        );
    }
}

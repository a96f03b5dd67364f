//! The cache: what is opened when, and what is given back. Mappings here are only claimed, by this
//! process, at addresses where nothing is: files are opened by path, with proof.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{fstat, major, minor};

use super::identity::Shown;
use super::*;

const SECOND: u64 = 1_000_000_000;

struct Files {
    directory: tempfile::TempDir,
    executables: Executables,
}

impl Files {
    fn new(limits: Limits) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            executables: Executables::new(limits),
        }
    }
    /// A program with a build id.
    fn program(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::copy("/bin/true", &path).unwrap();
        path
    }
    fn get(&mut self, path: &Path, identity: FileIdentity, second: u64) -> Arc<Executable> {
        let kind = self.executables.content(&MappedFile {
            pid: std::process::id(),
            range: VirtualAddress(0x1000)..VirtualAddress(0x2000),
            offset: FileOffset(0),
            identity,
            path: path.as_os_str().as_bytes(),
            time: BootTime(second * SECOND),
        });
        match kind {
            MappingKind::File { executable, .. } => executable,
            MappingKind::Anonymous => panic!("{path:?} is a file"),
        }
    }
    fn opened(&mut self, path: &Path, second: u64) -> Arc<Executable> {
        let executable = self.get(path, by_build_id(), second);
        assert!(executable.file.is_some());
        executable
    }
}

fn by_build_id() -> FileIdentity {
    let summary = elf::read(&File::open("/bin/true").unwrap()).unwrap();
    FileIdentity::BuildId(summary.build_id.unwrap())
}

fn by_inode(path: &Path) -> FileIdentity {
    let metadata = fs::metadata(path).unwrap();
    FileIdentity::Inode {
        major: major(metadata.dev()),
        minor: minor(metadata.dev()),
        inode: metadata.ino(),
        generation: 0,
    }
}

#[test]
fn a_known_file_is_not_opened_again() {
    let mut files = Files::new(Limits::default());
    let path = files.program("a");
    let first = files.opened(&path, 1);
    fs::remove_file(&path).unwrap();
    assert!(Arc::ptr_eq(&first, &files.opened(&path, 2)));
    assert_eq!(first.length, fs::metadata("/bin/true").unwrap().len());
    assert!(first.htl_hash.get().unwrap().is_some());
}

#[test]
fn one_file_under_both_identities_is_one_executable() {
    let mut files = Files::new(Limits::default());
    let path = files.program("a");
    let by_inode = files.get(&path, by_inode(&path), 1);
    assert!(Arc::ptr_eq(&by_inode, &files.opened(&path, 1)));
    // A copy at another path may have other symbols: it is a file of its own.
    let copy = files.program("b");
    assert!(!Arc::ptr_eq(&by_inode, &files.opened(&copy, 1)));
}

/// Says of each file another device than records do, as btrfs does: all of them have the same inode number.
#[derive(Debug, Default)]
struct Subvolumes {
    /// Paths that are gone, with their process.
    gone: RefCell<Vec<PathBuf>>,
    opened: Cell<usize>,
}

impl OpenMapped for Subvolumes {
    fn shown(&self, _: &MappedFile<'_>) -> Option<Shown> {
        None
    }

    fn open(
        &mut self,
        mapped: &MappedFile<'_>,
        _: u64,
        _: &mut Losses,
    ) -> Result<Found, Degradation> {
        let path = Path::new(std::ffi::OsStr::from_bytes(mapped.path));
        if self.gone.borrow().iter().any(|gone| gone == path) {
            return Err(Degradation::ExecutableUnopened);
        }
        self.opened.set(self.opened.get() + 1);
        let file = File::open(path).unwrap();
        let mut stat = fstat(&file).unwrap();
        stat.st_dev = rustix::fs::makedev(0, 50 + stat.st_ino as u32 % 1000);
        stat.st_ino = 257;
        Ok(Found {
            summary: elf::read(&file).unwrap(),
            htl_hash: None,
            copied: false,
            file,
            stat,
            path: mapped.path.into(),
            root: None,
        })
    }
}

fn on_subvolumes(executables: &mut Executables<Subvolumes>, path: &Path) -> Arc<Executable> {
    let kind = executables.content(&MappedFile {
        pid: 1,
        range: VirtualAddress(0x1000)..VirtualAddress(0x2000),
        offset: FileOffset(0),
        identity: FileIdentity::Inode {
            major: 0,
            minor: 40,
            inode: 257,
            generation: 9,
        },
        path: path.as_os_str().as_bytes(),
        time: BootTime(SECOND),
    });
    match kind {
        MappingKind::File { executable, .. } => executable,
        MappingKind::Anonymous => panic!("{path:?} is a file"),
    }
}

#[test]
fn files_that_records_do_not_tell_apart_are_told_apart_by_what_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| directory.path().join(name));
    // They have a build id, the same length and the same time of change: a snapshot of a snapshot.
    for path in &paths {
        fs::copy("/bin/true", path).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let mut executables = Executables::over(Subvolumes::default(), Limits::default());
    let first = paths
        .each_ref()
        .map(|path| on_subvolumes(&mut executables, path));
    for (executable, path) in first.iter().zip(&paths) {
        assert_eq!(&*executable.path, path.to_str().unwrap());
        assert!(executable.build_id.is_some());
    }
    assert!(!Arc::ptr_eq(&first[0], &first[1]) && !Arc::ptr_eq(&first[1], &first[2]));
    // Each is what it was when it is mapped again.
    for (executable, path) in first.iter().zip(&paths) {
        assert!(Arc::ptr_eq(
            executable,
            &on_subvolumes(&mut executables, path)
        ));
    }
    assert_eq!(executables.opener.opened.get(), 6);
    // What cannot be looked at has a name of its own, and nothing of another file.
    executables.opener.gone.borrow_mut().push(paths[1].clone());
    let unopened = on_subvolumes(&mut executables, &paths[1]);
    assert!(unopened.file.is_none() && unopened.segments.is_empty());
    assert_eq!(&*unopened.path, paths[1].to_str().unwrap());
    let other = on_subvolumes(&mut executables, &paths[2]);
    assert!(Arc::ptr_eq(&other, &first[2]));
}

/// Whoever links a program may give it the build id of another one.
#[test]
fn another_file_with_a_build_id_and_a_path_is_another() {
    let mut files = Files::new(Limits::default());
    let path = files.program("a");
    let honest = files.get(&path, by_inode(&path), 1);
    // In another mount namespace the path leads to another file of the same length.
    let aside = files.directory.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    files.program("a");
    let forged = files.get(&path, by_inode(&path), 1);
    assert_eq!(forged.build_id, honest.build_id);
    assert!(!Arc::ptr_eq(&honest, &forged));
    // The first keeps the name.
    assert!(Arc::ptr_eq(&honest, &files.get(&path, by_build_id(), 1)));
}

/// The file as this process has it mapped, and the mapping's addresses.
fn map(path: &Path) -> (crate::elf::MappedFile, std::ops::Range<VirtualAddress>) {
    let mapped = crate::elf::MappedFile::new(&File::open(path).unwrap()).unwrap();
    let start = mapped.as_ptr() as u64;
    let end = (start + mapped.len() as u64).next_multiple_of(4096);
    (mapped, VirtualAddress(start)..VirtualAddress(end))
}

/// Whoever has a mount namespace gives a file any path, beside any build id and any length.
#[test]
fn the_mapping_says_which_file_with_a_build_id_and_a_path_it_is_of() {
    let mut files = Files::new(Limits::default());
    let path = files.program("a");
    let aside = files.directory.path().join("aside");
    let (_forged, forged_range) = map(&path);
    fs::rename(&path, &aside).unwrap();
    files.program("a");
    let (_honest, honest_range) = map(&path);
    let mut get = |range: &std::ops::Range<VirtualAddress>, identity| {
        let kind = files.executables.content(&MappedFile {
            pid: std::process::id(),
            range: range.clone(),
            offset: FileOffset(0),
            identity,
            path: path.as_os_str().as_bytes(),
            time: BootTime(SECOND),
        });
        let MappingKind::File { executable, .. } = kind else {
            panic!("{kind:?}");
        };
        executable
    };
    let forged = get(&forged_range, by_build_id());
    let honest = get(&honest_range, by_build_id());
    assert!(!Arc::ptr_eq(&forged, &honest));
    for (executable, path) in [(&forged, &aside), (&honest, &path)] {
        let opened = executable.file.as_ref().unwrap().metadata().unwrap();
        assert_eq!(opened.ino(), fs::metadata(path).unwrap().ino());
    }
    // By either identity each is the same again.
    assert!(Arc::ptr_eq(&forged, &get(&forged_range, by_build_id())));
    assert!(Arc::ptr_eq(&honest, &get(&honest_range, by_build_id())));
    assert!(Arc::ptr_eq(&forged, &get(&forged_range, by_inode(&aside))));
    assert!(Arc::ptr_eq(&honest, &get(&honest_range, by_inode(&path))));
}

/// Of a process that is gone only its record is left.
#[test]
fn a_build_id_and_a_path_alone_stand_for_a_file_of_root_s_only() {
    let mut files = Files::new(Limits::default());
    let path = files.program("a");
    std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    let user_s = files.opened(&path, 1);
    fs::remove_file(&path).unwrap();
    let gone = files.get(&path, by_build_id(), 2);
    assert!(gone.file.is_none() && gone.path.is_empty());
    // A file of root's takes the name.
    files.program("a");
    let root_s = files.opened(&path, 3);
    assert!(!Arc::ptr_eq(&user_s, &root_s));
    fs::remove_file(&path).unwrap();
    assert!(Arc::ptr_eq(&root_s, &files.opened(&path, 4)));
}

#[test]
fn a_file_that_was_written_in_place_is_another() {
    let mut files = Files::new(Limits::default());
    let path = files.program("a");
    let identity = by_inode(&path);
    let before = files.get(&path, identity, 1);
    assert!(Arc::ptr_eq(&before, &files.get(&path, identity, 1)));
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"more").unwrap();
    let after = files.get(&path, identity, 1);
    assert_eq!(after.length, before.length + 4);
}

#[test]
fn unused_files_are_closed() {
    let mut files = Files::new(Limits::default());
    let path = files.program("a");
    let kept = files.program("b");
    let weak = Arc::downgrade(&files.opened(&path, 1));
    let kept = files.opened(&kept, 1);
    files.executables.prune(BootTime(50 * SECOND));
    assert_eq!(weak.strong_count(), 1);
    files.executables.prune(BootTime(62 * SECOND));
    assert_eq!(weak.strong_count(), 0);
    assert_eq!(Arc::strong_count(&kept), 2);
    // By its build id, and by its inode.
    assert_eq!(files.executables.len(), 2);
}

#[test]
fn the_least_recently_used_is_closed_first() {
    let mut files = Files::new(Limits { pinned: 2, open: 9 });
    let paths = ["a", "b", "c"].map(|name| files.program(name));
    let weak: Vec<_> = paths[..2]
        .iter()
        .zip(1..)
        .map(|(path, second)| Arc::downgrade(&files.opened(path, second)))
        .collect();
    drop(files.opened(&paths[0], 3));
    drop(files.opened(&paths[2], 4));
    assert_eq!(weak[0].strong_count(), 1);
    assert_eq!(weak[1].strong_count(), 0);
}

#[test]
fn open_files_are_bounded() {
    // Each has two names: its build id with its path, its device with its inode.
    let mut files = Files::new(Limits { pinned: 1, open: 8 });
    let paths: Vec<_> = (0..8)
        .map(|name| files.program(&name.to_string()))
        .collect();
    let held: Vec<_> = paths
        .iter()
        .map(|path| files.get(path, by_build_id(), 1))
        .collect();
    let open = |held: &[Arc<Executable>]| held.iter().filter(|file| file.file.is_some()).count();
    assert_eq!(open(&held), 4);
    assert_eq!(
        files
            .executables
            .take_losses()
            .of(Degradation::ExecutableUnopened),
        4
    );
    // Room is found again once it is not used.
    drop(held);
    files.opened(&paths[7], 3);
}

#[test]
fn what_could_not_be_opened_is_tried_again_later() {
    let mut files = Files::new(Limits::default());
    let path = files.directory.path().join("late");
    let first = files.get(&path, by_build_id(), 1);
    assert!(first.file.is_none() && first.build_id.is_some());
    files.program("late");
    assert!(Arc::ptr_eq(&first, &files.get(&path, by_build_id(), 1)));
    assert!(files.get(&path, by_build_id(), 2).file.is_some());
    assert_eq!(
        files
            .executables
            .take_losses()
            .of(Degradation::ExecutableUnopened),
        1
    );
}

#[test]
fn another_file_at_the_path_is_not_taken() {
    let mut files = Files::new(Limits::default());
    let path = files.directory.path().join("a");
    fs::copy("/bin/false", &path).unwrap();
    assert!(files.get(&path, by_build_id(), 1).file.is_none());
    let other = files.program("b");
    assert!(files.get(&path, by_inode(&other), 1).file.is_none());
    assert_eq!(
        files
            .executables
            .take_losses()
            .of(Degradation::ExecutableReplaced),
        2
    );
}

#[test]
fn memory_with_an_inode_is_anonymous() {
    let mut executables = Executables::new(Limits::default());
    for path in [
        "/memfd:jit (deleted)",
        "/dev/zero (deleted)",
        "/SYSV00000000 (deleted)",
    ] {
        let kind = executables.content(&MappedFile {
            pid: std::process::id(),
            range: VirtualAddress(0x1000)..VirtualAddress(0x2000),
            offset: FileOffset(0),
            identity: FileIdentity::Inode {
                major: 0,
                minor: 1,
                inode: 77,
                generation: 0,
            },
            path: path.as_bytes(),
            time: BootTime(1),
        });
        assert!(matches!(kind, MappingKind::Anonymous), "{path}");
    }
}

#[test]
fn the_vdso_is_read_from_memory() {
    let executables = Executables::new(Limits::default());
    let vdso = executables.vdso.as_ref().unwrap();
    assert!(vdso.build_id.is_some() && vdso.segments.len() == 1);
    assert_eq!(vdso.image.as_ref().unwrap().len() as u64, vdso.length);
}

#[test]
fn bounds_fit_the_limit_of_descriptors() {
    assert_eq!(Limits::within(1_024).open, 256);
    assert_eq!(Limits::within(1_048_576).pinned, Limits::default().pinned);
}

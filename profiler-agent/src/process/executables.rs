//! Files that code was mapped from: each opened once, when it is first seen, so that it can be read
//! after the process is gone.
//!
//! - Identity is what the mapping's record says: the build id together with the path (a stripped
//!   and a complete copy of a program have one build id), or device and inode. A known identity
//!   costs a hash look-up. The build id of a side-band record is the kernel's own reading of the
//!   mapped file; like every build id it is only as honest as who linked the file.
//! - An inode stays taken while its file is open here, so it cannot come to mean another file; that
//!   the file was written in place shows in its length and time of change.
//! - Where the open file says another device than the record does, several files may have that identity (the subvolumes of
//!   a btrfs): each mapping is opened then, and what `fstat` says is the identity. When it cannot be opened, it has
//!   no name, never that of another file.
//! - Two files are one executable by their build id only where they are the same file: whoever links a program may give it
//!   any build id, and whoever has a mount namespace any path. The mapping itself says which file it is of; where it is
//!   gone with its process, a build id and a path stand for a file of root's only.
//! - Opened through the mapping itself (`map_files`: also deleted files and memfds), else by path
//!   in the process's root, else in the agent's own; by path only with proof that it is what was
//!   mapped. `confine` has the rules.
//! - The cache keeps [`Limits::pinned`] files open, least recently used dropped first, and none
//!   that nobody used for [`UNUSED`]. What is in use stays open whatever the cache does, up to
//!   [`Limits::open`] files; whatever is mapped beyond is one executable without a name.

mod copy;
mod identity;
mod known;
mod limits;
mod open;

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hashbrown::HashMap;

use self::copy::Copies;
use self::identity::{Key, Version, is_memory};
use self::known::{Known, generation_of};
pub use self::limits::Limits;
use self::open::{Found, OpenMapped, Opener};
use super::elf;
use super::text::{lossy, without_deleted};
use super::vdso;
use crate::profile::{
    BootTime, BuildId, Degradation, Executable, ExecutableId, FileIdentity, FileOffset, Losses,
    MappingKind, VirtualAddress,
};

/// How long a file that no process has mapped any more stays open.
pub const UNUSED: Duration = Duration::from_secs(60);
/// How long what could not be opened is not tried again.
const RETRY: Duration = Duration::from_secs(1);

/// An executable mapping whose file is wanted.
#[derive(Clone, Debug)]
pub struct MappedFile<'a> {
    /// The process that has it.
    pub pid: u32,
    /// Its addresses.
    pub range: Range<VirtualAddress>,
    /// Where in the file it starts.
    pub offset: FileOffset,
    /// What file.
    pub identity: FileIdentity,
    /// Its path or kind, as the kernel gives it.
    pub path: &'a [u8],
    /// When it was seen.
    pub time: BootTime,
}

#[derive(Debug)]
struct Pin {
    executable: Arc<Executable>,
    used: BootTime,
}

/// See the module.
#[derive(Debug)]
pub struct Executables<O = Opener> {
    known: HashMap<Key, Known>,
    pins: HashMap<ExecutableId, Pin>,
    copies: Copies,
    next: u32,
    vdso: Option<Arc<Executable>>,
    /// Stands for every file that there is no room for.
    overflow: Arc<Executable>,
    /// When names that nobody uses were last taken out to make room.
    swept: BootTime,
    opener: O,
    limits: Limits,
    losses: Losses,
}

impl Executables {
    /// None known but the vDSO.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::over(Opener::new(), limits)
    }
}

impl<O: OpenMapped> Executables<O> {
    fn over(opener: O, limits: Limits) -> Self {
        let overflow = Arc::new(unopened(ExecutableId(0), Box::default(), None));
        let mut executables = Self {
            known: HashMap::new(),
            pins: HashMap::new(),
            copies: Copies::default(),
            next: 1,
            vdso: None,
            overflow,
            swept: BootTime(0),
            opener,
            limits,
            losses: Losses::default(),
        };
        executables.vdso = vdso::image().map(|image| {
            let summary = elf::read(&*image).unwrap_or_default();
            Arc::new(Executable {
                id: executables.new_id(),
                path: lossy(vdso::NAME),
                file: None,
                length: image.len() as u64,
                build_id: summary.build_id,
                htl_hash: OnceLock::from(elf::htl_hash(&*image, image.len() as u64)),
                segments: summary.segments,
                constants: summary.constants,
                image: Some(image),
                root: None,
            })
        });
        executables
    }

    /// What `mapped` is a mapping of.
    pub fn content(&mut self, mapped: &MappedFile<'_>) -> MappingKind {
        if mapped.path == vdso::NAME
            && let Some(executable) = self.vdso_of(mapped)
        {
            return MappingKind::File {
                executable,
                offset: FileOffset(0),
            };
        }
        let Some(key) = Key::of(mapped) else {
            return MappingKind::Anonymous;
        };
        let executable = self.get(&key, mapped);
        // Memory that only happens to have an inode holds generated code, unless it is an ELF file.
        if executable.segments.is_empty() && is_memory(mapped.path) {
            return MappingKind::Anonymous;
        }
        MappingKind::File {
            executable,
            offset: mapped.offset,
        }
    }

    /// Closes what nobody has used for a while; to be called about once a second.
    pub fn prune(&mut self, now: BootTime) {
        self.pins.retain(|_, pin| {
            if Arc::strong_count(&pin.executable) > 1 {
                pin.used = now;
            }
            now.since(pin.used) < UNUSED
        });
        self.known
            .retain(|_, known| known.executable.strong_count() > 0);
    }

    /// Number of names by which files are known that are in use, or kept for later use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Is none known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What could not be opened since the last call, by cause.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }

    /// The host's vDSO, unless the mapping is of another one (a 32-bit process has its own).
    fn vdso_of(&self, mapped: &MappedFile<'_>) -> Option<Arc<Executable>> {
        let ours = self.vdso.as_ref()?;
        let same = match mapped.identity {
            FileIdentity::BuildId(build_id) => Some(build_id) == ours.build_id,
            FileIdentity::Inode { .. } => mapped.range.end.0 > u64::from(u32::MAX),
        };
        same.then(|| Arc::clone(ours))
    }

    fn get(&mut self, recorded: &Key, mapped: &MappedFile<'_>) -> Arc<Executable> {
        let shown = self.opener.shown(mapped);
        let key = shown.as_ref().map_or(recorded, |shown| &shown.file).clone();
        if let Some(known) = self.known.get(&key)
            && let Some(executable) = known.executable.upgrade()
            && known.serves(&executable, mapped, shown.as_ref())
        {
            if let Some(pin) = self.pins.get_mut(&executable.id) {
                pin.used = pin.used.max(mapped.time);
            }
            return executable;
        }
        if !self.has_room(&key, mapped.time) {
            self.losses.add(Degradation::ExecutableUnopened, 1);
            return Arc::clone(&self.overflow);
        }
        let mut version = Version::default();
        let mut file = None;
        let (mut exact, mut of_root) = (true, false);
        let room = self.copies.room();
        let executable = match self.opener.open(mapped, room, &mut self.losses) {
            Ok(found) => {
                version = Version::of(&found.stat);
                of_root = found.stat.st_uid == 0;
                let by_file = Key::of_file(&found.stat);
                exact = matches!(key, Key::BuildId(..)) || key == by_file;
                file = Some(by_file);
                self.share_or_add(found, mapped)
            }
            Err(cause) => {
                self.losses.add(cause, 1);
                // A file that has the name, but cannot be told to be this one, keeps it.
                if shown.is_none()
                    && matches!(mapped.identity, FileIdentity::BuildId(_))
                    && self.is_open(&key)
                {
                    return Arc::clone(&self.overflow);
                }
                let build_id = match mapped.identity {
                    FileIdentity::BuildId(build_id) => Some(build_id),
                    FileIdentity::Inode { .. } => None,
                };
                let path = lossy(without_deleted(mapped.path));
                Arc::new(unopened(self.new_id(), path, build_id))
            }
        };
        self.known.insert(
            key,
            Known {
                executable: Arc::downgrade(&executable),
                version,
                recorded: mapped.identity,
                generation: generation_of(mapped),
                tried: mapped.time,
                file,
                exact,
                of_root,
            },
        );
        self.pin(&executable, mapped.time);
        executable
    }

    /// Is the file that is known by this name open?
    fn is_open(&self, key: &Key) -> bool {
        let known = self
            .known
            .get(key)
            .and_then(|known| known.executable.upgrade());
        known.is_some_and(|executable| executable.file.is_some())
    }

    /// The executable of an opened file: one that is known already, or a new one.
    fn share_or_add(&mut self, found: Found, mapped: &MappedFile<'_>) -> Arc<Executable> {
        let path = without_deleted(&found.path);
        let by_file = Key::of_file(&found.stat);
        let by_build_id = found
            .summary
            .build_id
            .map(|build_id| Key::BuildId(build_id, path.into()));
        for key in std::iter::once(&by_file).chain(&by_build_id) {
            if let Some(known) = self.known.get(key)
                && let Some(executable) = known.executable.upgrade()
                && known.file.as_ref() == Some(&by_file)
                && known.version == Version::of(&found.stat)
                && known.is_of(generation_of(mapped))
            {
                return executable;
            }
        }
        let version = Version::of(&found.stat);
        let of_root = found.stat.st_uid == 0;
        let length = found.length();
        let executable = Arc::new(Executable {
            id: self.new_id(),
            path: lossy(path),
            htl_hash: OnceLock::from(found.htl_hash),
            file: Some(found.file),
            image: None,
            length,
            build_id: found.summary.build_id,
            segments: found.summary.segments,
            constants: found.summary.constants,
            root: found.root,
        });
        if found.copied {
            self.copies.add(Arc::downgrade(&executable), length);
        }
        let name = || Known {
            executable: Arc::downgrade(&executable),
            version,
            recorded: mapped.identity,
            generation: generation_of(mapped),
            tried: mapped.time,
            file: Some(by_file.clone()),
            exact: true,
            of_root,
        };
        // Another file that is in use keeps the name that it has, but for one of root's.
        if let Some(key) = by_build_id
            && self.known.get(&key).is_none_or(|known| {
                known.executable.strong_count() == 0 || (of_root && !known.of_root)
            })
        {
            self.known.insert(key, name());
        }
        let known = name();
        self.known.insert(by_file, known);
        executable
    }

    /// Is there room for one more file under `key`?
    fn has_room(&mut self, key: &Key, time: BootTime) -> bool {
        if self.known.len() >= self.limits.open && time.since(self.swept) >= RETRY {
            self.swept = time;
            self.known
                .retain(|_, known| known.executable.strong_count() > 0);
        }
        self.known.len() < self.limits.open || self.known.contains_key(key)
    }

    fn pin(&mut self, executable: &Arc<Executable>, used: BootTime) {
        if self.pins.len() >= self.limits.pinned
            && !self.pins.contains_key(&executable.id)
            && let Some(oldest) = self
                .pins
                .iter()
                .min_by_key(|(_, pin)| pin.used)
                .map(|(id, _)| *id)
        {
            self.pins.remove(&oldest);
        }
        self.pins.insert(
            executable.id,
            Pin {
                executable: Arc::clone(executable),
                used,
            },
        );
    }

    fn new_id(&mut self) -> ExecutableId {
        let id = ExecutableId(self.next);
        self.next += 1;
        id
    }
}

/// Stands for a file that could not be opened.
fn unopened(id: ExecutableId, path: Box<str>, build_id: Option<BuildId>) -> Executable {
    Executable {
        id,
        path,
        file: None,
        image: None,
        length: 0,
        build_id,
        htl_hash: OnceLock::from(None),
        segments: Box::default(),
        constants: Box::default(),
        root: None,
    }
}

#[cfg(test)]
mod tests;

//! The executable mappings that /proc/PID/maps lists.
//!
//! The list is locked while somebody changes it or waits for a page of the process, and a page of a file whose file system
//! does not answer is waited for as long as that wants. So it is read on a thread that can be left behind; of a
//! process whose list hangs, what is known stays, and it is not asked again before that ends.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::Duration;

use hashbrown::HashMap;

use super::mappings::MAX_MAPPINGS;
use super::maps::{Lines, MapsLine, Told};
use super::scan;
use crate::confine::{Attempts, Straggler};
use crate::profile::{FileOffset, Losses, VirtualAddress};

/// How long the list of a process is waited for.
const PATIENCE: Duration = Duration::from_millis(250);
/// Lists that may hang at a time.
const MAX_HANGING: usize = 8;
/// Bytes of paths that are kept of a list; what comes behind them is left out.
const MAX_PATH_BYTES: usize = 16 << 20;

/// A mapping that is listed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// Of what its line says.
    Mapping(MapsLine<'static>),
    /// Memory of no file.
    Anonymous(Range<VirtualAddress>),
    /// Memory that stands for a part of a file.
    Copied {
        /// Where.
        range: Range<VirtualAddress>,
        /// The part begins there.
        offset: FileOffset,
        /// A mapping of the file.
        beside: MapsLine<'static>,
    },
}

impl Listed {
    fn of(told: Told<'_>) -> Self {
        match told {
            Told::Mapping(line) => Self::Mapping(line.into_owned()),
            Told::Anonymous(range) => Self::Anonymous(range),
            Told::Copied {
                range,
                offset,
                beside,
            } => Self::Copied {
                range,
                offset,
                beside: beside.clone().into_owned(),
            },
        }
    }

    fn path_bytes(&self) -> usize {
        match self {
            Self::Mapping(line) | Self::Copied { beside: line, .. } => line.path.len(),
            Self::Anonymous(_) => 0,
        }
    }
}

/// Reads lists.
#[derive(Debug)]
pub(super) struct Listings {
    list: fn(&OwnedFd) -> Vec<Listed>,
    attempts: Attempts,
    /// Processes whose lists hang.
    hanging: HashMap<u32, Straggler>,
    losses: Losses,
}

impl Default for Listings {
    fn default() -> Self {
        Self {
            list,
            attempts: Attempts::new("maps-reader", MAX_HANGING),
            hanging: HashMap::new(),
            losses: Losses::default(),
        }
    }
}

impl Listings {
    /// What the process lists whose directory in /proc this is: nothing where that does not answer, an empty list where it may
    /// not be read.
    pub(super) fn read(&mut self, pid: u32, directory: &OwnedFd) -> Option<Vec<Listed>> {
        self.hanging.retain(|_, straggler| !straggler.is_over());
        if self.hanging.contains_key(&pid) {
            return None;
        }
        let directory = directory.try_clone().ok()?;
        let list = self.list;
        match self.attempts.run(PATIENCE, move || list(&directory)) {
            Ok(listed) => Some(listed),
            Err(unfinished) => {
                if let Some(straggler) = unfinished.count(&mut self.losses) {
                    self.hanging.insert(pid, straggler);
                }
                None
            }
        }
    }

    /// What could not be read since the last call.
    pub(super) fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

fn list(directory: &OwnedFd) -> Vec<Listed> {
    let Ok(file) = scan::open(directory, "maps") else {
        return Vec::new();
    };
    let mut list = List::default();
    let mut lines = Lines::default();
    let read = scan::each_line(file, &mut Vec::new(), |line| {
        lines.take(line, |told| list.add(told));
        !list.is_full()
    });
    // Without the right to read the rest, what was read is worth nothing.
    if read.is_err() {
        return Vec::new();
    }
    lines.end(|told| list.add(told));
    list.listed
}

#[derive(Default)]
struct List {
    listed: Vec<Listed>,
    path_bytes: usize,
}

impl List {
    fn is_full(&self) -> bool {
        self.listed.len() >= MAX_MAPPINGS || self.path_bytes >= MAX_PATH_BYTES
    }

    fn add(&mut self, told: Told<'_>) {
        // `[vsyscall]` lies in the kernel's half: no user address is ever looked up there.
        let is_kernel_s =
            matches!(&told, Told::Mapping(line) if line.range.end > VirtualAddress(1 << 63));
        if !is_kernel_s && !self.is_full() {
            let listed = Listed::of(told);
            self.path_bytes += listed.path_bytes();
            self.listed.push(listed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::profile::Degradation;

    fn own() -> OwnedFd {
        File::open("/proc/self").unwrap().into()
    }

    #[test]
    fn what_a_process_has_mapped_is_listed() {
        let mut listings = Listings::default();
        let listed = listings.read(std::process::id(), &own()).unwrap();
        let program = std::env::current_exe().unwrap();
        let program = program.to_str().unwrap().as_bytes();
        let is_program =
            |listed: &Listed| matches!(listed, Listed::Mapping(line) if *line.path == *program);
        assert!(listed.iter().any(is_program), "{listed:?}");
        assert!(listings.take_losses().is_empty());
        // It may not be read, or is gone.
        let elsewhere: OwnedFd = File::open("/").unwrap().into();
        assert_eq!(listings.read(7, &elsewhere), Some(Vec::new()));
    }

    #[test]
    fn a_list_that_hangs_is_left_behind_and_not_asked_for_again() {
        let mut listings = Listings {
            list: |_| {
                loop {
                    std::thread::park();
                }
            },
            ..Listings::default()
        };
        for _ in 0..3 {
            assert_eq!(listings.read(7, &own()), None);
        }
        assert_eq!(listings.hanging.len(), 1);
        let losses = listings.take_losses();
        assert_eq!(losses.of(Degradation::FileUnanswered), 1);
    }

    #[test]
    fn long_lists_are_cut() {
        let mut list = List::default();
        let line = |number: u64, path: usize| {
            Told::Mapping(MapsLine {
                range: VirtualAddress(number << 12)..VirtualAddress((number + 1) << 12),
                offset: FileOffset(0),
                major: 0,
                minor: 0,
                inode: 1,
                path: vec![b'x'; path].into(),
            })
        };
        list.add(line(1 << 51, 1));
        assert!(list.listed.is_empty());
        list.add(line(1, MAX_PATH_BYTES - 1));
        list.add(line(2, 1));
        list.add(line(3, 1));
        assert_eq!((list.listed.len(), list.is_full()), (2, true));
    }
}

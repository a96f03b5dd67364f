//! Names of code in anonymous memory: perf maps of living and of ended processes.
//!
//! A process's map is opened when its first such location is seen and kept open, so that it can be
//! read at the window's end though the process and its root are gone by then. It is read when it
//! changed in length since the last reading, and then for every address of the window: a compiler
//! may have put other code where a known function was.

mod name;
mod open;
pub mod perf_map;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

pub(super) use name::parse as parse_name;

use crate::confine::{self, Attempts, Straggler};
use crate::profile::{Degradation, Losses, ProcessKey, VirtualAddress};
use perf_map::{PerfMapNames, PerfMapScan};

/// Maps that are open at most.
const MAX_OPEN: usize = 128;
/// Windows after which a map that nobody asked for is closed.
const IDLE_WINDOWS: u64 = 6;
/// Bytes read at a time.
const CHUNK: usize = 128 << 10;

/// How long the collector's windows wait for a file system to open a map, and to read it.
const OPENING: Duration = Duration::from_millis(500);
const READING: Duration = Duration::from_secs(3);
/// Maps whose reading hangs at a time.
const MAX_HANGING: usize = 8;

#[derive(Debug)]
struct Map {
    file: Option<Arc<File>>,
    /// Work on it that hangs.
    hanging: Option<Straggler>,
    /// Its length when it was read last.
    read: u64,
    /// Window in which it was looked for last.
    window: u64,
}

/// The perf maps of the processes that were sampled lately.
#[derive(Debug)]
pub(super) struct PerfMaps {
    maps: HashMap<ProcessKey, Map>,
    max_bytes: u64,
    window: u64,
    readers: Attempts,
}

impl PerfMaps {
    /// No maps yet; of each at most `max_bytes` are read.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            maps: HashMap::new(),
            max_bytes,
            window: 0,
            readers: Attempts::new("perf-map-reader", MAX_HANGING),
        }
    }

    /// Opens the process's map unless that was done or tried in this window.
    pub(super) fn open(&mut self, process: ProcessKey, losses: &mut Losses) {
        let window = self.window;
        if let Some(map) = self.maps.get_mut(&process) {
            let tried = map.window == window;
            map.window = window;
            if map.file.is_some() || tried || map.hangs() {
                return;
            }
        } else if self.maps.len() >= MAX_OPEN {
            self.close_oldest();
        }
        let mut hanging = None;
        let opened = self
            .readers
            .run(OPENING, move || open::perf_map(process).map(Arc::new));
        let file = match opened {
            Ok(Ok(file)) => Some(file),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Ok(Err(_)) => {
                losses.add(Degradation::PerfMapMalformed, 1);
                None
            }
            Err(unfinished) => {
                hanging = unfinished.count(losses);
                None
            }
        };
        self.maps.insert(
            process,
            Map {
                file,
                hanging,
                read: 0,
                window,
            },
        );
    }

    /// Did the process's map change since it was read last?
    pub(super) fn changed(&self, process: ProcessKey) -> bool {
        self.maps.get(&process).is_some_and(|map| {
            let length = map
                .file
                .as_ref()
                .and_then(|file| confine::attributes(file).ok())
                .map(|file| file.stx_size);
            length.is_some_and(|length| length != map.read)
        })
    }

    /// Reads the process's map for the names of `addresses`; `None` when it has none.
    pub(super) fn read(
        &mut self,
        process: ProcessKey,
        addresses: &[VirtualAddress],
        losses: &mut Losses,
    ) -> Option<PerfMapNames> {
        let max_bytes = self.max_bytes;
        let map = self.maps.get_mut(&process)?;
        if map.hangs() {
            return None;
        }
        let file = Arc::clone(map.file.as_ref()?);
        let length = confine::attributes(&file).ok()?.stx_size;
        let scan = PerfMapScan::new(addresses.iter().copied());
        let read = self.readers.run(READING, move || {
            scan_file(&file, scan, length.min(max_bytes))
        });
        let (names, whole) = match read {
            Ok(read) => read,
            Err(unfinished) => {
                map.hanging = unfinished.count(losses);
                return None;
            }
        };
        map.read = length;
        let malformed = !whole || names.malformed > 0 || length > max_bytes;
        losses.add(Degradation::PerfMapMalformed, u64::from(malformed));
        Some(names)
    }

    /// Ends a window: closes what nobody asked for lately.
    pub(super) fn end_window(&mut self) {
        self.window += 1;
        let oldest = self.window.saturating_sub(IDLE_WINDOWS);
        self.maps.retain(|_, map| map.window >= oldest);
    }

    fn close_oldest(&mut self) {
        let oldest = self
            .maps
            .iter()
            .min_by_key(|(_, map)| map.window)
            .map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            self.maps.remove(&oldest);
        }
    }
}

impl Map {
    /// Does work on it still hang?
    fn hangs(&mut self) -> bool {
        self.hanging.take_if(|hanging| hanging.is_over());
        self.hanging.is_some()
    }
}

/// The names in the first `end` bytes of the file, and whether all of them could be read.
fn scan_file(file: &File, mut scan: PerfMapScan, end: u64) -> (PerfMapNames, bool) {
    let mut chunk = vec![0; CHUNK.min(usize::try_from(end).unwrap_or(CHUNK))];
    let mut position = 0;
    let mut whole = true;
    while position < end {
        let wanted = (end - position).min(chunk.len() as u64) as usize;
        match file.read_at(&mut chunk[..wanted], position) {
            Ok(0) => break,
            Ok(count) => {
                scan.feed(&chunk[..count]);
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    (scan.finish(), whole)
}

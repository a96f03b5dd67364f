//! Names the locations of a window, each once, in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hashbrown::{HashMap, HashSet};

use super::cache::Cache;
use super::config::SymbolizeConfig;
use super::elf::{ElfSymbols, Outcome};
use super::jit::{self, PerfMaps};
use super::kernel::KernelSymbols;
use super::names::Names;
use super::placeholder;
use super::tables;
use crate::profile::{
    ClockPair, Degradation, Executable, ExecutableId, FileOffset, FrameName, FrameType,
    KernelAddress, KernelCode, LocatedFrame, LocationKey, LocationKind, Losses, Mark, ProcessKey,
    Profile, ResolvedFrames, SourceLine, VirtualAddress, Window,
};

/// The stage from [`Window`] to [`Profile`].
#[derive(Debug)]
pub struct Symbolizer {
    cache: Cache,
    /// Names of this window that another one may find more of.
    partial: HashMap<LocationKey, ResolvedFrames>,
    config: SymbolizeConfig,
    names: Names,
    /// Were the strings lost that cached names share?
    names_gone: bool,
    kernel: KernelSymbols,
    elf: ElfSymbols,
    perf_maps: PerfMaps,
    /// Set: the agent is stopping, no file is read any more.
    hurry: Arc<AtomicBool>,
    losses: Losses,
    hits: u64,
    misses: u64,
}

/// The new locations of a window, by where their names come from.
#[derive(Default)]
struct Misses {
    kernel: Vec<KernelAddress>,
    files: HashMap<ExecutableId, Vec<FileOffset>>,
}

/// What a [`Symbolizer`] holds, and how often that helped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolizerUsage {
    /// Locations of windows whose names were kept from before.
    pub hits: u64,
    /// Locations of windows whose names were not.
    pub misses: u64,
    /// Locations whose names are kept.
    pub locations: usize,
    /// Bytes of kept names.
    pub name_bytes: usize,
    /// Bytes of kept indices into debug information.
    pub index_bytes: usize,
}

impl Symbolizer {
    /// A symbolizer that knows no names yet.
    #[must_use]
    pub fn new(config: &SymbolizeConfig) -> Self {
        Self::with_hurry(config, Arc::default())
    }

    /// The same; once `hurry` is set, locations in files that were not named before get names of
    /// file and offset, and are counted as [`Degradation::SymbolizerBehind`].
    pub(super) fn with_hurry(config: &SymbolizeConfig, hurry: Arc<AtomicBool>) -> Self {
        Self {
            cache: Cache::new(config.cache_bytes),
            partial: HashMap::new(),
            config: config.clone(),
            names: Names::default(),
            names_gone: false,
            kernel: KernelSymbols::default(),
            elf: ElfSymbols::new(config),
            perf_maps: PerfMaps::new(config.perf_map_bytes),
            hurry,
            losses: Losses::default(),
            hits: 0,
            misses: 0,
        }
    }

    /// Gives windows another time.
    #[cfg(test)]
    pub(super) const fn set_window_time(&mut self, time: std::time::Duration) {
        self.config.window_time = time;
    }

    /// Does what cannot wait for the window's end: opens the perf maps of processes that may be
    /// gone by then. The files of other locations are open already.
    pub fn prefetch(&mut self, frames: &[LocatedFrame]) {
        for frame in frames {
            if let LocationKey::Anonymous(process, _) = frame.key {
                self.perf_maps.open(process, &mut self.losses);
            }
        }
    }

    /// Names every location of the window. Losses of this stage are added to the window's.
    #[must_use]
    pub fn resolve(&mut self, window: &Window, clocks: &ClockPair) -> Profile {
        let java = java_processes(window);
        if self.kernel.modules_changed() {
            self.cache
                .forget(|key| matches!(key, LocationKey::Kernel(_)));
        }
        self.anonymous(&window.locations, &java);
        let mut frames: Vec<Option<ResolvedFrames>> = window
            .locations
            .iter()
            .map(|key| self.cache.get(key))
            .collect();
        let missed = frames.iter().filter(|found| found.is_none()).count() as u64;
        self.misses += missed;
        self.hits += frames.len() as u64 - missed;

        let mut misses = Misses::default();
        for (key, _) in window
            .locations
            .iter()
            .zip(&frames)
            .filter(|(_, found)| found.is_none())
        {
            match *key {
                LocationKey::Kernel(address) => misses.kernel.push(address),
                LocationKey::File(id, offset) => misses.files.entry(id).or_default().push(offset),
                LocationKey::KernelCode(id, _) => {
                    self.kernel_code(*key, window.kernel_code.get(&id));
                }
                _ => {}
            }
        }
        self.kernel(&misses.kernel);
        let began = Instant::now();
        let mut files: Vec<(ExecutableId, Vec<FileOffset>)> = misses.files.into_iter().collect();
        files.sort_unstable_by_key(|(id, _)| (self.elf.rank(*id), *id));
        for (id, offsets) in files {
            self.file(window.executables.get(&id), id, offsets, began);
        }
        for (slot, key) in frames.iter_mut().zip(&window.locations) {
            if slot.is_none() {
                *slot = Some(self.named_or_placeholder(key));
            }
        }
        let frames: Vec<ResolvedFrames> = frames.into_iter().flatten().collect();

        let profile = tables::build(
            window,
            clocks,
            &frames,
            &mut self.kernel,
            self.losses.take(),
        );
        self.end_window();
        profile
    }

    /// Keeps no index between windows and reads neither lines nor inlined calls from now on, or does again.
    pub(super) const fn spare(&mut self, spare: bool) {
        self.elf.spare(spare);
    }

    /// What it holds between windows.
    #[must_use]
    pub fn usage(&self) -> SymbolizerUsage {
        SymbolizerUsage {
            hits: self.hits,
            misses: self.misses,
            locations: self.cache.len(),
            name_bytes: self.cache.bytes() + self.names.strings.bytes(),
            index_bytes: self.elf.bytes(),
        }
    }

    fn end_window(&mut self) {
        self.partial = HashMap::new();
        if std::mem::take(&mut self.names_gone) {
            self.cache = Cache::new(self.config.cache_bytes);
        }
        self.names.end_window();
        self.cache.end_window(&mut self.names.strings);
        self.kernel.end_window();
        self.elf.end_window();
        self.perf_maps.end_window();
    }

    /// What the batches put into the cache; else a name made of what the key states.
    fn named_or_placeholder(&mut self, key: &LocationKey) -> ResolvedFrames {
        if let Some(found) = self.cache.get(key).or_else(|| self.partial.remove(key)) {
            return found;
        }
        match key {
            LocationKey::Broken(outcome) => self.names.stack_end(*outcome),
            LocationKey::ReturnProbe => self
                .names
                .unnamed(Mark::ReturnProbe.name(), FrameType::Native),
            LocationKey::Anonymous(..) => self.names.unnamed(Mark::Jit.name(), FrameType::Native),
            LocationKey::Interpreted { frame, .. } => {
                let frame_type = FrameType::of_interpreter(frame.interpreter());
                let name = placeholder::interpreted(frame_type);
                self.names.unnamed(&name, frame_type)
            }
            LocationKey::Kernel(address) | LocationKey::KernelCode(_, address) => self
                .names
                .unnamed(&placeholder::kernel(*address), FrameType::Kernel),
            LocationKey::Unmapped(..) | LocationKey::File(..) => {
                self.names.unnamed(Mark::Unknown.name(), FrameType::Native)
            }
        }
    }

    fn kernel_code(&mut self, key: LocationKey, code: Option<&Arc<KernelCode>>) {
        if let Some(code) = code {
            let frames = self.names.single(&code.name, FrameType::Kernel);
            self.cache.insert(key, frames);
        }
    }

    fn kernel(&mut self, addresses: &[KernelAddress]) {
        self.kernel.prepare(addresses, &mut self.losses);
        for address in addresses {
            // What has no name now may get one when the symbols are read again.
            if let Some(name) = self.kernel.name(*address) {
                let frames = self.names.single(name, FrameType::Kernel);
                self.cache.insert(LocationKey::Kernel(*address), frames);
            }
        }
    }

    fn file(
        &mut self,
        executable: Option<&Arc<Executable>>,
        id: ExecutableId,
        mut offsets: Vec<FileOffset>,
        began: Instant,
    ) {
        let Some(executable) = executable else {
            return;
        };
        offsets.sort_unstable();
        let mut places: Vec<(u64, FileOffset)> = offsets
            .iter()
            .filter_map(|offset| Some((executable.elf_address(*offset)?.0, *offset)))
            .collect();
        places.sort_unstable();
        places.dedup_by_key(|(address, _)| *address);
        let addresses: Vec<u64> = places.iter().map(|(address, _)| *address).collect();
        let outcome =
            if self.hurry.load(Ordering::Relaxed) || began.elapsed() >= self.config.window_time {
                let count = offsets.len() as u64;
                self.losses.add(Degradation::SymbolizerBehind, count);
                Outcome::Unread
            } else {
                self.elf.resolve(
                    executable,
                    addresses,
                    began + self.config.window_time / 2,
                    &self.hurry,
                    (&mut self.names, &mut self.losses),
                )
            };
        let (resolved, kept) = match outcome {
            Outcome::Read { found, partial } => (found, !partial),
            Outcome::Unread => (Vec::new(), false),
            Outcome::NamesGone => {
                self.names_gone = true;
                (Vec::new(), false)
            }
        };
        let mut named: HashMap<FileOffset, ResolvedFrames> = places
            .into_iter()
            .zip(resolved)
            .filter_map(|((_, offset), frames)| Some((offset, frames?)))
            .collect();
        for offset in offsets {
            let frames = named.remove(&offset).unwrap_or_else(|| {
                let name = placeholder::file(executable, offset);
                self.names.unnamed(&name, FrameType::Native)
            });
            let key = LocationKey::File(id, offset);
            if kept {
                self.cache.insert(key, frames);
            } else {
                self.partial.insert(key, frames);
            }
        }
    }

    /// Reads the perf maps of the processes with anonymous code in the window: all its addresses
    /// where the map changed, else the new ones.
    fn anonymous(&mut self, locations: &[LocationKey], java: &HashSet<ProcessKey>) {
        let mut processes: HashMap<ProcessKey, Vec<VirtualAddress>> = HashMap::new();
        for location in locations {
            if let LocationKey::Anonymous(process, address) = *location {
                processes.entry(process).or_default().push(address);
            }
        }
        for (process, mut addresses) in processes {
            self.perf_maps.open(process, &mut self.losses);
            if !self.perf_maps.changed(process) {
                addresses.retain(|address| {
                    self.cache
                        .get(&LocationKey::Anonymous(process, *address))
                        .is_none()
                });
            }
            if addresses.is_empty() {
                continue;
            }
            let names = self.perf_maps.read(process, &addresses, &mut self.losses);
            for address in addresses {
                let raw = names.as_ref().and_then(|names| names.get(address));
                let frames = match raw {
                    Some(raw) => {
                        self.jit_function(&String::from_utf8_lossy(raw), java.contains(&process))
                    }
                    None => self.names.unnamed(Mark::Jit.name(), FrameType::Native),
                };
                self.cache
                    .insert(LocationKey::Anonymous(process, address), frames);
            }
        }
    }

    fn jit_function(&mut self, raw: &str, java: bool) -> ResolvedFrames {
        let parsed = jit::parse_name(raw, java);
        let source = (!parsed.file.is_empty()).then(|| SourceLine {
            file: self.names.text(&parsed.file),
            line: 0,
            column: 0,
        });
        ResolvedFrames {
            frames: Arc::from([FrameName {
                name: self.names.text(&parsed.name),
                system_name: self.names.text(raw),
                source,
                start_line: parsed.start_line,
            }]),
            frame_type: parsed.frame_type,
            kind: LocationKind::Named,
            wrapper: false,
        }
    }
}

/// The processes whose executable is called `java`: their perf maps name methods.
fn java_processes(window: &Window) -> HashSet<ProcessKey> {
    window
        .processes
        .iter()
        .filter(|process| process.executable.rsplit('/').next() == Some("java"))
        .map(|process| process.key)
        .collect()
}

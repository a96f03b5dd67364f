//! What is kept of files between windows, and who reads them.
//!
//! A file is read on a thread of its own, which is left behind when its file system does not answer. What that thread
//! held is gone then: what was kept of the file, and the strings of every name.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::known_file::KnownFile;
use super::reading::{Found, Limits, Reading};
use crate::confine::{self, Attempts, Straggler, Unfinished};
use crate::profile::{Degradation, Executable, ExecutableId, Losses};
use crate::symbolize::config::SymbolizeConfig;
use crate::symbolize::names::Names;

/// Files of which something is kept at most: each may hold an open debug file.
const MAX_FILES: usize = 256;
/// Readers that hang at a time.
const MAX_HANGING: usize = 16;
/// How long a reader may take beyond its deadline: it asks for the time between items, and a slow disk may hold up one.
const GRACE: Duration = Duration::from_secs(2);

/// Names locations in files.
#[derive(Debug)]
pub(in crate::symbolize) struct ElfSymbols {
    files: HashMap<ExecutableId, KnownFile>,
    config: SymbolizeConfig,
    readers: Attempts,
    /// Files whose readers hang.
    hanging: HashMap<ExecutableId, Straggler>,
    window: u64,
    /// Keep nothing between windows, and read no debug information?
    spare: bool,
}

/// How reading a file ended.
#[derive(Debug)]
pub(in crate::symbolize) enum Outcome {
    /// With names. `partial`: another batch may find more.
    Read { found: Found, partial: bool },
    /// Without any: there was no time, or the file system did not answer.
    Unread,
    /// The same, and `Names` are gone.
    NamesGone,
}

impl ElfSymbols {
    /// Knows no file yet.
    pub(in crate::symbolize) fn new(config: &SymbolizeConfig) -> Self {
        Self {
            files: HashMap::new(),
            config: config.clone(),
            readers: Attempts::new("file-reader", MAX_HANGING),
            hanging: HashMap::new(),
            window: 0,
            spare: false,
        }
    }

    /// Spares memory from now on, or no longer.
    pub(in crate::symbolize) const fn spare(&mut self, spare: bool) {
        self.spare = spare;
    }

    /// Bytes held between windows.
    pub(in crate::symbolize) fn bytes(&self) -> usize {
        self.files.values().map(KnownFile::bytes).sum()
    }

    /// Ends a window.
    pub(in crate::symbolize) fn end_window(&mut self) {
        self.window += 1;
        self.trim();
    }

    /// What was asked for least recently goes until the budget holds.
    fn trim(&mut self) {
        let most = if self.spare {
            0
        } else {
            self.config.index_bytes
        };
        let mut bytes = self.bytes();
        while bytes > most || self.files.len() > MAX_FILES {
            let oldest = self
                .files
                .iter()
                .min_by_key(|(id, file)| (file.window, **id));
            let Some(id) = oldest.map(|(id, _)| *id) else {
                return;
            };
            bytes -= self.files.remove(&id).map_or(0, |file| file.bytes());
        }
    }

    /// The place of a file in a window's order: what is known to be read soon comes first, what was not read in time
    /// last.
    pub(in crate::symbolize) fn rank(&self, id: ExecutableId) -> u8 {
        self.files.get(&id).map_or(1, |file| match file.overruns {
            0 => 0,
            overruns => 1 + overruns,
        })
    }

    /// The names of `addresses` (as the file states them, sorted, each once), parallel to them; `None` where
    /// there is none. Debug information is read until `deadline`.
    pub(in crate::symbolize) fn resolve(
        &mut self,
        executable: &Arc<Executable>,
        addresses: Vec<u64>,
        deadline: Instant,
        hurry: &Arc<AtomicBool>,
        (names, losses): (&mut Names, &mut Losses),
    ) -> Outcome {
        self.hanging.retain(|_, straggler| !straggler.is_over());
        if self.hanging.contains_key(&executable.id) {
            losses.add(Degradation::FileUnanswered, 1);
            return Outcome::Unread;
        }
        let now = Instant::now();
        let mut reading = Reading {
            executable: Arc::clone(executable),
            addresses,
            known: self.files.remove(&executable.id),
            names: std::mem::take(names),
            losses: Losses::default(),
            limits: Limits {
                debug_info: (self.config.debug_info_bytes, self.config.decompressed_bytes),
                steps: self.config.file_steps,
                wants_debug_info: self.config.debug_info && !self.spare,
                deadline: deadline.min(now + self.config.file_time),
                is_whole: now + self.config.file_time <= deadline,
                hurry: Arc::clone(hurry),
            },
            partial: false,
        };
        if self.readers.is_full() {
            // So much hangs that no more may: files whose file system is the kernel's own are still read.
            let local = executable.file.as_ref().is_none_or(confine::is_local);
            let found = local.then(|| reading.read());
            return self.take_back(executable.id, reading, found, (names, losses));
        }
        let patience = reading.limits.deadline.saturating_duration_since(now) + GRACE;
        let read = self.readers.run(patience, move || {
            let found = reading.read();
            (reading, found)
        });
        match read {
            Ok((reading, found)) => {
                self.take_back(executable.id, reading, Some(found), (names, losses))
            }
            Err(Unfinished::Late(straggler)) => {
                losses.add(Degradation::FileUnanswered, 1);
                tracing::warn!(
                    path = %executable.path.escape_debug(),
                    "a program's file was not read in time, its file system may hang: its code has no names"
                );
                self.hanging.insert(executable.id, straggler);
                Outcome::NamesGone
            }
            Err(Unfinished::Full) => {
                losses.add(Degradation::FileUnanswered, 1);
                Outcome::NamesGone
            }
            Err(Unfinished::Panicked) => {
                losses.add(Degradation::SymbolsMalformed, 1);
                Outcome::NamesGone
            }
        }
    }
    /// Takes back what a batch worked with.
    fn take_back(
        &mut self,
        id: ExecutableId,
        reading: Reading,
        found: Option<Found>,
        (names, losses): (&mut Names, &mut Losses),
    ) -> Outcome {
        *names = reading.names;
        losses.merge(&reading.losses);
        if let Some(mut known) = reading.known {
            known.window = self.window;
            self.files.insert(id, known);
            self.trim();
        }
        let Some(found) = found else {
            losses.add(Degradation::FileUnanswered, 1);
            return Outcome::Unread;
        };
        Outcome::Read {
            found,
            partial: reading.partial,
        }
    }
}

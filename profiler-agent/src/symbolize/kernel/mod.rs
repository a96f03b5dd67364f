//! Names of kernel code.
//!
//! `/proc/kallsyms` is read when the first kernel address is asked for, again when other modules are loaded than then, and
//! when an address has no symbol, at most once in [`REREAD_WINDOWS`].

mod kallsyms;
mod modules;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::Range;

use hashbrown::HashMap;
use std::sync::Arc;

use self::kallsyms::{Kallsyms, KallsymsBuilder};
use crate::elf::note;
use crate::profile::{BuildId, Degradation, KernelAddress, Losses, Mapping, Mark};

/// Windows between two readings.
const REREAD_WINDOWS: u64 = 30;
/// Bytes of a list of symbols that are read.
const MAX_LIST: u64 = 256 << 20;

/// The running kernel's symbols.
#[derive(Debug, Default)]
pub(super) struct KernelSymbols {
    symbols: Option<Kallsyms>,
    /// Window of the last reading.
    read: u64,
    window: u64,
    build_ids: HashMap<Box<str>, Option<BuildId>>,
    /// `/proc/modules` before the last reading.
    modules: Vec<u8>,
}

impl KernelSymbols {
    /// Have modules come or gone since the symbols were read? They are read again then: no name that was found before holds.
    pub(super) fn modules_changed(&mut self) -> bool {
        let changed =
            self.symbols.is_some() && modules::read().is_ok_and(|now| now != self.modules);
        if changed {
            self.symbols = None;
        }
        changed
    }

    /// Makes sure that the symbols are there, and as new as `addresses` need them to be.
    pub(super) fn prepare(&mut self, addresses: &[KernelAddress], losses: &mut Losses) {
        let stale = match &self.symbols {
            None => !addresses.is_empty(),
            Some(symbols) => {
                self.window >= self.read + REREAD_WINDOWS
                    && addresses
                        .iter()
                        .any(|address| symbols.find(*address).is_none())
            }
        };
        if !stale {
            return;
        }
        self.read = self.window;
        self.build_ids.clear();
        self.modules = modules::read().unwrap_or_default();
        let ranges = modules::parse(&self.modules);
        let symbols = read_list(ranges).unwrap_or_default();
        if symbols.hidden() {
            losses.add(Degradation::KernelSymbolsHidden, 1);
        }
        self.symbols = Some(symbols);
    }

    /// The name of the function at `address`, after [`Self::prepare`].
    pub(super) fn name(&self, address: KernelAddress) -> Option<&str> {
        Some(self.symbols.as_ref()?.find(address)?.name)
    }

    /// The mapping of `address`: `[kernel]`, or the module in brackets.
    pub(super) fn mapping(&mut self, address: KernelAddress) -> Mapping {
        let symbols = self.symbols.as_ref();
        let module = symbols.and_then(|symbols| symbols.find(address)?.module);
        let (start, limit) = match (module, symbols.and_then(Kallsyms::text)) {
            (None, Some(text)) => text,
            _ => (0, 0),
        };
        let name = module.unwrap_or("");
        let build_id = match self.build_ids.get(name) {
            Some(known) => *known,
            None => {
                let id = build_id(name);
                self.build_ids.insert(name.into(), id);
                id
            }
        };
        Mapping {
            file: match module {
                Some(module) => Arc::from(format!("[{module}]")),
                None => Arc::from(Mark::Kernel.name()),
            },
            memory_start: start,
            memory_limit: limit,
            file_offset: 0,
            build_id,
            htl_hash: None,
        }
    }

    /// Ends a window.
    pub(super) const fn end_window(&mut self) {
        self.window += 1;
    }
}

fn read_list(modules: HashMap<Box<str>, Range<u64>>) -> std::io::Result<Kallsyms> {
    let mut reader =
        BufReader::with_capacity(64 << 10, File::open("/proc/kallsyms")?.take(MAX_LIST));
    let mut builder = KallsymsBuilder::default();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        builder.line(line.trim_end());
        line.clear();
    }
    Ok(builder.finish(modules))
}

/// The build id of the kernel (empty name) or of a module.
fn build_id(module: &str) -> Option<BuildId> {
    let path = if module.is_empty() {
        "/sys/kernel/notes".to_owned()
    } else if module
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        format!("/sys/module/{module}/notes/.note.gnu.build-id")
    } else {
        return None;
    };
    let mut notes = Vec::new();
    File::open(path)
        .ok()?
        .take(64 << 10)
        .read_to_end(&mut notes)
        .ok()?;
    note::build_id(&notes, 4)
}

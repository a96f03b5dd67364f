//! What is kept of a file between windows.

use std::fs::File;
use std::sync::Arc;

use gimli::SectionId;
use hashbrown::HashMap;

use super::debug_file;
use super::image::ElfImage;
use crate::profile::{Executable, Losses};
use crate::symbolize::budget::Budget;
use crate::symbolize::dwarf::DwarfIndex;
use crate::symbolize::go::GoCode;

/// What is kept of a file.
#[derive(Debug)]
pub(super) struct KnownFile {
    pub(super) debug_info: DebugInfo,
    /// The file that the debug information shares parts with others through.
    pub(super) supplementary: Option<File>,
    pub(super) index: Option<DwarfIndex>,
    /// Its Go code; looked for first.
    pub(super) go: GoCode,
    /// The file in `.gnu_debugdata`; looked for when a symbol is missed first.
    pub(super) mini: Option<Option<Box<[u8]>>>,
    /// Sections that are compressed in the file.
    pub(super) decompressed: HashMap<(bool, SectionId), Arc<[u8]>>,
    /// Batches that the budget ended.
    pub(super) overruns: u8,
    /// Window that asked for it last.
    pub(super) window: u64,
}

/// Where a file's debug information is.
#[derive(Debug)]
pub(super) enum DebugInfo {
    /// In the file.
    Own,
    /// In a file of its own.
    Separate(File),
    /// Nowhere.
    Absent,
    /// It is there, but too large, or not readable: not looked at again.
    Refused,
}

impl KnownFile {
    /// Looks for what is kept first.
    pub(super) fn new(
        executable: &Executable,
        image: &ElfImage<'_>,
        debug_info: bool,
        losses: &mut Losses,
        budget: &mut Budget<'_>,
    ) -> Self {
        let debug_info = if !debug_info {
            DebugInfo::Absent
        } else if image.has_debug_info() {
            DebugInfo::Own
        } else {
            debug_file::find(executable, image, budget)
                .map_or(DebugInfo::Absent, DebugInfo::Separate)
        };
        Self {
            debug_info,
            supplementary: None,
            index: None,
            go: GoCode::find(image.data, losses),
            mini: None,
            decompressed: HashMap::new(),
            overruns: 0,
            window: 0,
        }
    }

    /// Leaves the debug information alone from now on.
    pub(super) fn refuse(&mut self) {
        self.debug_info = DebugInfo::Refused;
        self.decompressed = HashMap::new();
        self.index = None;
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let sections: usize = self.decompressed.values().map(|bytes| bytes.len()).sum();
        let mini = self
            .mini
            .iter()
            .flatten()
            .map(|bytes| bytes.len())
            .sum::<usize>();
        sections + mini + self.index.as_ref().map_or(0, DwarfIndex::bytes)
    }
}

//! A mapping as it is published.

use std::sync::Arc;

use profiler_common::layout::MappingEntry;
use profiler_common::layout::process::NO_TABLE;

use super::tables::Loaded;
use crate::profile::{Executable, ExecutableId, ExecutableMapping, MappingKind, mapping_bias};

/// A range of a process's address space that is a file's code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PublishedMapping {
    pub(super) start: u64,
    end: u64,
    pub(super) executable: ExecutableId,
    /// Added (wrapping) to a pc it gives the file's own address.
    bias: u64,
}

impl PublishedMapping {
    /// What is published of a mapping; `None` where it is of no file's code.
    pub(super) fn of(mapping: &ExecutableMapping) -> Option<Self> {
        let MappingKind::File { executable, offset } = &mapping.kind else {
            return None;
        };
        let executable: &Arc<Executable> = executable;
        Some(Self {
            start: mapping.range.start.0,
            end: mapping.range.end.0,
            executable: executable.id,
            bias: mapping_bias(&executable.segments, &mapping.range, *offset)?,
        })
    }

    /// In the kernel side's layout.
    pub(super) fn entry(&self, table: Option<&Loaded>) -> MappingEntry {
        MappingEntry {
            start: self.start,
            end: self.end,
            bias: table.map_or(0, |table| self.bias.wrapping_sub(table.start.0)),
            table: table.map_or(NO_TABLE, |table| table.place().0),
            pages: table.map_or(0, |table| table.pages),
        }
    }
}

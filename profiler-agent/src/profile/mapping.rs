//! Executable ranges of a process's address space.

use std::ops::Range;
use std::sync::Arc;

use super::{Executable, FileOffset, VirtualAddress};

/// What a mapping is a mapping of.
#[derive(Clone, Debug)]
pub enum MappingKind {
    /// A file, deleted file, memfd or the vDSO.
    File {
        /// The file.
        executable: Arc<Executable>,
        /// Where in the file the mapping starts.
        offset: FileOffset,
    },
    /// Anonymous executable memory: JIT code.
    Anonymous,
}

/// One executable mapping.
#[derive(Clone, Debug)]
pub struct ExecutableMapping {
    /// Its addresses.
    pub range: Range<VirtualAddress>,
    /// Its content.
    pub kind: MappingKind,
}

//! What a file says beside where its code is and how its stacks are walked.

use crate::elf::MappedFile;
use crate::go::{self, LineTable, Runtime};
use crate::profile::Executable;
use crate::thread_local;

/// What a file says that is no unwind table.
#[derive(Clone, Debug, Default)]
pub struct FileFacts {
    /// Its Go runtime.
    pub go: Option<Runtime>,
    /// Its variables of thread contexts.
    pub variables: thread_local::Facts,
}

impl FileFacts {
    /// Reads the facts of a file; `go` is its line table, where it has Go code.
    pub(super) fn read(executable: &Executable, go: Option<(&MappedFile, &LineTable<'_>)>) -> Self {
        let Some(file) = &executable.file else {
            return Self::default();
        };
        let path = executable.path.escape_debug();
        let variables = thread_local::facts_of(file).unwrap_or_else(|absent| {
            tracing::debug!(%absent, %path, "no variables of thread contexts");
            thread_local::Facts::default()
        });
        let facts = Self {
            go: go.and_then(|(file, lines)| go_runtime(file, lines)),
            variables,
        };
        if facts.matters() {
            tracing::debug!(path = %executable.path.escape_debug(), ?facts, "a runtime");
        }
        facts
    }

    /// Does it say nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.matters() && self.variables.interpreter.is_none()
    }

    /// Does it say something by itself, not only together with another file?
    pub(super) fn matters(&self) -> bool {
        self.go.is_some() || !self.variables.is_empty()
    }
}

fn go_runtime(file: &MappedFile, lines: &LineTable<'_>) -> Option<Runtime> {
    let runtime = go::runtime_of(file, lines);
    if file.truncated() {
        return None;
    }
    runtime
}

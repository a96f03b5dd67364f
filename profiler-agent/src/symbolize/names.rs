//! Frames with shared, readable names.

use std::sync::Arc;

use hashbrown::HashMap;
use profiler_common::unwind::Outcome;

use super::demangle::{self, Mangling};
use super::strings::Strings;
use crate::profile::{FrameName, FrameType, LocationKind, ResolvedFrames, SourceLine, mark};

/// Makes names: each string once, each symbol demangled once a window.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) strings: Strings,
    demangled: HashMap<Arc<str>, (Arc<str>, Mangling)>,
}

impl Names {
    /// The frame of a function with this raw symbol name.
    pub(super) fn function(
        &mut self,
        raw: &str,
        source: Option<SourceLine>,
        start_line: u32,
    ) -> (FrameName, Mangling) {
        let (name, system_name, mangling) = self.symbol(raw);
        let frame = FrameName {
            name,
            system_name,
            source,
            start_line,
        };
        (frame, mangling)
    }

    fn symbol(&mut self, raw: &str) -> (Arc<str>, Arc<str>, Mangling) {
        if let Some((system_name, (name, mangling))) = self.demangled.get_key_value(raw) {
            return (Arc::clone(name), Arc::clone(system_name), *mangling);
        }
        let (name, mangling) = demangle::demangle(raw);
        let name = self.strings.intern(&name);
        let system_name = self.text(raw);
        self.demangled
            .insert(Arc::clone(&system_name), (Arc::clone(&name), mangling));
        (name, system_name, mangling)
    }

    /// A raw name, as its bytes are in a file.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Arc<str> {
        let bytes = &bytes[..bytes.len().min(demangle::MAX_RAW)];
        self.strings.intern(&String::from_utf8_lossy(bytes))
    }

    /// Interns an untrusted string: bounded, without control characters.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        self.strings.intern(&demangle::readable(text.into()))
    }

    /// A location with one function and no source.
    pub(super) fn single(&mut self, raw: &str, frame_type: FrameType) -> ResolvedFrames {
        let (frame, mangling) = self.function(raw, None, 0);
        ResolvedFrames {
            frames: Arc::from([frame]),
            frame_type: match (frame_type, mangling) {
                (FrameType::Native, Mangling::Rust) => FrameType::Rust,
                _ => frame_type,
            },
            kind: LocationKind::Named,
            wrapper: false,
        }
    }

    /// A location without a name, called `name`.
    pub(super) fn unnamed(&mut self, name: &str, frame_type: FrameType) -> ResolvedFrames {
        let name = self.text(name);
        ResolvedFrames {
            frames: Arc::from([FrameName {
                system_name: Arc::clone(&name),
                name,
                source: None,
                start_line: 0,
            }]),
            frame_type,
            kind: LocationKind::Unnamed,
            wrapper: false,
        }
    }

    /// Stands where the walk of a stack ended short of the root.
    pub(super) fn stack_end(&mut self, outcome: Outcome) -> ResolvedFrames {
        ResolvedFrames {
            kind: LocationKind::StackEnd(outcome),
            ..self.unnamed(&mark::end_of_stack(outcome), FrameType::Native)
        }
    }

    /// Ends a window: forgets what was demangled.
    pub(super) fn end_window(&mut self) {
        self.demangled = HashMap::new();
    }
}

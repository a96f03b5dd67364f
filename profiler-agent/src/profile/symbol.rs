//! Names of locations.

use std::sync::Arc;

use profiler_common::layout::Interpreter;
use profiler_common::unwind::Outcome;

use super::mark::end_of_stack;

/// `profile.frame.type` of OpenTelemetry's semantic conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameType {
    /// Kernel code.
    Kernel,
    /// Compiled code of no more precise kind.
    Native,
    /// Go.
    Go,
    /// Rust.
    Rust,
    /// CPython.
    Cpython,
    /// A Java virtual machine's code.
    Jvm,
    /// V8's JavaScript.
    V8js,
}

impl FrameType {
    /// Every type, in order of declaration.
    pub const ALL: [Self; 7] = [
        Self::Kernel,
        Self::Native,
        Self::Go,
        Self::Rust,
        Self::Cpython,
        Self::Jvm,
        Self::V8js,
    ];

    /// The type of an interpreter's frames.
    #[must_use]
    pub const fn of_interpreter(interpreter: Interpreter) -> Self {
        match interpreter {
            Interpreter::Cpython => Self::Cpython,
            Interpreter::Hotspot => Self::Jvm,
            Interpreter::V8 => Self::V8js,
        }
    }

    /// The attribute's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Native => "native",
            Self::Go => "go",
            Self::Rust => "rust",
            Self::Cpython => "cpython",
            Self::Jvm => "jvm",
            Self::V8js => "v8js",
        }
    }
    /// The frame type with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a location stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LocationKind {
    /// Code whose function has a name.
    Named,
    /// Code whose function has none: it is called by its file and address, or by what is known of it (`[jit]`).
    Unnamed,
    /// No code: the walk of the stack ended here, short of the root.
    StackEnd(Outcome),
}

impl LocationKind {
    /// Is it code whose function has a name?
    #[must_use]
    pub const fn is_named(self) -> bool {
        matches!(self, Self::Named)
    }
    /// The outcome whose [`end_of_stack`] has this name.
    #[must_use]
    pub fn stack_end_of_name(name: &str) -> Option<Outcome> {
        let mut ends = Outcome::ALL.into_iter().filter(|end| !end.complete());
        ends.find(|end| end_of_stack(*end) == name)
    }
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceLine {
    /// Path as the compiler recorded it.
    pub file: Arc<str>,
    /// Line, from 1; 0 where unknown.
    pub line: u32,
    /// Column, from 1; 0 where unknown.
    pub column: u32,
}

/// One function at a location.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FrameName {
    /// Demangled name.
    pub name: Arc<str>,
    /// Name as the symbol table has it; equal to `name` where nothing was mangled.
    pub system_name: Arc<str>,
    /// Where, if known.
    pub source: Option<SourceLine>,
    /// Line on which the function starts; 0 where unknown.
    pub start_line: u32,
}

/// What is at a location: its function and the functions inlined into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedFrames {
    /// Innermost inlined function first, the function that has the code last. Never empty: a
    /// location without a name gets one like `libfoo.so+0x1a2b`.
    pub frames: Arc<[FrameName]>,
    /// What kind of code.
    pub frame_type: FrameType,
    /// Whether its function has a name, or what it stands for.
    pub kind: LocationKind,
    /// Was it made by a compiler, to call another function in another way? Stacks leave it out.
    pub wrapper: bool,
}

#[cfg(test)]
mod tests {
    use super::{LocationKind, Outcome, end_of_stack};

    #[test]
    fn names_of_stack_ends_lead_back_to_their_outcomes() {
        for end in Outcome::ALL {
            let name = end_of_stack(end);
            let read = LocationKind::stack_end_of_name(&name);
            assert_eq!(read, (!end.complete()).then_some(end), "{name}");
        }
        for other in [
            "[unwind: truncated]",
            "[jit]",
            "truncated",
            "[truncated",
            "",
        ] {
            assert_eq!(LocationKind::stack_end_of_name(other), None, "{other}");
        }
    }
}

//! Names of locations.

use std::sync::Arc;

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
        [
            Self::Kernel,
            Self::Native,
            Self::Go,
            Self::Rust,
            Self::Cpython,
            Self::Jvm,
            Self::V8js,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
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
    /// Does it have a real name (not one made of file and offset)?
    pub named: bool,
    /// Was it made by a compiler, to call another function in another way? Stacks leave it out.
    pub wrapper: bool,
}

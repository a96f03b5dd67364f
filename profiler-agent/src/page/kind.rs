//! The kinds of code that the page tells apart by colour.

use crate::profile::{FrameType, Location, LocationKind, Mapping};

/// A kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    /// The whole, a service or a thread: no code.
    Group,
    /// Kernel code.
    Kernel,
    /// Compiled code of an executable.
    Native,
    /// Compiled code of a shared library.
    Library,
    /// Rust.
    Rust,
    /// Go.
    Go,
    /// CPython.
    Cpython,
    /// A Java virtual machine's code.
    Jvm,
    /// V8's JavaScript.
    V8js,
    /// Code without a name.
    Unnamed,
    /// Stands where the walk stopped short of the root.
    Broken,
}

impl Kind {
    /// Every kind, by number.
    pub(super) const ALL: [Self; 11] = [
        Self::Group,
        Self::Kernel,
        Self::Native,
        Self::Library,
        Self::Rust,
        Self::Go,
        Self::Cpython,
        Self::Jvm,
        Self::V8js,
        Self::Unnamed,
        Self::Broken,
    ];

    /// The kind's name in answers.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Kernel => "kernel",
            Self::Native => "native",
            Self::Library => "library",
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Cpython => "cpython",
            Self::Jvm => "jvm",
            Self::V8js => "v8js",
            Self::Unnamed => "unnamed",
            Self::Broken => "broken",
        }
    }

    /// The kind of a location that lies in `mapping`.
    #[must_use]
    pub(super) fn of(location: &Location, mapping: Option<&Mapping>) -> Self {
        match location.kind {
            LocationKind::Named => {}
            LocationKind::Unnamed => return Self::Unnamed,
            LocationKind::StackEnd(_) => return Self::Broken,
        }
        match location.frame_type {
            FrameType::Kernel => Self::Kernel,
            FrameType::Native if mapping.is_some_and(|found| is_library(&found.file)) => {
                Self::Library
            }
            FrameType::Native => Self::Native,
            FrameType::Rust => Self::Rust,
            FrameType::Go => Self::Go,
            FrameType::Cpython => Self::Cpython,
            FrameType::Jvm => Self::Jvm,
            FrameType::V8js => Self::V8js,
        }
    }
}

/// Does the path name a shared library (`libfoo.so`, `libfoo.so.6`) or the vDSO?
fn is_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "[vdso]" || name.ends_with(".so") || name.contains(".so.")
}

#[cfg(test)]
mod tests {
    use super::{Kind, is_library};

    #[test]
    fn kinds_are_numbered_in_order() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }

    #[test]
    fn libraries_are_told_by_their_names() {
        for library in ["/lib/x86_64-linux-gnu/libc.so.6", "plugin.so", "[vdso]"] {
            assert!(is_library(library), "{library}");
        }
        for other in ["/usr/bin/so", "/opt/a.so.d/server", "/usr/bin/sort"] {
            assert!(!is_library(other), "{other}");
        }
    }
}

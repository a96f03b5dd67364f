//! What files do not say of themselves.

use crate::profile::{FrameType, LocationKind};

/// The name of a location that has none: `libfoo.so+0x1a2b`.
pub(in crate::export) fn made_up_name(mapping: Option<&str>, address: u64) -> String {
    match mapping.map(last_component) {
        Some(name) if !name.is_empty() => format!("{name}+{address:#x}"),
        _ => format!("{address:#x}"),
    }
}

/// Was the name made of mapping and address?
fn is_made_up(name: &str, mapping: Option<&str>) -> bool {
    let prefix = mapping.map_or("", last_component);
    let address = match name.strip_prefix(prefix) {
        Some(rest) => rest.strip_prefix('+').unwrap_or(rest),
        None => name,
    };
    let digits = address.strip_prefix("0x").unwrap_or("");
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a location has a name, or what it stands for, by what it is called: the formats do not say.
pub(in crate::export) fn location_kind_of(name: &str, mapping: Option<&str>) -> LocationKind {
    let is_bracketed = name.starts_with('[') && name.ends_with(']');
    let end = || LocationKind::stack_end_of_name(name).filter(|_| mapping.is_none());
    match is_bracketed.then(end).flatten() {
        Some(end) => LocationKind::StackEnd(end),
        None if is_bracketed || is_made_up(name, mapping) => LocationKind::Unnamed,
        None => LocationKind::Named,
    }
}

/// The kind of code, by its mapping and its source file.
pub(in crate::export) fn frame_type_of(mapping: Option<&str>, source: &str) -> FrameType {
    if mapping.is_some_and(|file| file.starts_with("[kernel") || file.ends_with(".ko")) {
        return FrameType::Kernel;
    }
    match source.rsplit_once('.') {
        Some((_, "go")) => FrameType::Go,
        Some((_, "rs")) => FrameType::Rust,
        Some((_, "py")) => FrameType::Cpython,
        Some((_, "java" | "kt" | "scala")) => FrameType::Jvm,
        Some((_, "js" | "mjs" | "ts")) => FrameType::V8js,
        _ => FrameType::Native,
    }
}

fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The bytes that hexadecimal digits stand for.
pub(in crate::export) fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    const LONGEST: usize = 128;
    let digits = hexadecimal.as_bytes();
    if digits.len() > LONGEST || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use profiler_common::unwind::Outcome;

    use super::*;

    #[test]
    fn made_up_names_are_told_from_real_ones() {
        let library = Some("/usr/lib/libfoo.so");
        assert_eq!(made_up_name(library, 0x1a2b), "libfoo.so+0x1a2b");
        assert_eq!(made_up_name(None, 0x1a2b), "0x1a2b");
        for (name, made_up) in [
            ("libfoo.so+0x1a2b", true),
            ("0x1a2b", true),
            ("libbar.so+0x1a2b", false),
            ("libfoo.so+0x", false),
            ("main", false),
            ("", false),
        ] {
            assert_eq!(is_made_up(name, library), made_up, "{name}");
        }
    }

    #[test]
    fn names_in_brackets_are_no_functions() {
        let library = Some("/usr/lib/libfoo.so");
        let end = LocationKind::StackEnd(Outcome::NoRule);
        for (name, mapping, kind) in [
            ("[unwind: no_rule]", None, end),
            ("[unwind: no_rule]", library, LocationKind::Unnamed),
            ("[unwind: root]", None, LocationKind::Unnamed),
            ("[jit]", library, LocationKind::Unnamed),
            ("libfoo.so+0x1a2b", library, LocationKind::Unnamed),
            ("[]int", None, LocationKind::Named),
            ("main", library, LocationKind::Named),
        ] {
            assert_eq!(location_kind_of(name, mapping), kind, "{name} {mapping:?}");
        }
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(bytes_of("00fF"), Some(vec![0, 255]));
        for text in ["0", "0g", "+1", "é0"] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }
}

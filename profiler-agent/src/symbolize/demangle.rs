//! From a symbol's name to the name that a person knows the function by.
//!
//! Only a name that carries a mangling prefix is demangled: `_R` (Rust v0), `_ZN..17h<16 hex>E`
//! (Rust legacy), `_Z` (Itanium C++). The C functions `a`, `b` and `d` stay what they are, though
//! they would be valid C++ type encodings. Names come from strangers: input, recursion and output
//! are bounded, and control characters (which would break line-based formats) are replaced.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Bytes of a symbol's name that are looked at.
pub(super) const MAX_RAW: usize = 4096;
/// Bytes of a demangled name.
const MAX_NAME: usize = 1024;
/// Nesting of a mangled C++ name.
const MAX_DEPTH: u32 = 96;

/// Which mangling a name had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mangling {
    /// None: C, assembly, or a language that exports plain names.
    None,
    /// C++.
    Cpp,
    /// Rust.
    Rust,
}

/// The mangling that the name's form states.
pub(super) fn mangling(raw: &str) -> Mangling {
    let v0 = raw.strip_prefix("_R").is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
    });
    if v0 || raw.starts_with("_ZN") && has_legacy_hash(raw) {
        Mangling::Rust
    } else if raw.starts_with("_Z") {
        Mangling::Cpp
    } else {
        Mangling::None
    }
}

/// Does the name end in `17h<16 hexadecimal digits>E` (suffixes of clones removed)?
fn has_legacy_hash(raw: &str) -> bool {
    let name = raw.split('.').next().unwrap_or(raw).as_bytes();
    let Some(tail) = name.len().checked_sub(20).map(|start| &name[start..]) else {
        return false;
    };
    tail.starts_with(b"17h") && tail[19] == b'E' && tail[3..19].iter().all(u8::is_ascii_hexdigit)
}

/// The readable form of a raw symbol name, and its mangling.
pub(super) fn demangle(raw: &str) -> (Cow<'_, str>, Mangling) {
    let raw = cut(raw, MAX_RAW);
    let (base, stub) = without_version(raw);
    let base = without_clone_suffixes(base);
    let mangling = mangling(base);
    let name = match mangling {
        Mangling::Rust => rust(base),
        Mangling::Cpp => cpp(base),
        Mangling::None => None,
    };
    let name = name.map_or(Cow::Borrowed(base), Cow::Owned);
    let name = if stub.is_empty() {
        name
    } else {
        Cow::Owned(format!("{name}{stub}"))
    };
    (readable(name), mangling)
}

/// The name bounded and without control characters, otherwise as it is.
pub(super) fn readable(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.len() <= MAX_NAME && !name.chars().any(char::is_control) {
        return name;
    }
    let mut clean: String = cut(&name, MAX_NAME)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if name.len() > MAX_NAME {
        clean.push_str("...");
    }
    Cow::Owned(clean)
}

fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// `memcpy@@GLIBC_2.14` is `memcpy`; a name that starts with `@` stays, and so does `malloc@plt`.
fn without_version(raw: &str) -> (&str, &str) {
    match raw.find('@') {
        Some(position) if position > 0 => match &raw[position..] {
            stub @ "@plt" => (&raw[..position], stub),
            _ => (&raw[..position], ""),
        },
        _ => (raw, ""),
    }
}

/// Removes what compilers append to a function's copies and parts (`f.constprop.0.cold` is `f`).
fn without_clone_suffixes(raw: &str) -> &str {
    const SUFFIXES: [&str; 10] = [
        "cold",
        "part",
        "constprop",
        "isra",
        "lto_priv",
        "llvm",
        "localalias",
        "clone",
        "warm",
        "hot",
    ];
    let mut name = raw;
    loop {
        let numberless = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let stem = match numberless.strip_suffix('.') {
            Some(stem) if numberless.len() < name.len() => stem,
            _ => name,
        };
        let shorter = SUFFIXES
            .iter()
            .find_map(|suffix| stem.strip_suffix(suffix)?.strip_suffix('.'));
        match shorter {
            Some(shorter) if !shorter.is_empty() => name = shorter,
            _ => return name,
        }
    }
}

fn rust(base: &str) -> Option<String> {
    let demangled = rustc_demangle::try_demangle(base).ok()?;
    bounded(|out| write!(out, "{demangled:#}"))
}

fn cpp(base: &str) -> Option<String> {
    let parse = cpp_demangle::ParseOptions::default().recursion_limit(MAX_DEPTH);
    let symbol = cpp_demangle::BorrowedSymbol::new_with_options(base.as_bytes(), &parse).ok()?;
    let options = cpp_demangle::DemangleOptions::new()
        .no_return_type()
        .recursion_limit(MAX_DEPTH);
    bounded(|out| symbol.structured_demangle(out, &options))
}

/// What `write` writes, cut at the limit; `None` when it failed before.
fn bounded(write: impl FnOnce(&mut Bounded) -> fmt::Result) -> Option<String> {
    let mut out = Bounded(String::new());
    let done = write(&mut out);
    (done.is_ok() || out.0.len() > MAX_NAME).then_some(out.0)
}

/// Fails once it holds more than a name may have, which ends a demangling that would grow
/// exponentially.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(cut(text, MAX_NAME + 1));
        if self.0.len() > MAX_NAME {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(raw: &str) -> String {
        demangle(raw).0.into_owned()
    }

    #[test]
    fn c_names_are_no_type_encodings() {
        for raw in [
            "a", "b", "c", "d", "f", "i", "St", "main", "_start", "R", "_Rust", "Z3foov", "_",
        ] {
            assert_eq!(demangle(raw), (Cow::Borrowed(raw), Mangling::None));
        }
    }

    #[test]
    fn rust_names_lose_their_hash() {
        assert_eq!(
            demangle("_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE"),
            ("core::fmt::Formatter::write_str".into(), Mangling::Rust)
        );
        assert_eq!(
            demangle("_RNvCs1234_7mycrate3foo"),
            ("mycrate::foo".into(), Mangling::Rust)
        );
        assert_eq!(
            name("_ZN3foo28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE.llvm.4711"),
            "foo::{{closure}}"
        );
    }

    #[test]
    fn cpp_names_are_not_taken_for_rust() {
        assert_eq!(
            demangle("_ZN3foo3barEv"),
            ("foo::bar()".into(), Mangling::Cpp)
        );
        assert_eq!(demangle("_ZN3foo3barE"), ("foo::bar".into(), Mangling::Cpp));
        assert_eq!(name("_Z1fIiET_S0_"), "f<int>(int)");
        assert_eq!(
            name("_ZNSt6vectorIiSaIiEE9push_backERKi"),
            "std::vector<int, std::allocator<int> >::push_back(int const&)"
        );
    }

    #[test]
    fn copies_and_parts_carry_the_function_s_name() {
        assert_eq!(name("f.constprop.0.cold"), "f");
        assert_eq!(name("f.part.0"), "f");
        assert_eq!(name("f.isra.12"), "f");
        assert_eq!(name("_ZN3foo3barEv.cold"), "foo::bar()");
        assert_eq!(name("memcpy@@GLIBC_2.14"), "memcpy");
        assert_eq!(name("read@GLIBC_2.2.5"), "read");
        assert_eq!(name("malloc@plt"), "malloc@plt");
        assert_eq!(name("_ZN3foo3barEv@plt"), "foo::bar()@plt");
        assert_eq!(name("@odd"), "@odd");
        assert_eq!(name("main.main"), "main.main");
        assert_eq!(name("main.func1.2"), "main.func1.2");
        assert_eq!(name(".cold"), ".cold");
        assert_eq!(name(""), "");
    }

    #[test]
    fn hostile_names_are_bounded() {
        let deep = format!("_Z1f{}i", "P".repeat(100_000));
        assert!(name(&deep).len() <= MAX_NAME + 3);
        let long = "x".repeat(1 << 20);
        assert!(name(&long).len() <= MAX_NAME + 3);
        // Each substitution doubles the text.
        let mut doubling = String::from("_Z1fIiE1xIS_S_E");
        for index in 0..40 {
            doubling.push_str(&format!("1xIS{0}_S{0}_E", char::from(b'0' + (index % 10))));
        }
        assert!(name(&doubling).len() <= MAX_NAME + 3);
        assert_eq!(
            name("line\nbreak\u{1b}[31m"),
            "line\u{fffd}break\u{fffd}[31m"
        );
    }
}

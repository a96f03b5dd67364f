//! From a symbol's name to the name that a person knows the function by.
//!
//! Only a name that carries a mangling prefix is demangled: `_R` (Rust v0), `_ZN..17h<16 hex>E`
//! (Rust legacy), `_Z` (Itanium C++); and names with the escapes of Rust's legacy mangling alone, which is
//! what a C++ demangler leaves of one: `_$LT$core..slice..iter..Iter$LT$T$GT$$GT$::next::h<16 hex>`. The C functions `a`, `b` and `d` stay what they are, though
//! they would be valid C++ type encodings. Names are untrusted: input, recursion and output
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
    if v0 || raw.starts_with("_ZN") && has_legacy_hash(raw) || has_legacy_escapes(raw) {
        Mangling::Rust
    } else if raw.starts_with("_Z") {
        Mangling::Cpp
    } else {
        Mangling::None
    }
}

/// Does the name end in `17h<16 hexadecimal digits>E` (suffixes of clones removed)? Its path may hold
/// points too: `..` stands for `::` within an element.
fn has_legacy_hash(raw: &str) -> bool {
    let ends = |(at, _): (usize, &str)| {
        let tail = &raw.as_bytes()[at + 3..];
        let hash = tail.first_chunk::<16>();
        hash.is_some_and(|hash| hash.iter().all(u8::is_ascii_hexdigit))
            && tail.get(16) == Some(&b'E')
            && tail.get(17).is_none_or(|behind| *behind == b'.')
    };
    raw.rmatch_indices("17h").any(ends)
}

/// Is this a path with the escapes of Rust's legacy mangling, but without its `_ZN` and `E`? Every `$`
/// must belong to a known escape, and an element of the path starts with one, or there are brackets that
/// meet.
fn has_legacy_escapes(raw: &str) -> bool {
    if !raw.contains('$') || raw.starts_with("_Z") {
        return false;
    }
    let mut depth = 0_u32;
    let mut brackets = false;
    let mut parts = raw.split('$');
    let mut plain = parts.next();
    while let Some(text) = plain {
        let path = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:".contains(byte);
        if !text.as_bytes().iter().all(path) {
            return false;
        }
        let Some(escape) = parts.next() else {
            break;
        };
        match escape {
            "LT" => (depth, brackets) = (depth + 1, true),
            // `->` of a function's type.
            "GT" if text.ends_with('.') => {}
            "GT" if depth > 0 => depth -= 1,
            "SP" | "BP" | "RF" | "LP" | "RP" | "C" => {}
            _ if escape.strip_prefix('u').is_some_and(is_printable) => {}
            _ => return false,
        }
        // An escape that nothing closes.
        let Some(next) = parts.next() else {
            return false;
        };
        plain = Some(next);
    }
    depth == 0 && (brackets || raw.starts_with("_$") || raw.contains("::_$"))
}

/// Are these the hexadecimal digits of a character that can be shown?
fn is_printable(digits: &str) -> bool {
    let number = u32::from_str_radix(digits, 16).ok();
    let character = number.and_then(char::from_u32);
    character.is_some_and(|character| !character.is_control())
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
    let whole = if base.starts_with("_ZN") || base.starts_with("_R") {
        Cow::Borrowed(base)
    } else {
        Cow::Owned(wrapped(base))
    };
    let demangled = rustc_demangle::try_demangle(&whole).ok()?;
    bounded(|out| write!(out, "{demangled:#}"))
}

/// The mangled name of a path that lost its `_ZN`, its elements' lengths, and its `E`.
fn wrapped(path: &str) -> String {
    let is_hash = |element: &&str| {
        let digits = element.strip_prefix('h');
        digits.is_some_and(|digits| {
            digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    let elements = path.split("::").filter(|element| !is_hash(element));
    let mut mangled = String::from("_ZN");
    for element in elements.chain(["h0000000000000000"]) {
        // Writing to a String cannot fail.
        let _ = write!(mangled, "{}{element}", element.len());
    }
    mangled.push('E');
    mangled
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
    fn rust_paths_with_points_are_not_taken_for_cpp() {
        assert_eq!(
            demangle(
                "_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h0123456789abcdefE"
            ),
            (
                "core::ptr::drop_in_place<alloc::string::String>".into(),
                Mangling::Rust
            )
        );
        assert_eq!(
            name(
                "_ZN91_$LT$core..slice..iter..Iter$LT$T$GT$$u20$as$u20$core..iter..traits..iterator..Iterator$GT$4next17h0123456789abcdefE.llvm.99"
            ),
            "<core::slice::iter::Iter<T> as core::iter::traits::iterator::Iterator>::next"
        );
        assert_eq!(mangling("_ZN3foo3barE17h"), Mangling::Cpp);
    }

    #[test]
    fn rust_paths_without_their_wrapping_are_read() {
        let iterator = "_$LT$core..slice..iter..Iter$LT$T$GT$$u20$as$u20$core..iter..traits..iterator..Iterator$GT$";
        let readable = "<core::slice::iter::Iter<T> as core::iter::traits::iterator::Iterator>";
        assert_eq!(demangle(iterator), (readable.into(), Mangling::Rust));
        assert_eq!(
            name(&format!("{iterator}::next")),
            format!("{readable}::next")
        );
        assert_eq!(
            name(&format!("{iterator}::next::h0123456789abcdef")),
            format!("{readable}::next")
        );
        assert_eq!(name("_$LT$$RF$T$GT$::fmt"), "<&T>::fmt");
        assert_eq!(
            name("core::ptr::drop_in_place$LT$alloc..string..String$GT$::h0123456789abcdef"),
            "core::ptr::drop_in_place<alloc::string::String>"
        );
        assert_eq!(
            name("foo::_$u7b$$u7b$closure$u7d$$u7d$"),
            "foo::{{closure}}"
        );
        assert_eq!(name("_$u7b$$u7b$closure$u7d$$u7d$"), "{{closure}}");
        assert_eq!(
            name("_$LT$fn$LP$$RP$$u20$.$GT$$u20$T$GT$::f").find('$'),
            None
        );
    }

    #[test]
    fn other_names_with_dollars_stay() {
        for raw in [
            "$",
            "_$",
            "_$_",
            "$LT$",
            "a$b$c",
            "Outer$Inner",
            "java.util.Map$Entry",
            "_$LT$",
            "_$LT$x$GT",
            "_$GT$x$LT$",
            "_$XX$x",
            "f$GT$",
            "lambda$main$0",
            "a$RF$b",
            "_$u0$",
            "_$LT$a b$GT$",
            "_$LT$\u{e9}$GT$",
            "_$LT$T$GT$$uzz$",
        ] {
            assert_eq!(demangle(raw), (Cow::Borrowed(raw), Mangling::None), "{raw}");
        }
        let deep = format!("_{}{}", "$LT$".repeat(5_000), "$GT$".repeat(5_000));
        assert!(name(&deep).len() <= MAX_NAME + 3);
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

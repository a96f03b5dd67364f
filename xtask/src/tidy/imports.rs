//! What a statement imports, however it is written.

/// A path that a statement names, and from where on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) from: From,
    /// Its names; `*` is none.
    pub(super) names: Vec<String>,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// At the crate's root.
    Root,
    /// So many modules above the one that names it.
    Above(usize),
}

/// The statements of a source without comments, each on one line: imports may span lines.
pub(super) fn statements(code: &str) -> impl Iterator<Item = String> {
    code.split(';').map(|statement| {
        let mut words = String::with_capacity(statement.len());
        for word in statement.split_whitespace() {
            words.push_str(word);
            words.push(' ');
        }
        words
    })
}

/// The paths of a statement that begin with `crate` or `super`.
pub(super) fn paths(statement: &str) -> Vec<Path> {
    const ABOVE: &str = "super::";
    let mut found = Vec::new();
    let mut named = |from, rest: &str| {
        let mut all = Vec::new();
        expand(rest, &[], &mut all);
        found.extend(all.into_iter().map(|names| Path { from, names }));
    };
    for (at, _) in statement.match_indices("crate::") {
        if begins(&statement[..at]) {
            named(From::Root, &statement[at + "crate::".len()..]);
        }
    }
    for (at, _) in statement.match_indices(ABOVE) {
        if begins(&statement[..at]) {
            let mut rest = &statement[at..];
            let mut above = 0;
            while let Some(behind) = rest.strip_prefix(ABOVE) {
                rest = behind;
                above += 1;
            }
            named(From::Above(above), rest);
        }
    }
    found
}

/// Does a path begin behind this?
fn begins(before: &str) -> bool {
    let last = before.chars().next_back();
    !last.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
}

/// Adds the paths of a path or of a braced list of paths, each behind `before`.
fn expand(path: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let path = path.trim_start();
    if let Some(list) = path.strip_prefix('{') {
        for part in parts(list) {
            expand(part, before, found);
        }
        return;
    }
    let name: String = path
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let mut names = before.to_vec();
    let rest = path[name.len()..].strip_prefix("::");
    if !name.is_empty() {
        names.push(name);
    }
    match rest {
        Some(rest) => expand(rest, &names, found),
        None => found.push(names),
    }
}

/// The parts of a list, up to its closing brace.
fn parts(list: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut level, mut start) = (0_u32, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => level += 1,
            '}' if level == 0 => {
                parts.push(&list[start..at]);
                return parts;
            }
            '}' => level -= 1,
            ',' if level == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart() {
        let said = |statement: &str| -> Vec<(From, String)> {
            let found = paths(statement).into_iter();
            found
                .map(|path| (path.from, path.names.join("::")))
                .collect()
        };
        let root = |path: &str| (From::Root, path.to_owned());
        assert_eq!(
            said("use crate::{a::{b, c::D}, e::*, f}"),
            [root("a::b"), root("a::c::D"), root("e"), root("f")]
        );
        assert_eq!(
            said("fn f(a: super::super::b::C<crate::d::E>)"),
            [root("d::E"), (From::Above(2), "b::C".to_owned())]
        );
        assert_eq!(said("use other_crate::a; mycrate::b; x::super::y"), []);
        assert_eq!(said("use crate::{a, b"), [root("a")]);
    }
}

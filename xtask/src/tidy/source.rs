//! A Rust source without its comments and literals.

use std::path::Path;

/// A source file.
pub(super) struct Source<'a> {
    /// Its path in the workspace.
    pub(super) path: &'a Path,
    /// All of it.
    pub(super) text: &'a str,
    /// The same lines with comments and what strings and characters hold left out.
    pub(super) code: String,
    /// What strings hold, with the line that each begins at.
    pub(super) literals: Vec<(usize, &'a str)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        let (code, literals) = separate(text);
        Self {
            path,
            text,
            code,
            literals,
        }
    }
}

/// Code and strings. Code keeps line breaks, so that line numbers stay right.
fn separate(text: &str) -> (String, Vec<(usize, &str)>) {
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let mut is_text = false;
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest, &code) {
            is_text = true;
            length
        } else if first == '"' {
            is_text = true;
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            line += usize::from(first == '\n');
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (left_out, behind) = rest.split_at(skipped);
        if is_text {
            literals.push((line, left_out));
        }
        let breaks = left_out.chars().filter(|c| *c == '\n');
        code.extend(breaks.clone());
        line += breaks.count();
        rest = behind;
    }
    (code, literals)
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of the raw string that `rest` starts with; `before` ends what is kept so far.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    if before
        .chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() || c == '_')
    {
        // The `r` ends an identifier, unless it is the `b` of a raw byte string.
        if !before.ends_with('b') {
            return None;
        }
    }
    let hashes = rest.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    let body = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(1 + count + 1 + length)
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// A quote starts a character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::separate;

    fn code(text: &str) -> String {
        separate(text).0
    }

    #[test]
    fn strings_are_kept_with_their_lines() {
        let text = "f(\"a\");\n// \"b\"\nf(r#\"c\nd\"#, 'e',\n \"f\")";
        let literals = separate(text).1;
        assert_eq!(literals, [(1, "\"a\""), (3, "r#\"c\nd\"#"), (5, "\"f\"")]);
    }

    #[test]
    fn comments_and_literals_are_left_out_and_lines_kept() {
        assert_eq!(code("a // b\nc"), "a \nc");
        assert_eq!(code("a /* b /* c */ \n d */ e"), "a \n e");
        assert_eq!(code(r#"f("a\"b", c)"#), "f(, c)");
        assert_eq!(code("f(r#\"a\"b\"#, c)"), "f(, c)");
        assert_eq!(code("f(br\"a\", c)"), "f(b, c)");
        assert_eq!(code("f('\\'', '\"', c)"), "f(, , c)");
        assert_eq!(
            code("fn f<'a>(x: &'a str) -> &'a str"),
            "fn f<'a>(x: &'a str) -> &'a str"
        );
    }

    #[test]
    fn what_does_not_end_is_cut() {
        assert_eq!(code("a \"b"), "a ");
        assert_eq!(code("a /* b"), "a ");
        assert_eq!(code("a r#\"b"), "a ");
    }
}

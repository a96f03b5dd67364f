//! Texts as they may be shown on a terminal.
//!
//! Names of processes, threads, functions, files and labels are untrusted. A control character in one would move the cursor,
//! recolour or retitle the terminal, or paste into it; an override of direction would show a text in another order than it has.
//! Each such character becomes `\u001b`, four hexadecimal digits, which in a JSON text stands for the character itself.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Is it a character that shows nothing and changes what is shown? Tabs are none.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    match character {
        '\t' => false,
        // Marks, embeddings, overrides and isolates of direction; separators that some terminals break lines at.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        _ => character.is_control(),
    }
}

/// One line: `text` with its hidden characters written out, ends of lines among them.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_hidden(character) {
            // Writing to a string does not fail. All of them are in the first plane.
            true => _ = write!(shown, "\\u{:04x}", u32::from(character)),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Several lines, whose ends are meant: each as [`plain`] has it.
#[must_use]
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|character| character != '\n' && is_hidden(character)) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(plain).collect();
    Cow::Owned(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::example::HOSTILE;

    #[test]
    fn what_commands_a_terminal_is_written_out() {
        for (text, line, lines) in [
            ("main", "main", "main"),
            ("naïve\tλ 🦀", "naïve\tλ 🦀", "naïve\tλ 🦀"),
            (
                "\u{1b}]0;title\u{7}",
                "\\u001b]0;title\\u0007",
                "\\u001b]0;title\\u0007",
            ),
            ("a\nb\r\n", "a\\u000ab\\u000d\\u000a", "a\nb\\u000d\n"),
            ("\u{9b}31m\u{7f}", "\\u009b31m\\u007f", "\\u009b31m\\u007f"),
            (
                "\u{202e}cba\u{2069}",
                "\\u202ecba\\u2069",
                "\\u202ecba\\u2069",
            ),
        ] {
            assert_eq!(plain(text), line);
            assert_eq!(plain_lines(text), lines);
        }
        for name in HOSTILE {
            assert!(!plain(name).contains(is_hidden), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text: String) {
            prop_assert!(!plain(&text).contains(is_hidden));
            let lines = plain_lines(&text);
            prop_assert!(!lines.contains(|character| character != '\n' && is_hidden(character)));
            prop_assert_eq!(lines.matches('\n').count(), text.matches('\n').count());
        }

        #[test]
        fn json_stays_the_same(text: String, hidden in "[\u{7f}-\u{9f}\u{2028}-\u{202e}\\\\\"]{0,20}") {
            let value = serde_json::json!({"key": [text, hidden]});
            let json = value.to_string();
            let shown = plain(&json);
            prop_assert!(!shown.contains(is_hidden));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}

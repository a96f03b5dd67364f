//! What receivers say, for a log.

use crate::profile::plain::is_hidden;

/// Longest text that is kept.
const MAX: usize = 512;

/// Untrusted text on one line, without characters that are hidden, cut where it is long.
pub(super) fn shortened(bytes: &[u8]) -> String {
    // No character is longer than 4 bytes.
    let cut = &bytes[..bytes.len().min(MAX * 4)];
    let text = String::from_utf8_lossy(cut);
    let words = text
        .split(|character: char| is_hidden(character) || character.is_whitespace())
        .filter(|word| !word.is_empty());
    let mut short = String::new();
    for word in words {
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
    }
    if let Some((end, _)) = short.char_indices().nth(MAX) {
        short.truncate(end);
        short.push_str("..");
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_hidden, shortened};

    #[test]
    fn text_is_one_line() {
        assert_eq!(
            shortened(b" no\r\n\tsuch \x1b[31mtenant\0"),
            "no such [31mtenant"
        );
        assert_eq!(
            shortened("no\u{202e}tnanet\u{2069}".as_bytes()),
            "no tnanet"
        );
        let long = shortened("\u{e9}".repeat(10_000).as_bytes());
        assert_eq!(long.chars().count(), 514);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
            let text = shortened(&bytes);
            prop_assert!(text.chars().count() <= 514 && !text.contains(is_hidden));
        }
    }
}

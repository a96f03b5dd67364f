//! A destination's name as the name of a file.

use std::fmt::Write as _;

/// Bytes of a name that are kept as they are.
const MOST_KEPT: usize = 80;

/// The name of the file of the destination with this name: the same for ever, another one for each destination.
#[must_use]
pub fn file_name(destination: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let mut name: String = destination
        .bytes()
        .take(MOST_KEPT)
        .map(|byte| if safe(byte) { char::from(byte) } else { '-' })
        .collect();
    if name.starts_with('.') {
        name.replace_range(..1, "-");
    }
    if name != destination || name.is_empty() {
        // What was changed may have become the name of another: 128 bits of its digest tell them apart.
        use sha2::Digest as _;
        name.push('-');
        for byte in &sha2::Sha256::digest(destination.as_bytes())[..16] {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
    }
    name + ".redb"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::file_name;

    #[test]
    fn plain_names_stay() {
        assert_eq!(file_name("otlp-eu.1"), "otlp-eu.1.redb");
    }

    #[test]
    fn no_name_leaves_the_directory_or_meets_another() {
        let long = "x".repeat(300);
        let names = [
            "",
            ".",
            "..",
            "../a",
            "-/a",
            "a/b",
            "a:b",
            "a-b",
            "\u{e4}",
            "a\0",
            ".a",
            &long,
            &long[1..],
        ];
        let files: BTreeSet<String> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(files.len(), names.len());
        for file in files {
            assert!(
                file.len() < 200 && !file.contains('/') && !file.starts_with('.'),
                "{file}"
            );
        }
    }
}

//! Versions of Go.

use std::fmt;

/// A version of Go, as far as layouts depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u16,
    /// The second number: layouts change with it.
    pub minor: u16,
    /// The third number; 0 where there is none.
    pub patch: u16,
}

impl Version {
    /// Reads `go1.21.13`, `go1.27rc1`, `go1.24.1 X:boringcrypto` or `devel go1.28-0123abc Mon ..`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("devel ").unwrap_or(text);
        let mut numbers = text.strip_prefix("go")?.splitn(3, '.');
        let major = leading_number(numbers.next()?)?;
        let minor = leading_number(numbers.next()?)?;
        let patch = numbers.next().and_then(leading_number).unwrap_or(0);
        Some(Self {
            major,
            minor,
            patch,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "go{}.{}.{}", self.major, self.minor, self.patch)
    }
}

fn leading_number(text: &str) -> Option<u16> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_version_is_read() {
        let version = |major, minor, patch| {
            Some(Version {
                major,
                minor,
                patch,
            })
        };
        for (text, expected) in [
            ("go1.21.13", version(1, 21, 13)),
            ("go1.27", version(1, 27, 0)),
            ("go1.27rc1", version(1, 27, 0)),
            ("go1.24.1 X:boringcrypto", version(1, 24, 1)),
            ("go1.20.5-custom", version(1, 20, 5)),
            (
                "devel go1.28-0123abc Mon Jan 2 15:04:05 2006",
                version(1, 28, 0),
            ),
            ("devel +0123abc", None),
            ("go", None),
            ("go1.99999999.1", None),
            ("unknown", None),
        ] {
            assert_eq!(Version::parse(text), expected, "{text}");
        }
    }
}

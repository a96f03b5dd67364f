//! Ids as people write them.

use std::fmt::Write as _;

/// Bytes as lower-case digits.
#[must_use]
pub fn text_of(bytes: &[u8]) -> String {
    let text = String::with_capacity(bytes.len() * 2);
    bytes.iter().fold(text, |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Exactly `BYTES` bytes from digits of either case.
#[must_use]
pub fn bytes_of<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    if text.len() != BYTES * 2 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{bytes_of, text_of};

    #[test]
    fn bytes_and_their_digits() {
        assert_eq!(text_of(&[0x0a, 0xf7, 0]), "0af700");
        assert_eq!(bytes_of(b"0aF700"), Some([0x0a, 0xf7, 0]));
        for wrong in ["0af70", "0af7000", "0af70g", "+af700", ""] {
            assert_eq!(bytes_of::<3>(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

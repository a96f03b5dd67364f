//! Letters of aarch64 in augmentation strings, which the parser of call frame information does not know: `B` (return
//! addresses are signed with key B) and `G` (the frame is tagged). Neither has data, and neither matters here.
//!
//! They are taken out in place, so that no offset changes: the alignment factor behind the string, a number of seven
//! bits, is written with as many bytes more.

use super::entries::{Lengths, Origin};

const WITHOUT_MEANING: [u8; 2] = [b'B', b'G'];
/// The longest string that is looked at.
const MAX_STRING: usize = 16;

/// Rewrites every common information entry of a section that has such letters.
pub(super) fn normalize(bytes: &mut [u8], origin: Origin) {
    let entries: Vec<usize> = Lengths::new(bytes, origin, false)
        .filter(|entry| entry.is_common)
        .map(|entry| entry.body)
        .collect();
    for body in entries {
        normalize_entry(&mut bytes[body..]);
    }
}

/// Rewrites the entry whose id starts `body`; `None` when there is nothing to rewrite.
fn normalize_entry(body: &mut [u8]) -> Option<()> {
    // The id and the version, in which later ones have more fields.
    let version = *body.get(4)?;
    if version != 1 && version != 3 {
        return None;
    }
    let text = body.get(5..)?;
    let length = text
        .iter()
        .take(MAX_STRING)
        .position(|letter| *letter == 0)?;
    let kept: Vec<u8> = text[..length]
        .iter()
        .copied()
        .filter(|letter| !WITHOUT_MEANING.contains(letter))
        .collect();
    let removed = length - kept.len();
    let factor = *text.get(length + 1)?;
    if removed == 0 || factor >= 0x80 {
        return None;
    }
    let place = &mut body[5..][..length + 2];
    place[..kept.len()].copy_from_slice(&kept);
    place[kept.len()] = 0;
    // LEB128: more bytes follow, which add nothing.
    let number = &mut place[kept.len() + 1..];
    number.fill(0x80);
    number[0] |= factor;
    number[removed] = 0;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(string: &[u8], factor: u8) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, 1];
        body.extend(string);
        body.extend([0, factor, 0x78, 30]);
        let _ = normalize_entry(&mut body);
        body.split_off(5)
    }

    #[test]
    fn letters_without_meaning_become_bytes_of_the_factor() {
        assert_eq!(normalized(b"zR", 4), *b"zR\0\x04\x78\x1e");
        assert_eq!(normalized(b"zRB", 4), *b"zR\0\x84\x00\x78\x1e");
        assert_eq!(normalized(b"zRBSG", 1), *b"zRS\0\x81\x80\x00\x78\x1e");
        // A factor of more than seven bits.
        assert_eq!(normalized(b"zRB", 0x84), *b"zRB\0\x84\x78\x1e");
    }

    #[test]
    fn what_is_cut_off_stays() {
        for length in 0..12 {
            let mut body = b"\0\0\0\0\x01zRB\0\x04\x78\x1e"[..length].to_vec();
            let before = body.clone();
            let rewritten = normalize_entry(&mut body).is_some();
            assert_eq!(rewritten, length >= 10, "{length}");
            assert!(rewritten || body == before);
        }
    }
}

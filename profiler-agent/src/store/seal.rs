//! A check value behind bytes: the database notices damage to its own pages when it opens, not to what lies in them.

/// FNV-1a: each step maps different states to different states, so that no single damaged byte goes unnoticed.
fn check(bytes: &[u8]) -> [u8; 4] {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, fold).to_le_bytes()
}

/// Appends the check value of all bytes so far.
pub(super) fn seal(bytes: &mut Vec<u8>) {
    let check = check(bytes);
    bytes.extend(check);
}

/// The bytes without their check value; `None` where they are damaged.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (bytes, sealed) = bytes.split_last_chunk::<4>()?;
    (check(bytes) == *sealed).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{seal, unseal};

    #[test]
    fn every_damaged_byte_is_noticed() {
        let mut sealed = b"what is kept".to_vec();
        seal(&mut sealed);
        assert_eq!(unseal(&sealed), Some(&b"what is kept"[..]));
        for place in 0..sealed.len() {
            for change in 1..=255 {
                sealed[place] ^= change;
                assert_eq!(unseal(&sealed), None, "byte {place}");
                sealed[place] ^= change;
            }
        }
        assert_eq!(unseal(&[]), None);
    }
}

//! ELF notes as the kernel shows them: `/sys/kernel/notes`.

use crate::profile::BuildId;

/// `NT_GNU_BUILD_ID` (ELF specification of GNU, note name `GNU`).
const NT_GNU_BUILD_ID: u32 = 3;

/// The GNU build id among `notes`, each name size, descriptor size, type (native u32), name and
/// descriptor padded to 4 bytes.
pub(in crate::symbolize) fn build_id(mut notes: &[u8]) -> Option<BuildId> {
    loop {
        let (name_size, rest) = word(notes)?;
        let (descriptor_size, rest) = word(rest)?;
        let (kind, rest) = word(rest)?;
        let (name, rest) = padded(rest, name_size)?;
        let (descriptor, rest) = padded(rest, descriptor_size)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return BuildId::new(descriptor);
        }
        notes = rest;
    }
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_ne_bytes(*word), rest))
}

fn padded(bytes: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    let size = size as usize;
    let (field, _) = bytes.split_at_checked(size)?;
    let end = size.checked_next_multiple_of(4)?.min(bytes.len());
    Some((field, &bytes[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_id_behind_other_notes() {
        let mut notes = Vec::new();
        let mut note = |kind: u32, name: &[u8], descriptor: &[u8]| {
            for word in [name.len() as u32, descriptor.len() as u32, kind] {
                notes.extend(word.to_ne_bytes());
            }
            for field in [name, descriptor] {
                notes.extend(field);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        };
        note(1, b"Linux\0", &[1, 2, 3]);
        note(NT_GNU_BUILD_ID, b"GNU\0", &[0xab; 20]);
        assert_eq!(build_id(&notes).unwrap().as_bytes(), [0xab; 20]);
        for length in 0..notes.len() - 1 {
            assert_eq!(build_id(&notes[..length]), None);
        }
    }
}

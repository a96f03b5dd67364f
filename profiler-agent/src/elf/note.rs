//! Notes: of segments and sections of files, and as the kernel shows its own (`/sys/kernel/notes`).

use object::LittleEndian as LE;
use object::elf::{self, NoteHeader32};
use object::pod;

use crate::profile::BuildId;

/// Notes that are looked at.
const MAX_NOTES: usize = 1_024;

/// A note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'n> {
    /// Who says what the type means, with its final zero.
    pub owner: &'n [u8],
    /// The owner's number of what is said.
    pub kind: u32,
    /// What is said.
    pub description: &'n [u8],
}

/// Notes one after the other: sizes of owner and description and the type (u32 each), then both, each padded.
#[derive(Clone, Debug)]
pub struct Notes<'n> {
    rest: &'n [u8],
    align: usize,
    left: usize,
}

impl<'n> Notes<'n> {
    /// The notes that are `bytes`, padded to `align`: 8 for a few, else 4.
    #[must_use]
    pub const fn new(bytes: &'n [u8], align: u64) -> Self {
        Self {
            rest: bytes,
            align: if align == 8 { 8 } else { 4 },
            left: MAX_NOTES,
        }
    }
}

impl<'n> Iterator for Notes<'n> {
    type Item = Note<'n>;

    fn next(&mut self) -> Option<Note<'n>> {
        self.left = self.left.checked_sub(1)?;
        let bytes = self.rest;
        let (header, _) = pod::from_bytes::<NoteHeader32<LE>>(bytes).ok()?;
        let start = size_of::<NoteHeader32<LE>>();
        let owner_end = start.checked_add(usize::try_from(header.n_namesz.get(LE)).ok()?)?;
        let description = owner_end.checked_next_multiple_of(self.align)?;
        let end = description.checked_add(usize::try_from(header.n_descsz.get(LE)).ok()?)?;
        let note = Note {
            owner: bytes.get(start..owner_end)?,
            kind: header.n_type.get(LE).0,
            description: bytes.get(description..end)?,
        };
        // The last one need not be padded.
        let next = end.checked_next_multiple_of(self.align)?;
        self.rest = bytes.get(next..).unwrap_or(&[]);
        Some(note)
    }
}

/// The GNU build id among these notes.
#[must_use]
pub fn build_id(notes: &[u8], align: u64) -> Option<BuildId> {
    let mut notes = Notes::new(notes, align);
    let found = notes.find(|note| note.kind == elf::NT_GNU_BUILD_ID.0 && note.owner == b"GNU\0")?;
    BuildId::new(found.description)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, owner: &[u8], description: &[u8], align: usize) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [owner.len() as u32, description.len() as u32, kind] {
            note.extend(word.to_le_bytes());
        }
        for field in [owner, description] {
            note.extend(field);
            note.resize(note.len().next_multiple_of(align), 0);
        }
        note
    }

    #[test]
    fn the_id_is_found_behind_other_notes() {
        for (align, length) in [(4, 20), (8, 20), (4, 8), (4, 64)] {
            let id = vec![0xab; length];
            let notes = [
                note(1, b"Linux\0", &[1, 2, 3], align),
                note(elf::NT_GNU_BUILD_ID.0, b"Go\0\0", &[1], align),
                note(elf::NT_GNU_BUILD_ID.0, b"GNU\0", &id, align),
            ]
            .concat();
            let found = |notes: &[u8]| build_id(notes, align as u64);
            assert_eq!(found(&notes).unwrap().as_bytes(), id);
            for cut in 0..notes.len() - length.next_multiple_of(align) {
                assert_eq!(found(&notes[..cut]), None);
            }
        }
    }

    #[test]
    fn the_last_note_need_not_be_padded() {
        let mut notes = note(elf::NT_GNU_BUILD_ID.0, b"GNU\0", &[7; 5], 4);
        notes.truncate(notes.len() - 3);
        assert_eq!(build_id(&notes, 4).unwrap().as_bytes(), [7; 5]);
        notes.pop();
        assert_eq!(build_id(&notes, 4), None);
    }

    #[test]
    fn sizes_that_wrap_and_endless_notes_end() {
        let mut notes = note(1, b"x\0\0\0", &[], 4);
        notes[..8].fill(0xff);
        assert_eq!(Notes::new(&notes, 4).count(), 0);
        let empty = vec![0; 12 * 5_000];
        assert_eq!(Notes::new(&empty, 4).count(), MAX_NOTES);
    }
}

use std::collections::HashMap;

use super::super::file::Slot;
use super::*;

/// Words by address.
struct Words(HashMap<u64, u64>);

impl Words {
    fn of(words: &[(u64, u64)]) -> Self {
        Self(words.iter().copied().collect())
    }
}

impl ReadAt for Words {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        for (index, bytes) in into.chunks_mut(8).enumerate() {
            let Some(word) = self.0.get(&at.wrapping_add(8 * index as u64)) else {
                return false;
            };
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
        true
    }
}

const BIAS: u64 = 0x7f00_0000_0000;
const SLOT: u64 = BIAS + 0x3000;
const LIBRARY: Role = Role::Library { bias: BIAS };
/// Something that thread-local storage of this machine can lie at.
const DISTANCE: i64 = if cfg!(target_arch = "aarch64") {
    0x50
} else {
    -0x50
};

fn declared(kinds: &[SlotKind]) -> Declared {
    Declared {
        offset: 0x20,
        in_program: -0x88,
        slots: kinds
            .iter()
            .map(|kind| Slot {
                kind: *kind,
                address: 0x3000,
            })
            .collect(),
    }
}

fn fixed_at(offset: i64) -> ThreadLocal {
    ThreadLocal {
        kind: ThreadLocal::STATIC,
        offset,
        ..ThreadLocal::default()
    }
}

fn block_of(module: u64, offset: i64) -> ThreadLocal {
    ThreadLocal {
        kind: ThreadLocal::DYNAMIC,
        offset,
        module,
        ..ThreadLocal::default()
    }
}

#[track_caller]
fn check(kind: SlotKind, words: &[(u64, u64)], expected: Result<ThreadLocal, Unresolved>) {
    let found = place(&declared(&[kind]), LIBRARY, &Words::of(words));
    assert_eq!(found, expected);
}

#[test]
fn a_program_asks_no_memory() {
    let found = place(&declared(&[]), Role::Program, &Words::of(&[]));
    assert_eq!(found, Ok(fixed_at(-0x88)));
}

#[test]
fn the_dynamic_linker_noted_a_distance() {
    let kind = SlotKind::ThreadPointerOffset;
    check(kind, &[(SLOT, DISTANCE as u64)], Ok(fixed_at(DISTANCE)));
    for unfinished in [0, 0x7fff_0000_0000, i64::MIN as u64] {
        check(kind, &[(SLOT, unfinished)], Err(Unresolved::NotYet));
    }
    check(kind, &[], Err(Unresolved::Unreadable));
}

#[test]
fn the_dynamic_linker_noted_module_and_offset() {
    let kind = SlotKind::ModuleAndOffset;
    check(kind, &[(SLOT, 3), (SLOT + 8, 0x20)], Ok(block_of(3, 0x20)));
    for (module, offset) in [(0, 0x20), (1 << 40, 0x20), (3, 1 << 40)] {
        let words = [(SLOT, module), (SLOT + 8, offset)];
        check(kind, &words, Err(Unresolved::NotYet));
    }
    // The module alone: the offset is the file's own.
    check(SlotKind::OwnModule, &[(SLOT, 5)], Ok(block_of(5, 0x20)));
}

#[test]
fn a_descriptor_has_a_distance_or_the_address_of_a_pair() {
    let kind = SlotKind::Descriptor;
    let resolver = (SLOT, 0x7f00_1234_5678);
    let pair = 0x5500_0000_1000;
    check(
        kind,
        &[resolver, (SLOT + 8, DISTANCE as u64)],
        Ok(fixed_at(DISTANCE)),
    );
    check(
        kind,
        &[resolver, (SLOT + 8, pair), (pair, 2), (pair + 8, 0x40)],
        Ok(block_of(2, 0x40)),
    );
    // Not resolved: no resolver yet, or one that is given a place in the file.
    check(kind, &[(SLOT, 0), (SLOT + 8, 0)], Err(Unresolved::NotYet));
    check(
        kind,
        &[resolver, (SLOT + 8, pair), (pair, pair), (pair + 8, pair)],
        Err(Unresolved::NotYet),
    );
    check(kind, &[resolver], Err(Unresolved::Unreadable));
}

#[test]
fn a_slot_that_says_nothing_leaves_the_next_one() {
    let mut declared = declared(&[SlotKind::ThreadPointerOffset, SlotKind::OwnModule]);
    declared.slots[0].address = 0x2000;
    let memory = Words::of(&[(BIAS + 0x2000, 0), (SLOT, 4)]);
    assert_eq!(place(&declared, LIBRARY, &memory), Ok(block_of(4, 0x20)));
    declared.slots = Box::default();
    let found = place(&declared, LIBRARY, &memory);
    assert_eq!(found, Err(Unresolved::NoSlot));
}

fn library(kind: SlotKind) -> Facts {
    Facts {
        thread_context: Some(declared(&[kind])),
        ..Facts::default()
    }
}

fn program(interpreter: Option<CLibrary>) -> Facts {
    Facts {
        interpreter,
        ..Facts::default()
    }
}

#[test]
fn a_block_is_found_by_the_vector_of_the_c_library() {
    let library = library(SlotKind::OwnModule);
    let memory = Words::of(&[(SLOT, 2)]);
    for (interpreter, stride) in [(CLibrary::Gnu, 16), (CLibrary::Musl, 8)] {
        let program = program(Some(interpreter));
        let files = [(&program, Role::Program), (&library, LIBRARY)];
        let resolved = resolve(files.into_iter(), &memory);
        assert!(!resolved.is_empty() && !resolved.is_pending());
        let mut entry = RuntimeEntry::default();
        resolved.write(&mut entry);
        assert_eq!(entry.thread_context, block_of(2, 0x20));
        assert_eq!(entry.elastic, ThreadLocal::default());
        assert_eq!(entry.vector_stride, stride);
    }
    let resolved = resolve([(&library, LIBRARY)].into_iter(), &memory);
    assert!(resolved.is_empty() && resolved.is_pending());
    let program = program(None);
    let files = [(&program, Role::Program), (&library, LIBRARY)];
    let resolved = resolve(files.into_iter(), &memory);
    assert!(resolved.is_empty() && !resolved.is_pending());
    let reasons: Vec<_> = resolved.unresolved().collect();
    assert_eq!(reasons, [(Variable::ThreadContext, Unresolved::CLibrary)]);
}

#[test]
fn the_program_comes_before_its_libraries() {
    let library = library(SlotKind::ThreadPointerOffset);
    let memory = Words::of(&[(SLOT, DISTANCE as u64)]);
    let program = Facts {
        thread_context: Some(declared(&[])),
        ..program(Some(CLibrary::Gnu))
    };
    for files in [
        [(&program, Role::Program), (&library, LIBRARY)],
        [(&library, LIBRARY), (&program, Role::Program)],
    ] {
        let resolved = resolve(files.into_iter(), &memory);
        assert_eq!(resolved.thread_context, Place::At(fixed_at(-0x88)));
    }
}

#[test]
fn what_is_not_there_yet_is_looked_for_again() {
    let library = library(SlotKind::ThreadPointerOffset);
    let program = program(Some(CLibrary::Gnu));
    let files = [(&program, Role::Program), (&library, LIBRARY)];
    let resolved = resolve(files.into_iter(), &Words::of(&[(SLOT, 0)]));
    assert!(resolved.is_empty() && resolved.is_pending());
    let resolved = resolve(files.into_iter(), &Words::of(&[]));
    assert!(resolved.is_empty() && !resolved.is_pending());
}

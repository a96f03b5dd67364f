//! Where contexts of `makecontext` end on x86_64: glibc's `__start_context`, which the function of a context returns to.
//!
//! Nobody calls it, so the look-up of the return address minus one finds what lies before it; and its call frame information, that of
//! a function that was called, is wrong. No symbol of a stripped library names it: it is known by its instructions, which are looked
//! for where an entry is as long.

use object::elf::PF_X;
use profiler_common::unwind::Rule;

use super::code::Code;
use super::elf::{Image, Machine};
use super::entries::{Entry, Origin};
use super::supplement::Supplement;
use crate::elf::Source;

/// `mov %rbx,%rsp; mov (%rsp),%rdi; test %rdi,%rdi; je`.
const INSTRUCTIONS: &[u8] = &[
    0x48, 0x89, 0xdc, 0x48, 0x8b, 0x3c, 0x24, 0x48, 0x85, 0xff, 0x74,
];
/// Bytes of the function: behind those, `setcontext` and `exit` are called.
const LENGTH: u32 = 26;
/// Bytes from its beginning to that of the next function at most: it may look after a shadow stack first.
const MOST: u32 = 64;
/// Functions in assembly begin at a multiple of this.
const ALIGNMENT: u32 = 16;
/// Files with more code than this are no C library.
const MAX_CODE_BYTES: u64 = 4 << 20;
/// Bytes that are read at a time.
const WINDOW: u64 = 64 << 10;

/// Rules for the function that is found among `entries`, in order of address.
pub(super) fn search<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    code: &Code,
    entries: &[Entry],
) -> Vec<Supplement> {
    let executable = image.loads.iter().filter(|load| load.allows(PF_X));
    let bytes: u64 = executable.map(|load| load.place.length).sum();
    if image.machine != Machine::X86_64 || bytes > MAX_CODE_BYTES {
        return Vec::new();
    }
    let (mut from, mut window) = (0, Vec::new());
    for pair in entries.windows(2) {
        let [one, next] = pair else { continue };
        let fits = (LENGTH..=MOST).contains(&(next.start - one.start));
        let described = matches!(one.origin(), Origin::Exception | Origin::Debug);
        if !described || one.start % ALIGNMENT != 0 || !fits {
            continue;
        }
        let address = code.start + u64::from(one.start);
        let mut at = address.wrapping_sub(from);
        if at.saturating_add(INSTRUCTIONS.len() as u64) > window.len() as u64 {
            let Some(bytes) = image.code(source, address, WINDOW) else {
                continue;
            };
            (from, window, at) = (address, bytes.into_owned(), 0);
        }
        let found = window.get(at as usize..);
        if found.is_some_and(|code| code.starts_with(INSTRUCTIONS)) {
            return vec![
                Supplement {
                    address: address.saturating_sub(1),
                    length: 1,
                    rule: Rule::CONTEXT,
                },
                Supplement {
                    address,
                    length: LENGTH,
                    rule: Rule::END_OF_STACK,
                },
            ];
        }
    }
    Vec::new()
}

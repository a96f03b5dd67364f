//! Signal trampolines without call frame information: musl's and Go's on x86_64, the vDSO's on
//! aarch64. They are recognised by their instructions, as debuggers do. (glibc's has
//! information of its own.) So is where threads begin in musl's `clone` on aarch64: the thread ends when what was
//! called returns, and its frame pointer is that of the thread that made it.
//!
//! The kernel calls a signal handler with the trampoline's address as return address, so no call
//! precedes it, and the look-up of the return address minus one must find the rule as well:
//! it holds from one byte before. While the system call is at work, the pc is that of the byte behind it: it
//! holds there too.
//!
//! What the function of a context of Boost.Context returns to is such code as well; that of glibc's has information of its own
//! (see `context`).

use std::borrow::Cow;
use std::ops::Range;

use object::elf::PF_X;
use profiler_common::unwind::table::{BUCKET_BITS, PAGE_BITS, Row};
use profiler_common::unwind::{Aarch64, Architecture, CfaKind, Rule, SavedKind, X86_64};

use super::base_register::BaseRegister;
use super::elf::{Image, Machine};
use super::interner::RuleInterner;
use super::supplement::Supplement;
use crate::elf::Source;
use crate::profile::UnwindTable;

/// `mov $15, %rax; syscall`: `rt_sigreturn` is 15.
const X86_64_INSTRUCTIONS: &[u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
/// `mov x8, #139; svc #0`: `rt_sigreturn` is 139.
const AARCH64_INSTRUCTIONS: &[u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4];

/// `blr x1; mov x8, #93; svc #0`: `exit` is 93.
const AARCH64_THREAD: &[u8] = &[
    0x20, 0, 0x3f, 0xd6, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0, 0, 0xd4,
];

/// Most bytes that are searched in one file.
const MAX_SEARCHED: u64 = 64 << 20;
/// Most trampolines of one file.
const MAX_FOUND: usize = 64;
/// Bytes that are read at a time.
const WINDOW: u64 = 1 << 16;
/// In files with more code than this, gaps that are no longer than the padding of aligned functions
/// are not searched: every page of the file would be read for them.
const SMALL_FILE: u64 = 4 << 20;
const ALIGNMENT: u64 = 16;

/// Code of known shape.
struct Shape {
    instructions: &'static [u8],
    /// What follows behind one byte more.
    then: &'static [u8],
    rule: Rule,
    /// From where on, from its beginning, the rule holds.
    from: i8,
    /// Bytes that the rule holds for.
    length: u8,
}

/// Between the system calls `clone` and `clone3` of glibc on x86_64 and their `ret`, where its call frame information ends:
/// `syscall; test %rax,%rax; jl`, then `je` over a `ret`.
const X86_64_CLONE: &[u8] = &[0x0f, 0x05, 0x48, 0x85, 0xc0, 0x7c];
const X86_64_CLONE_RETURNS: &[u8] = &[0x74, 0x01, 0xc3];
/// The end of `make_fcontext` of Boost.Context on x86_64, `push %rbp; jmp *%rbx; xor %rdi,%rdi; call _exit`: the function of a
/// context is jumped to, and returns to what follows that jump.
const X86_64_FINISH: &[u8] = &[0x55, 0xff, 0xe3, 0x48, 0x31, 0xff, 0xe8];
/// Nothing was pushed.
const X86_64_CALLED: Rule = Rule {
    cfa_register: X86_64::STACK_POINTER,
    cfa_offset: 8,
    return_address: SavedKind::AtCfa as u8,
    return_address_offset: -8,
    ..Rule::of(CfaKind::Register)
};

const X86_64_SHAPES: &[Shape] = &[
    Shape {
        instructions: X86_64_INSTRUCTIONS,
        then: &[],
        rule: rule(Machine::X86_64, BaseRegister::Rbx),
        from: -1,
        length: X86_64_INSTRUCTIONS.len() as u8 + 2,
    },
    Shape {
        instructions: X86_64_CLONE,
        then: X86_64_CLONE_RETURNS,
        rule: X86_64_CALLED,
        from: 0,
        length: (X86_64_CLONE.len() + 1 + X86_64_CLONE_RETURNS.len()) as u8,
    },
    Shape {
        instructions: X86_64_FINISH,
        then: &[],
        rule: Rule::CONTEXT,
        from: 2,
        length: X86_64_FINISH.len() as u8 - 2,
    },
];
const AARCH64_SHAPES: &[Shape] = &[
    Shape {
        instructions: AARCH64_INSTRUCTIONS,
        then: &[],
        rule: rule(Machine::Aarch64, BaseRegister::Rbx),
        from: -1,
        length: AARCH64_INSTRUCTIONS.len() as u8 + 2,
    },
    Shape {
        instructions: AARCH64_THREAD,
        then: &[],
        rule: Rule::END_OF_STACK,
        from: 0,
        length: AARCH64_THREAD.len() as u8,
    },
];

const fn shapes(machine: Machine) -> &'static [Shape] {
    match machine {
        Machine::X86_64 => X86_64_SHAPES,
        Machine::Aarch64 => AARCH64_SHAPES,
    }
}

/// The rule of a trampoline, by the offsets of the saved registers from the stack pointer.
///
/// `base` is the base register on x86_64. There the stack pointer points to the `ucontext`; `uc_mcontext` is at 40, its registers are
/// r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip (`struct sigcontext_64`,
/// arch/x86/include/uapi/asm/sigcontext.h). aarch64: it points to the `siginfo` of 128
/// bytes, the `ucontext` behind it has `uc_mcontext` at 176: fault address, x0 to x30, sp, pc
/// (arch/arm64/include/uapi/asm/{ucontext,sigcontext}.h).
pub(super) const fn rule(machine: Machine, base: BaseRegister) -> Rule {
    const AARCH64_REGISTERS: i32 = 128 + 176 + 8;
    let (stack_pointer, return_address, frame_pointer, base_register, register) = match machine {
        Machine::X86_64 => {
            let base_register = match base {
                BaseRegister::Rbx => 128,
                BaseRegister::R12 => 72,
            };
            (160, 168, 120, base_register, X86_64::STACK_POINTER)
        }
        Machine::Aarch64 => (
            AARCH64_REGISTERS + 8 * 31,
            AARCH64_REGISTERS + 8 * 32,
            AARCH64_REGISTERS + 8 * Aarch64::FRAME_POINTER as i32,
            AARCH64_REGISTERS + 8 * Aarch64::BASE_REGISTER as i32,
            Aarch64::STACK_POINTER,
        ),
    };
    Rule {
        cfa_register: register,
        cfa_offset: stack_pointer,
        return_address: SavedKind::AtStackPointer as u8,
        return_address_offset: return_address,
        frame_pointer: SavedKind::AtStackPointer as u8,
        frame_pointer_offset: frame_pointer,
        base_register: SavedKind::AtStackPointer as u8,
        base_register_offset: base_register,
        signal: 1,
        ..Rule::of(CfaKind::Dereference)
    }
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Searched {
    /// The trampolines.
    pub(super) found: Vec<Supplement>,
    /// Bytes that were not searched because of a bound.
    pub(super) skipped: u64,
}

/// Searches the code that `table` has no rule for.
pub(super) fn search<S: Source + ?Sized>(
    source: &S,
    image: &Image<'_>,
    table: &UnwindTable,
) -> Searched {
    let shapes = shapes(image.machine);
    let shortest = shapes.iter().map(|shape| shape.instructions.len()).min();
    let shortest = shortest.unwrap_or(0) as u64;
    let mut searched = Searched::default();
    let mut window = Window {
        source,
        start: 0,
        bytes: Cow::Borrowed(&[]),
    };
    let mut left = MAX_SEARCHED;
    // Empty ones may be many, and all rows are looked at for each.
    let executable = image.loads.iter().filter(|load| load.allows(PF_X));
    for load in executable.filter(|load| load.place.length > 0) {
        let (place, code) = (load.place, load.addresses());
        for gap in Gaps::new(table) {
            let start = (table.start.0 + gap.start).max(code.start);
            let end = (table.start.0 + gap.end).min(code.end);
            let mut length = end.saturating_sub(start);
            if length < shortest {
                continue;
            }
            if place.length > SMALL_FILE && length < ALIGNMENT && end % ALIGNMENT == 0 {
                continue;
            }
            if length > left {
                searched.skipped += length - left;
                length = left;
            }
            left -= length;
            let file = start - code.start + place.offset.0;
            for shape in shapes {
                window.search(file..file + length, shape, |position| {
                    let address = position - place.offset.0 + code.start;
                    if searched.found.len() < MAX_FOUND {
                        searched.found.push(Supplement {
                            address: address.saturating_add_signed(i64::from(shape.from)),
                            length: u32::from(shape.length),
                            rule: shape.rule,
                        });
                    }
                });
            }
        }
    }
    searched
}

/// A piece of the file, kept because the next gap mostly is in the same one.
struct Window<'s, S: ?Sized> {
    source: &'s S,
    start: u64,
    bytes: Cow<'s, [u8]>,
}

impl<S: Source + ?Sized> Window<'_, S> {
    /// Calls `found` with the position of each occurrence of `shape` in `range` of the file.
    fn search(&mut self, range: Range<u64>, shape: &Shape, mut found: impl FnMut(u64)) {
        let wanted = shape.instructions;
        let whole = match shape.then.len() {
            0 => wanted.len(),
            then => wanted.len() + 1 + then,
        };
        let overlap = whole as u64 - 1;
        let mut at = range.start;
        while at + overlap < range.end {
            let held = self.start + self.bytes.len() as u64;
            if at < self.start || at + overlap >= held {
                let end = at.saturating_add(WINDOW).min(self.source.length());
                let Some(bytes) = self.source.bytes(at..end) else {
                    return;
                };
                (self.start, self.bytes) = (at, bytes.into());
                if at + overlap >= end {
                    return;
                }
                continue;
            }
            let end = held.min(range.end);
            let part = &self.bytes[(at - self.start) as usize..(end - self.start) as usize];
            for (index, candidate) in part.windows(whole).enumerate() {
                if candidate.starts_with(wanted) && candidate.ends_with(shape.then) {
                    found(at + index as u64);
                }
            }
            at = end - overlap;
        }
    }
}

/// The ranges of a table (offsets from its start) without a rule.
pub(super) struct Gaps<'t> {
    table: &'t UnwindTable,
    bucket: u32,
    row: usize,
}

impl<'t> Gaps<'t> {
    pub(super) const fn new(table: &'t UnwindTable) -> Self {
        Self {
            table,
            bucket: 0,
            row: table.buckets as usize + 1,
        }
    }

    /// The next row: where it starts, and its rule.
    fn next_row(&mut self) -> Option<(u64, u16)> {
        let row = Row(*self.table.words.get(self.row)?);
        while self.bucket + 1 < self.table.buckets
            && self.table.words[self.bucket as usize + 1] as usize <= self.row
        {
            self.bucket += 1;
        }
        self.row += 1;
        let page = u64::from(self.bucket) << BUCKET_BITS >> PAGE_BITS << PAGE_BITS;
        Some((page + u64::from(row.low()), row.rule()))
    }
}

impl Iterator for Gaps<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let start = loop {
            let (start, rule) = self.next_row()?;
            if rule == RuleInterner::NONE {
                break start;
            }
        };
        loop {
            match self.next_row() {
                Some((_, RuleInterner::NONE)) => {}
                Some((end, _)) => return Some(start..end),
                None => {
                    let end = u64::from(self.table.buckets) << BUCKET_BITS;
                    return Some(start..end);
                }
            }
        }
    }
}

//! Functions of aarch64: what their instructions do to a frame.

use profiler_common::unwind::{Aarch64, Architecture};

use super::a64::{self, Access, Flow, Instruction, Sum};
use super::frame::{Frame, Kept};
use super::jump_table::Read;
use super::jump_table::aarch64::{Before, targets};
use super::paths::{Followed, Paths, Surroundings, VISITS_PER_BYTE};
use crate::unwind::elf::Machine;

const INSTRUCTION_BYTES: u32 = 4;
/// Most bytes from the instruction that takes what a table of jumps is relative to, up to there.
const MAX_TO_ANCHOR: u64 = 64;
/// Most instructions from one that puts part of a number or an address into a register up to the one that it is used by.
const MAX_TO_PART: usize = 16;
const STACK_POINTER: u8 = Aarch64::STACK_POINTER;
const FRAME_POINTER: u8 = Aarch64::FRAME_POINTER;

/// Follows the function `code` at `address`.
pub(super) fn follow(code: &[u8], address: u64, around: &Surroundings<'_>) -> Followed {
    let mut followed = Followed::default();
    let mut paths = Paths::new(Machine::Aarch64, code, address, around.is_bounded);
    let mut visits = code.len().saturating_mul(VISITS_PER_BYTE);
    while let Some((at, frame)) = paths.next() {
        if visits == 0 {
            return followed.given_up();
        }
        visits -= 1;
        let Some(word) = word_at(code, address, at) else {
            paths.contradict(at);
            continue;
        };
        let mut instruction = Instruction::decode(word);
        if instruction.sum.is_none() {
            instruction.sum = large_sum(word, way_to(&paths, at, code, address));
        }
        paths.know(at, frame, INSTRUCTION_BYTES);
        let next = at.saturating_add(u64::from(INSTRUCTION_BYTES));
        let left = frame.depth == Some(0);
        match instruction.flow {
            Flow::Next | Flow::Call(_) => {
                followed
                    .taken
                    .extend(taken(word, at, way_to(&paths, at, code, address)));
                let Some(frame) = after(&instruction, frame) else {
                    paths.contradict(at);
                    continue;
                };
                let mut certain = instruction.flow == Flow::Next;
                if let Flow::Call(Some(distance)) = instruction.flow {
                    let target = at.wrapping_add_signed(distance);
                    followed.called.push(target);
                    match (around.returns)(target) {
                        Some(false) => continue,
                        known => certain = known.is_some(),
                    }
                }
                // Behind a call at its end it does not go on.
                if !paths.go_on(at, next, frame, certain) && instruction.flow == Flow::Next {
                    followed.leaves = true;
                    if !left {
                        paths.enter(at, next, &frame);
                    }
                }
            }
            Flow::Branch(distance) | Flow::Jump(distance) => {
                if let Flow::Branch(_) = instruction.flow {
                    paths.open(at, next, frame);
                }
                let target = at.wrapping_add_signed(distance);
                if paths.open(at, target, frame) {
                    continue;
                }
                if let Some(moved) = moved_out(at, target, around.read) {
                    match after(&moved, frame) {
                        Some(behind) => {
                            paths.know(target, frame, INSTRUCTION_BYTES);
                            let back = target.saturating_add(u64::from(INSTRUCTION_BYTES));
                            paths.know(back, behind, INSTRUCTION_BYTES);
                            paths.open(at, next, behind);
                        }
                        None => paths.contradict(at),
                    }
                    continue;
                }
                if returns(&frame) {
                    followed.left_to.push(target);
                    paths.exit(at);
                } else {
                    followed.leaves = true;
                }
                if !left {
                    followed
                        .entered
                        .push((target, frame.rule(Machine::Aarch64)));
                }
            }
            Flow::Return(register) => {
                if register != Aarch64::RETURN_ADDRESS {
                    paths.contradict(at);
                } else if returns(&frame) {
                    followed.returns = true;
                    paths.exit(at);
                } else if frame.depth.is_none() {
                    followed.leaves = true;
                } else {
                    paths.contradict(at);
                }
            }
            Flow::JumpRegister(register) => {
                let way = way_to(&paths, at, code, address);
                let targets = targets(register, way, around.read);
                match targets.filter(|targets| targets.iter().all(|at| paths.is_inside(*at))) {
                    Some(targets) => {
                        for target in targets {
                            paths.open(at, target, frame);
                        }
                    }
                    // A call at the end, or a table. What is only reached by a table that is not found has no rule.
                    None => {
                        followed.leaves = true;
                        if returns(&frame) {
                            paths.exit(at);
                        }
                    }
                }
            }
            Flow::Stop => {}
        }
    }
    paths.finish(&mut followed);
    followed
}

/// The instruction at `at` of the function `code` at `address`.
fn word_at(code: &[u8], address: u64, at: u64) -> Option<u32> {
    // It lies in the code, whose length fits.
    let bytes = code.get(at.checked_sub(address)? as usize..)?;
    Some(u32::from_le_bytes(*bytes.first_chunk()?))
}

/// The instructions on one way to `at`, the last one first.
fn way_to<'p>(
    paths: &'p Paths,
    at: u64,
    code: &'p [u8],
    address: u64,
) -> impl Iterator<Item = Before> + 'p {
    let mut next = at;
    paths.way_to(at).map_while(move |at| {
        let branched = at.saturating_add(u64::from(INSTRUCTION_BYTES)) != next;
        next = at;
        let word = word_at(code, address, at)?;
        Some(Before { at, word, branched })
    })
}

/// The sum that `word` makes where it adds a number that was put into a register before: that of a large frame.
fn large_sum(word: u32, before: impl Iterator<Item = Before>) -> Option<Sum> {
    let sum = a64::sum_of_two(word)?;
    let before = before.take(MAX_TO_PART);
    let writers = before.filter(|before| writes(&Instruction::decode(before.word), sum.other));
    let (mut number, mut left) = (0, u64::MAX);
    for writer in writers {
        let (bits, left_by_it) = a64::moved_bits(writer.word)?;
        number |= bits & left;
        left &= left_by_it;
        if left == 0 {
            let number = i32::try_from(number).ok()?;
            return Some(Sum {
                to: sum.to,
                from: sum.from,
                number: if sum.negative { -number } else { number },
            });
        }
    }
    None
}

/// The address that the instruction at `at` takes, alone or with one `before` it, where the last one comes first; whether
/// there is code is not asked.
fn taken(word: u32, at: u64, before: impl Iterator<Item = Before>) -> Option<u64> {
    if let Some(address) = a64::relative(word, at) {
        // What a table of jumps is relative to lies behind the jump.
        let is_near = address.wrapping_sub(at) <= MAX_TO_ANCHOR;
        return (!a64::is_page(word) && !is_near).then_some(address);
    }
    let sum = Instruction::decode(word).sum?;
    let mut before = before.take(MAX_TO_PART);
    let last = before.find(|before| writes(&Instruction::decode(before.word), sum.from))?;
    let page = a64::relative(last.word, last.at).filter(|_| a64::is_page(last.word))?;
    Some(page.wrapping_add_signed(sum.number.into()))
}

/// The instruction that the linker moved from `at` to `target`, where a jump leads back behind `at`: what it does about errata of the
/// Cortex-A53 (843419 and 835769), unasked on most distributions.
fn moved_out(at: u64, target: u64, read: &Read<'_>) -> Option<Instruction> {
    let bytes = read(target, 2 * u64::from(INSTRUCTION_BYTES))?;
    let [moved, back] = *bytes.as_chunks().0 else {
        return None;
    };
    let [moved, back] = [moved, back].map(|word| Instruction::decode(u32::from_le_bytes(word)));
    let Flow::Jump(distance) = back.flow else {
        return None;
    };
    // It is as far from behind what was moved as it leads behind where that was.
    let back_to = target.wrapping_add_signed(distance);
    (moved.flow == Flow::Next && back_to == at).then_some(moved)
}

/// What the entry point of a program leads to, up to its call or jump: it is no function, for nothing called it.
pub(super) fn entered(code: &[u8], address: u64) -> Followed {
    let mut followed = Followed::default().given_up();
    let words = code.as_chunks().0.iter();
    let mut before = Vec::new();
    for (at, word) in (address..).step_by(4).zip(words) {
        let word = u32::from_le_bytes(*word);
        followed
            .taken
            .extend(taken(word, at, before.iter().rev().copied()));
        match Instruction::decode(word).flow {
            Flow::Next => before.push(Before {
                at,
                word,
                branched: false,
            }),
            Flow::Call(Some(distance)) | Flow::Jump(distance) => {
                followed.called.push(at.wrapping_add_signed(distance));
                break;
            }
            _ => break,
        }
    }
    followed
}

/// Does `code` begin as compiled functions do that have a frame?
pub(super) fn makes_a_frame(code: &[u8]) -> bool {
    /// `bti c`.
    const LANDS: u32 = 0xd503_245f;

    let words = code.as_chunks().0.iter();
    let mut words = words.map(|word| u32::from_le_bytes(*word));
    words
        .find(|word| *word != LANDS)
        .is_some_and(a64::makes_a_frame)
}

/// Is it as it was on entry?
fn returns(frame: &Frame) -> bool {
    frame.depth == Some(0)
        && frame.frame_pointer.same
        && frame.base_register.same
        && frame.return_address.same
}

const fn writes(instruction: &Instruction, register: u8) -> bool {
    instruction.writes >> register & 1 == 1
}

/// The frame behind `instruction`; `None` when no compiled function does that.
fn after(instruction: &Instruction, before: Frame) -> Option<Frame> {
    let mut frame = before;
    if writes(instruction, STACK_POINTER) {
        frame.depth = moved(instruction, &before, STACK_POINTER);
    }
    if writes(instruction, FRAME_POINTER) {
        frame.frame_pointer_depth = moved(instruction, &before, FRAME_POINTER);
    }
    // The stack pointer is above where it was on entry.
    if frame.depth.is_some_and(|depth| depth < 0) {
        return None;
    }
    let kept = |register, kept| kept_behind(instruction, &before, register, kept);
    frame.frame_pointer = kept(FRAME_POINTER, before.frame_pointer);
    frame.base_register = kept(Aarch64::BASE_REGISTER, before.base_register);
    frame.return_address = kept(Aarch64::RETURN_ADDRESS, before.return_address);
    frame.forget_popped();
    Some(frame)
}

/// Bytes from a register to the CFA.
fn depth_of(frame: &Frame, register: u8) -> Option<i32> {
    match register {
        STACK_POINTER => frame.depth,
        FRAME_POINTER => frame.frame_pointer_depth,
        _ => None,
    }
}

/// Bytes from `register` to the CFA behind an instruction that writes it.
fn moved(instruction: &Instruction, before: &Frame, register: u8) -> Option<i32> {
    if let Some(sum) = instruction.sum
        && sum.to == register
    {
        return depth_of(before, sum.from)?.checked_sub(sum.number);
    }
    let access = instruction
        .access
        .filter(|access| access.base == register)?;
    depth_of(before, register)?.checked_sub(access.writeback)
}

/// What is known of `register` behind `instruction`.
fn kept_behind(instruction: &Instruction, before: &Frame, register: u8, mut kept: Kept) -> Kept {
    let place = instruction
        .access
        .and_then(|access| Some((access.store, place(&access, before, register)?)));
    if writes(instruction, register) {
        kept.same = kept.slot.is_some() && place == kept.slot.map(|slot| (false, slot));
    } else if let Some((true, slot)) = place
        // The first place is where it is kept; later ones are copies, or hold something else.
        && kept.same
        && kept.slot.is_none()
    {
        kept.slot = Some(slot);
    }
    kept
}

/// Where `register` lies, from the CFA on, in the memory that is accessed.
fn place(access: &Access, before: &Frame, register: u8) -> Option<i32> {
    let index = access
        .registers
        .iter()
        .position(|accessed| *accessed == register)?;
    let from_base = access.offset.checked_add(8 * index as i32)?;
    from_base.checked_sub(depth_of(before, access.base)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Before, Surroundings, follow, large_sum, makes_a_frame, moved_out};

    #[test]
    fn an_instruction_that_the_linker_moved_is_found() {
        // musl's `qsort_r`: b 6b3c0 at 6b004; ldr x1, [x2]; b 6b008.
        let read = |back: u32| {
            move |address: u64, length: u64| {
                assert_eq!((address, length), (0x6_b3c0, 8));
                let bytes = [0xf940_0041_u32, back].map(u32::to_le_bytes);
                Some(bytes.concat())
            }
        };
        let moved = |back| moved_out(0x6_b004, 0x6_b3c0, &read(back));
        let load = moved(0x17ff_ff11).unwrap();
        assert_eq!(load.writes, 1 << 1);
        // b 6b00c; ret.
        assert_eq!(moved(0x17ff_ff12), None);
        assert_eq!(moved(0xd65f_03c0), None);
    }

    #[test]
    fn large_frames_are_sums_with_a_number_in_a_register() {
        let sum = |words: &[u32]| {
            let (last, before) = words.split_last().unwrap();
            let before = before.iter().rev().map(|word| Before {
                at: 0,
                word: *word,
                branched: false,
            });
            large_sum(*last, before).map(|sum| (sum.to, sum.from, sum.number))
        };
        // As gcc begins musl's `fmt_fp`: mov x12, #7664; sub sp, sp, x12; with adrp x5 in between.
        let frame = [0xd283_be0c, 0xb000_05c5, 0xcb2c_63ff];
        assert_eq!(sum(&frame), Some((31, 31, -7664)));
        // And ends it: add sp, sp, x12.
        assert_eq!(sum(&[0xd283_be0c, 0x8b2c_63ff]), Some((31, 31, 7664)));
        // mov x12, #0x1df0; movk x12, #1, lsl #16; mov x12, x0.
        let parts = [0xd283_be0c, 0xf2a0_002c, 0xcb2c_63ff];
        assert_eq!(sum(&parts), Some((31, 31, -0x1_1df0)));
        assert_eq!(sum(&[0xd283_be0c, 0xaa00_03ec, 0xcb2c_63ff]), None);
        assert_eq!(sum(&[0xcb2c_63ff]), None);
    }

    #[test]
    fn functions_begin_with_frames() {
        let begins = |words: &[u32]| {
            let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            makes_a_frame(&code)
        };
        // paciasp; bti c, stp x29, x30, [sp, #-48]!; str x19, [sp, #-16]!; sub sp, sp, #16.
        assert!(begins(&[0xd503_233f]));
        assert!(begins(&[0xd503_245f, 0xa9bd_7bfd]));
        assert!(begins(&[0xf81f_0ff3]));
        assert!(begins(&[0xd100_43ff]));
        // ldp x29, x30, [sp], #48; add sp, sp, #16; mov x0, x1; stp x0, x1, [x2, #-16]!.
        for word in [0xa8c3_7bfd, 0x9100_43ff, 0xaa01_03e0, 0xa9bf_0440] {
            assert!(!begins(&[word]), "{word:#x}");
        }
        assert!(!begins(&[]));
    }

    proptest! {
        /// Whatever the words say, following them ends, and its rules lie within them, in order.
        #[test]
        fn any_words_are_followed(
            words in prop::collection::vec(
                prop_oneof![
                    any::<u32>(),
                    // Pairs, single registers, sums, branches.
                    any::<u32>().prop_map(|word| word & 0x01ff_ffff | 0xa800_0000),
                    any::<u32>().prop_map(|word| word & 0x00ff_ffff | 0xf800_0000),
                    any::<u32>().prop_map(|word| word & 0x00ff_ffff | 0x9100_0000),
                    any::<u32>().prop_map(|word| word & 0x0000_00ff | 0x5400_0000),
                ],
                0..200,
            ),
            address in prop_oneof![any::<u64>(), (0_u64..1_000).prop_map(|below| u64::MAX - below)],
            cut in 0_usize..4,
        ) {
            let mut code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            code.truncate(code.len().saturating_sub(cut));
            let mut reached = address;
            let around = Surroundings {
                read: &|_, _| None,
                returns: &|_| None,
                is_bounded: true,
            };
            for row in follow(&code, address, &around).rows.unwrap_or_default() {
                prop_assert!(row.address >= reached);
                reached = row.address.saturating_add(u64::from(row.length));
                prop_assert!(reached - address <= code.len() as u64);
            }
        }
    }
}

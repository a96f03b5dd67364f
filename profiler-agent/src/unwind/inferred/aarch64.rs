//! Functions of aarch64: what their instructions do to a frame.

use profiler_common::unwind::{Aarch64, Architecture};

use super::a64::{Access, Flow, Instruction};
use super::frame::{Frame, Kept};
use super::paths::{Followed, Paths, Surroundings, VISITS_PER_BYTE};
use crate::unwind::elf::Machine;

const INSTRUCTION_BYTES: u32 = 4;
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
        // `at` lies in the code, whose length fits.
        let word = code
            .get((at - address) as usize..)
            .and_then(<[u8]>::first_chunk);
        let Some(word) = word else {
            paths.contradict(at);
            continue;
        };
        let instruction = Instruction::decode(u32::from_le_bytes(*word));
        paths.know(at, frame, INSTRUCTION_BYTES);
        let next = at.saturating_add(u64::from(INSTRUCTION_BYTES));
        let left = frame.depth == Some(0);
        match instruction.flow {
            Flow::Next | Flow::Call(_) => {
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
            // A call at the end, or a table: what is only reached by that has no rule.
            Flow::JumpRegister => followed.leaves = true,
            Flow::Stop => {}
        }
    }
    paths.finish(&mut followed);
    followed
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

    use super::{Surroundings, follow};

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
            address in any::<u64>(),
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
                reached = row.address + u64::from(row.length);
                prop_assert!(reached - address <= code.len() as u64);
            }
        }
    }
}

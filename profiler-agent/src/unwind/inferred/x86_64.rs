//! Functions of x86_64: what their instructions do to a frame.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

use super::frame::{Frame, Kept, X86_64_CALLED as CALLED};
use super::jump_table::{self, MAX_BEFORE};
use super::paths::{Followed, Paths, Surroundings, VISITS_PER_BYTE};
use crate::unwind::elf::Machine;

/// Follows the function `code` at `address`.
pub(super) fn follow(code: &[u8], address: u64, around: &Surroundings<'_>) -> Followed {
    follow_base(code, address, around, Register::RBX)
}

/// As [`follow`], where the base register is r12.
pub(super) fn follow_r12(code: &[u8], address: u64, around: &Surroundings<'_>) -> Followed {
    follow_base(code, address, around, Register::R12)
}

fn follow_base(
    code: &[u8],
    address: u64,
    around: &Surroundings<'_>,
    base_register: Register,
) -> Followed {
    let mut followed = Followed::default();
    let mut paths = Paths::new(Machine::X86_64, code, address, around.is_bounded);
    let mut factory = InstructionInfoFactory::new();
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut visits = code.len().saturating_mul(VISITS_PER_BYTE);
    while let Some((at, frame)) = paths.next() {
        if visits == 0 {
            return followed.given_up();
        }
        visits -= 1;
        // `at` lies in the code, whose length fits.
        if decoder.set_position((at - address) as usize).is_err() {
            continue;
        }
        decoder.set_ip(at);
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            paths.contradict(at);
            continue;
        }
        paths.know(at, frame, instruction.len() as u32);
        let next = instruction.next_ip();
        let target = instruction.near_branch_target();
        let left = frame.depth == Some(CALLED);
        let flow = instruction.flow_control();
        match flow {
            // For programs it is forbidden: C libraries end by it what must not go on.
            _ if instruction.mnemonic() == Mnemonic::Hlt => {}
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {
                followed.taken.extend(taken(&instruction));
                let Some(frame) = after(&instruction, frame, base_register, &mut factory) else {
                    paths.contradict(at);
                    continue;
                };
                let mut certain = flow == FlowControl::Next;
                if instruction.is_call_near() {
                    followed.called.push(target);
                    match (around.returns)(target) {
                        Some(false) => continue,
                        known => certain = known.is_some(),
                    }
                }
                // Behind a call at its end it does not go on.
                if !paths.go_on(at, next, frame, certain) && flow == FlowControl::Next {
                    followed.leaves = true;
                    if !left {
                        paths.enter(at, next, &frame);
                    }
                }
            }
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                if flow == FlowControl::ConditionalBranch {
                    paths.open(at, next, frame);
                }
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
                    paths.enter(at, target, &frame);
                }
            }
            FlowControl::Return => {
                if returns(&frame) {
                    followed.returns = true;
                    paths.exit(at);
                } else if frame.depth.is_none() {
                    followed.leaves = true;
                } else {
                    paths.contradict(at);
                }
            }
            // A call at the end, or a table. What is only reached by a table that is not found has no rule.
            FlowControl::IndirectBranch => {
                let before: Vec<Instruction> = paths
                    .before(at)
                    .take(MAX_BEFORE)
                    .map_while(|at| {
                        decoder.set_position((at - address) as usize).ok()?;
                        decoder.set_ip(at);
                        Some(decoder.decode())
                    })
                    .collect();
                let read = around.read;
                let targets =
                    jump_table::x86_64::targets(&instruction, before.iter(), read, &mut factory);
                match targets.filter(|targets| targets.iter().all(|at| paths.is_inside(*at))) {
                    Some(targets) => {
                        for target in targets {
                            paths.open(at, target, frame);
                        }
                    }
                    None => followed.leaves = true,
                }
            }
            FlowControl::Interrupt | FlowControl::Exception => {}
            FlowControl::XbeginXabortXend => paths.contradict(at),
        }
    }
    paths.finish(&mut followed);
    followed
}

/// The address that `instruction` takes; whether there is code is not asked.
fn taken(instruction: &Instruction) -> Option<u64> {
    match instruction.mnemonic() {
        Mnemonic::Lea if instruction.is_ip_rel_memory_operand() => {
            Some(instruction.ip_rel_memory_address())
        }
        Mnemonic::Mov
            if matches!(
                instruction.op1_kind(),
                OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64
            ) =>
        {
            Some(instruction.immediate(1))
        }
        _ => None,
    }
}

/// What the entry point of a program leads to, up to its call: it is no function, for nothing called it.
pub(super) fn entered(code: &[u8], address: u64) -> Followed {
    let mut followed = Followed::default().given_up();
    for instruction in &mut Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        followed.taken.extend(taken(&instruction));
        if instruction.is_call_near() {
            followed.called.push(instruction.near_branch_target());
        }
        if instruction.flow_control() != FlowControl::Next {
            break;
        }
    }
    followed
}

/// Does `code` begin as compiled functions do that have a frame: by saving a register for their caller, or by making room?
pub(super) fn makes_a_frame(code: &[u8], address: u64) -> bool {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut instruction = decoder.decode();
    if instruction.mnemonic() == Mnemonic::Endbr64 {
        instruction = decoder.decode();
    }
    match instruction.mnemonic() {
        Mnemonic::Push => matches!(
            instruction.op0_register(),
            Register::RBX
                | Register::RBP
                | Register::R12
                | Register::R13
                | Register::R14
                | Register::R15
        ),
        Mnemonic::Sub => instruction.op0_register() == Register::RSP,
        _ => false,
    }
}

/// Is it as it was on entry?
fn returns(frame: &Frame) -> bool {
    frame.depth == Some(CALLED) && frame.frame_pointer.same && frame.base_register.same
}

/// The frame behind `instruction`; `None` when no compiled function does that.
fn after(
    instruction: &Instruction,
    mut frame: Frame,
    base_register: Register,
    factory: &mut InstructionInfoFactory,
) -> Option<Frame> {
    match instruction.flow_control() {
        // `call` to the next instruction is no call.
        FlowControl::Call if instruction.near_branch_target() == instruction.next_ip() => {
            return None;
        }
        FlowControl::Call | FlowControl::IndirectCall => return Some(frame),
        _ => {}
    }
    let before = frame;
    let memory = slot(instruction, &before);
    let one = instruction.op0_register();
    let two = instruction.op1_register();
    let register_to_register =
        instruction.op0_kind() == OpKind::Register && instruction.op1_kind() == OpKind::Register;

    // What it does to the stack pointer, where that can be said.
    let depth = match instruction.mnemonic() {
        Mnemonic::Push | Mnemonic::Pop | Mnemonic::Pushfq | Mnemonic::Popfq => before
            .depth
            .and_then(|depth| depth.checked_sub(instruction.stack_pointer_increment())),
        Mnemonic::Leave => before
            .frame_pointer_depth
            .and_then(|depth| depth.checked_sub(8)),
        Mnemonic::Add | Mnemonic::Sub if one == Register::RSP => {
            let immediate = immediate(instruction);
            let change = match instruction.mnemonic() {
                Mnemonic::Add => immediate.and_then(i32::checked_neg),
                _ => immediate,
            };
            before
                .depth
                .zip(change)
                .and_then(|(depth, change)| depth.checked_add(change))
        }
        Mnemonic::Lea if one == Register::RSP => memory.and_then(i32::checked_neg),
        Mnemonic::Mov if register_to_register && (one, two) == (Register::RSP, Register::RBP) => {
            before.frame_pointer_depth
        }
        Mnemonic::Mov if register_to_register && (one, two) == (Register::RSP, Register::RBX) => {
            before.base_register_depth
        }
        _ if instruction.is_stack_instruction() => return None,
        _ if writes(instruction, factory, Register::RSP) => None,
        _ => before.depth,
    };
    frame.depth = depth;
    // The return address is no longer on the stack: not a function that returns by it.
    if depth.is_some_and(|depth| depth < CALLED) {
        return None;
    }

    for (register, depth) in [
        (Register::RBP, &mut frame.frame_pointer_depth),
        (Register::RBX, &mut frame.base_register_depth),
    ] {
        if writes(instruction, factory, register) {
            *depth = match instruction.mnemonic() {
                Mnemonic::Mov if register_to_register && two == Register::RSP => before.depth,
                Mnemonic::Lea if one == register => memory.and_then(i32::checked_neg),
                _ => None,
            };
        }
    }
    // A rule names one base register: what rbx says cannot be told beside r12.
    if base_register != Register::RBX {
        frame.base_register_depth = None;
    }
    frame.frame_pointer = kept(
        instruction,
        factory,
        Register::RBP,
        &before,
        before.frame_pointer,
    );
    frame.base_register = kept(
        instruction,
        factory,
        base_register,
        &before,
        before.base_register,
    );
    frame.forget_popped();
    Some(frame)
}

/// What is known of `register` behind `instruction`.
fn kept(
    instruction: &Instruction,
    factory: &mut InstructionInfoFactory,
    register: Register,
    before: &Frame,
    mut kept: Kept,
) -> Kept {
    let top = before.depth.and_then(i32::checked_neg);
    if writes(instruction, factory, register) {
        let from = match instruction.mnemonic() {
            Mnemonic::Pop => top,
            Mnemonic::Leave => before.frame_pointer_depth.and_then(i32::checked_neg),
            Mnemonic::Mov if instruction.op0_register() == register => slot(instruction, before),
            _ => None,
        };
        kept.same = from.is_some() && from == kept.slot;
        return kept;
    }
    let to = match instruction.mnemonic() {
        Mnemonic::Push if instruction.op0_register() == register => {
            top.and_then(|top| top.checked_sub(8))
        }
        Mnemonic::Mov
            if instruction.op0_kind() == OpKind::Memory
                && instruction.op1_register() == register =>
        {
            slot(instruction, before)
        }
        _ => None,
    };
    // The first place is where it is kept; later ones are copies, or hold something else.
    if kept.same && kept.slot.is_none() {
        kept.slot = to;
    }
    kept
}

/// The place in the frame that the memory operand names, from the CFA on.
fn slot(instruction: &Instruction, frame: &Frame) -> Option<i32> {
    let depth = match instruction.memory_base() {
        Register::RSP => frame.depth?,
        Register::RBP => frame.frame_pointer_depth?,
        Register::RBX => frame.base_register_depth?,
        _ => return None,
    };
    if instruction.memory_index() != Register::None
        || !matches!(instruction.segment_prefix(), Register::None)
    {
        return None;
    }
    let displacement = i64::from_le_bytes(instruction.memory_displacement64().to_le_bytes());
    i32::try_from(displacement).ok()?.checked_sub(depth)
}

fn immediate(instruction: &Instruction) -> Option<i32> {
    matches!(
        instruction.op1_kind(),
        OpKind::Immediate8to64 | OpKind::Immediate32to64
    )
    .then(|| i64::from_le_bytes(instruction.immediate(1).to_le_bytes()))
    .and_then(|value| i32::try_from(value).ok())
}

fn writes(
    instruction: &Instruction,
    factory: &mut InstructionInfoFactory,
    register: Register,
) -> bool {
    factory
        .info(instruction)
        .used_registers()
        .iter()
        .any(|used| {
            used.register().full_register() == register
                && !matches!(
                    used.access(),
                    OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
                )
        })
}

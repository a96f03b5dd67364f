//! Where a jump by a table goes on x86_64: what compilers make of `switch`.
//!
//! `cmp $last, index; ja default; lea table(%rip), base; movslq (base, index, 4), target; add base, target; jmp *target`, with other
//! instructions in between; without position independence `jmp *table(, index, 8)`, also by a register. Only where the comparison
//! that bounds the index is found does anything say how long the table is.

use iced_x86::{
    Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, UsedRegister,
};

use super::{MAX_BEFORE, MAX_ENTRIES, Read};

/// The targets of `jump`; `before` are the instructions before it, the last one first. `None` where it is no such jump.
pub(in super::super) fn targets<'i>(
    jump: &Instruction,
    before: impl Iterator<Item = &'i Instruction>,
    read: &Read<'_>,
    factory: &mut InstructionInfoFactory,
) -> Option<Vec<u64>> {
    let mut search = Search::of(jump)?;
    let mut above = false;
    for instruction in before.take(MAX_BEFORE) {
        if let Some(last) = search.bound(instruction, above) {
            return search.place?.read(last.checked_add(1)?, read);
        }
        above = match instruction.mnemonic() {
            Mnemonic::Ja => true,
            // Leave the flags as they are.
            Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsxd | Mnemonic::Lea => above,
            _ => false,
        };
        search.pass(instruction, factory)?;
    }
    None
}

/// A table that was found.
#[derive(Clone, Copy)]
enum Place {
    /// Of distances from itself.
    Relative(u64),
    /// Of addresses.
    Absolute(u64),
}

impl Place {
    fn read(self, entries: u64, read: &Read<'_>) -> Option<Vec<u64>> {
        if entries > MAX_ENTRIES {
            return None;
        }
        match self {
            Self::Relative(table) => {
                let bytes = read(table, entries * 4)?;
                let distances = bytes.as_chunks::<4>().0.iter();
                let targets = distances.map(|distance| {
                    table.wrapping_add_signed(i32::from_le_bytes(*distance).into())
                });
                Some(targets.collect())
            }
            Self::Absolute(table) => {
                let bytes = read(table, entries * 8)?;
                let targets = bytes.as_chunks::<8>().0.iter();
                Some(targets.map(|target| u64::from_le_bytes(*target)).collect())
            }
        }
    }
}

/// What is still looked for, backwards.
struct Search {
    /// Holds the target, until it was seen what put it there.
    target: Register,
    /// Was the base added to the target?
    added: bool,
    base: Register,
    index: Register,
    place: Option<Place>,
}

impl Search {
    fn of(jump: &Instruction) -> Option<Self> {
        let mut search = Self {
            target: Register::None,
            added: false,
            base: Register::None,
            index: Register::None,
            place: None,
        };
        match jump.op0_kind() {
            OpKind::Register => search.target = jump.op0_register(),
            OpKind::Memory => search.absolute(jump)?,
            _ => return None,
        }
        Some(search)
    }

    /// The memory operand is an entry of a table of addresses.
    fn absolute(&mut self, instruction: &Instruction) -> Option<()> {
        let is_entry = instruction.memory_base() == Register::None
            && instruction.memory_index_scale() == 8
            && instruction.segment_prefix() == Register::None;
        self.index = instruction.memory_index();
        self.place = Some(Place::Absolute(instruction.memory_displacement64()));
        (is_entry && self.index != Register::None).then_some(())
    }

    /// The last index, where `instruction` compares it, and a jump behind that leaves those above.
    fn bound(&self, instruction: &Instruction, above: bool) -> Option<u64> {
        let compares = above
            && instruction.mnemonic() == Mnemonic::Cmp
            && instruction.op0_kind() == OpKind::Register
            && self.index != Register::None
            && instruction.op0_register().full_register() == self.index.full_register()
            && self.target == Register::None
            && self.base == Register::None;
        let immediate = matches!(
            instruction.op1_kind(),
            OpKind::Immediate8
                | OpKind::Immediate16
                | OpKind::Immediate32
                | OpKind::Immediate8to16
                | OpKind::Immediate8to32
                | OpKind::Immediate8to64
                | OpKind::Immediate32to64
        );
        (compares && immediate).then(|| instruction.immediate(1))
    }

    /// Goes back over `instruction`; `None` where it puts something else into what is looked for.
    fn pass(
        &mut self,
        instruction: &Instruction,
        factory: &mut InstructionInfoFactory,
    ) -> Option<()> {
        let [target, base, index] =
            [self.target, self.base, self.index].map(Register::full_register);
        let info = factory.info(instruction);
        let writes = |register: Register| {
            register != Register::None
                && info
                    .used_registers()
                    .iter()
                    .any(|used| is_written(used, register))
        };
        let (one, two) = (instruction.op0_register(), instruction.op1_register());
        let by_register = instruction.op1_kind() == OpKind::Register;
        if writes(target) {
            match instruction.mnemonic() {
                Mnemonic::Add if !self.added && by_register && one == self.target => {
                    (self.added, self.base) = (true, two);
                }
                Mnemonic::Movsxd if self.added && instruction.memory_base() == self.base => {
                    let is_entry = instruction.memory_index_scale() == 4
                        && instruction.memory_displacement64() == 0;
                    self.index = is_entry.then(|| instruction.memory_index())?;
                    self.target = Register::None;
                }
                Mnemonic::Mov if !self.added && instruction.op1_kind() == OpKind::Memory => {
                    self.absolute(instruction)?;
                    self.target = Register::None;
                }
                _ => return None,
            }
        } else if writes(base) {
            let is_table =
                instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand();
            self.place = is_table.then(|| Place::Relative(instruction.ip_rel_memory_address()));
            self.place?;
            self.base = Register::None;
        } else if writes(index) {
            let is_copy = matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Movzx);
            self.index = (is_copy && by_register).then_some(two)?;
        }
        Some(())
    }
}

/// Does this use write `register`?
fn is_written(used: &UsedRegister, register: Register) -> bool {
    used.register().full_register() == register
        && !matches!(
            used.access(),
            OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
        )
}

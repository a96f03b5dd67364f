//! Where the dynamic linker notes the place of a variable.

use std::ops::ControlFlow;

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::Rela as _;

use super::file::{Slot, SlotKind};
use crate::elf::dynamic::{Dynamic, Relocation};
use crate::elf::{ElfFile, Machine, Segments, Source};

/// Slots of one variable that are kept: a linker makes one of each kind.
const MAX_SLOTS: usize = 8;

/// A thread-local symbol that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its number among the dynamic symbols; 0 when it is not one.
    pub(super) index: u32,
    /// Its offset in the file's block.
    pub(super) offset: u64,
}

/// Where the dynamic linker notes the place of `symbol`, best first.
pub(super) fn slots<'s, S: Source + ?Sized>(
    file: &ElfFile<'s, S>,
    segments: &Segments<S::Bytes<'s>>,
    (dynamic, machine): (&Dynamic, Machine),
    symbol: Found,
) -> Box<[Slot]> {
    let mut slots = Vec::new();
    dynamic.for_each_relocation(file, segments, |relocation| {
        slots.extend(slot(machine, relocation, symbol));
        if slots.len() < MAX_SLOTS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    slots.truncate(MAX_SLOTS);
    slots.sort_unstable();
    slots.dedup();
    slots.into()
}

/// What a relocation says of `symbol`. One without a symbol is about the module itself (symbols that
/// are bound when the file is linked), its addend an offset in the module's block.
fn slot(machine: Machine, relocation: &Relocation, symbol: Found) -> Option<Slot> {
    let (index, addend) = (
        relocation.r_sym(LE, false),
        relocation.r_addend(LE).cast_unsigned(),
    );
    let by_name = index != 0 && index == symbol.index && addend == 0;
    let by_offset = index == 0 && addend == symbol.offset;
    let kind = match (machine, relocation.r_type(LE, false)) {
        (Machine::X86_64, elf::R_X86_64_DTPMOD64)
        | (Machine::Aarch64, elf::R_AARCH64_TLS_DTPMOD)
            if by_name =>
        {
            SlotKind::ModuleAndOffset
        }
        (Machine::X86_64, elf::R_X86_64_DTPMOD64)
        | (Machine::Aarch64, elf::R_AARCH64_TLS_DTPMOD)
            if index == 0 =>
        {
            SlotKind::OwnModule
        }
        (Machine::X86_64, elf::R_X86_64_TPOFF64) | (Machine::Aarch64, elf::R_AARCH64_TLS_TPREL)
            if by_name || by_offset =>
        {
            SlotKind::ThreadPointerOffset
        }
        (Machine::X86_64, elf::R_X86_64_TLSDESC) | (Machine::Aarch64, elf::R_AARCH64_TLSDESC)
            if by_name || by_offset =>
        {
            SlotKind::Descriptor
        }
        _ => return None,
    };
    let address = relocation.r_offset(LE);
    Some(Slot { kind, address })
}

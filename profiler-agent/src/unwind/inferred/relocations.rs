//! Addresses that the dynamic linker writes into data (System V ABI, chapter 4, "Relocation"): of functions, where they are code.

use std::ops::ControlFlow;

use object::LittleEndian as LE;
use object::read::elf::Rela as _;

use crate::elf::Source;
use crate::elf::dynamic::{Relocation, relative_kind};
use crate::elf::symbol::for_each;
use crate::unwind::elf::Image;

/// Most relocations that are read.
const MAX_RELOCATIONS: u64 = 1 << 16;

/// What relative relocations point to.
pub(super) fn taken<S: Source + ?Sized>(source: &S, image: &Image<'_>) -> Vec<u64> {
    let relative = u64::from(relative_kind(image.machine).0);
    let mut taken = Vec::new();
    if let Some(place) = &image.relocations {
        for_each(source, place, MAX_RELOCATIONS, |relocation: &Relocation| {
            if relocation.r_info(LE, false) == relative {
                taken.push(relocation.r_addend(LE).cast_unsigned());
            }
            ControlFlow::Continue(())
        });
    }
    taken
}

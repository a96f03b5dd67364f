//! Memory of the interrupted task.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_probe_read_user, generated};
use profiler_common::context::Bytes;
use profiler_common::unwind::{AddressMask, Memory};

use crate::globals::ADDRESS_MASK;
use crate::registers::REGISTERS;

/// The memory and registers of the interrupted task.
pub struct UserMemory<'a> {
    /// General registers of the interrupted frame, by DWARF number.
    pub general: &'a [u64; REGISTERS],
}

impl Memory for UserMemory<'_> {
    #[inline(always)]
    fn address_mask(&self) -> AddressMask {
        AddressMask::from_bits(ADDRESS_MASK.load())
    }
    #[inline(always)]
    fn read_word(&mut self, address: u64) -> Option<u64> {
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_user(address as *const u64).ok() }
    }
    #[inline(always)]
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        self.general.get(usize::from(number)).copied()
    }
}

impl Bytes for UserMemory<'_> {
    #[inline(always)]
    fn read_bytes<const N: usize>(
        &mut self,
        address: u64,
        bytes: u64,
        into: &mut [u64; N],
    ) -> bool {
        // SAFETY: not more than `into` has room for.
        bytes <= size_of::<[u64; N]>() as u64 && unsafe { copy(into.as_mut_ptr(), bytes, address) }
    }
}

/// A word of the thread's memory; 0 where it cannot be read: the helper leaves zeros then, and the verifier has no second way to
/// follow.
#[inline(always)]
pub fn word_or_zero(address: u64) -> u64 {
    let mut word = 0_u64;
    // SAFETY: a word has room for one; the helper checks the address.
    unsafe { copy(&raw mut word, size_of::<u64>() as u64, address) };
    word
}

/// Copies `bytes` bytes at `address` of the thread's memory.
///
/// # Safety
/// `into` points to as much memory of this program's own.
#[inline(always)]
pub unsafe fn copy(into: *mut u64, bytes: u64, address: u64) -> bool {
    // SAFETY: the helper checks the address; the caller answers for the room.
    unsafe {
        generated::bpf_probe_read_user(into.cast(), bytes as u32, address as *const c_void) == 0
    }
}

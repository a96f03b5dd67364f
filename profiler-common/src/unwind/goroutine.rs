//! From a thread to the goroutine that it runs (`runtime/runtime2.go`): `g` in thread-local storage ->
//! `g.m` -> `m.curg`, the user goroutine, also while the thread runs on its scheduler's or its signal
//! stack.

use super::Memory;
use crate::layout::{GoRuntime, RuntimeEntry, ThreadLocal};

/// The block of a module that the thread has not used yet (glibc's `TLS_DTV_UNALLOCATED`).
const UNALLOCATED: u64 = u64::MAX;

/// What a thread of a Go program works for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Goroutine {
    /// Address of the thread's `m`; 0: the thread has none now.
    pub machine: u64,
    /// Address of the user goroutine's `g`; 0: the thread runs none.
    pub user: u64,
    /// 1: what was found contradicts itself and is not used.
    pub inconsistent: u64,
}

impl Goroutine {
    /// Follows the pointers from the thread whose thread pointer is `thread_pointer`.
    #[inline(always)]
    pub fn find<M: Memory>(entry: &RuntimeEntry, thread_pointer: u64, memory: &mut M) -> Self {
        let mut found = Self::default();
        let go: &GoRuntime = &entry.go;
        let Some(g) = value(&go.g, entry, thread_pointer, memory) else {
            return found;
        };
        if g == 0 {
            return found;
        }
        let Some(machine) = memory.read_word(g.wrapping_add(go.g_m as u64)) else {
            return found;
        };
        if machine == 0 {
            return found;
        }
        found.machine = machine;
        let user = memory
            .read_word(machine.wrapping_add(go.m_curg as u64))
            .unwrap_or(0);
        if user != 0 {
            // A goroutine knows who runs it: where that is another, the offsets are another version's.
            // It forgets it just before the thread forgets the goroutine.
            match memory.read_word(user.wrapping_add(go.g_m as u64)) {
                Some(runs) if runs == machine => found.user = user,
                Some(0) => {}
                _ => {
                    found.machine = 0;
                    found.inconsistent = 1;
                }
            }
        }
        found
    }
}

/// The word that a thread-local variable holds; `None` where the thread has no such variable (yet).
#[inline(always)]
pub fn value<M: Memory>(
    variable: &ThreadLocal,
    entry: &RuntimeEntry,
    thread_pointer: u64,
    memory: &mut M,
) -> Option<u64> {
    if variable.kind == ThreadLocal::REGISTER {
        return memory.interrupted_register(variable.offset as u8);
    }
    let address = address(variable, entry, thread_pointer, memory)?;
    memory.read_word(address)
}

/// Where a thread-local variable lies; `None` where the thread has no such variable (yet).
#[inline(always)]
pub fn address<M: Memory>(
    variable: &ThreadLocal,
    entry: &RuntimeEntry,
    thread_pointer: u64,
    memory: &mut M,
) -> Option<u64> {
    if thread_pointer == 0 {
        return None;
    }
    if variable.kind == ThreadLocal::STATIC {
        return Some(thread_pointer.wrapping_add(variable.offset as u64));
    }
    if variable.kind == ThreadLocal::INDIRECT {
        let distance = memory.read_word(variable.offset as u64)?;
        return Some(thread_pointer.wrapping_add(distance));
    }
    if variable.kind == ThreadLocal::DYNAMIC {
        let vector =
            memory.read_word(thread_pointer.wrapping_add(entry.vector_offset as i64 as u64))?;
        let place = variable.module.wrapping_mul(entry.vector_stride as u64);
        let block = memory.read_word(vector.wrapping_add(place))?;
        if block == 0 || block == UNALLOCATED {
            return None;
        }
        return Some(block.wrapping_add(variable.offset as u64));
    }
    None
}

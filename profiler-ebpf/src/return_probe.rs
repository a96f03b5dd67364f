//! Return addresses that a return probe has replaced by its trampoline's: the kernel keeps the real ones
//! (`struct return_instance` of `include/linux/uprobes.h`), the innermost call first.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_get_current_task;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use profiler_common::unwind::{Architecture as _, Registers};

use crate::globals::{
    RETURN_ADDRESS_OFFSET, RETURN_INSTANCES_OFFSET, RETURN_NEXT_OFFSET, RETURN_STACK_OFFSET,
    TASK_PROBES_OFFSET,
};
use crate::purpose::Purpose;
use crate::registers::Machine;

/// Calls of probed functions in one another that are looked at: a quarter of what the kernel allows (`MAX_URETPROBE_DEPTH`).
const MAX_CALLS: usize = 16;

/// Where the return address was from where a called function's frame ends: it is pushed, or in a register.
const BELOW_FRAME: u64 = if Machine::LINK_REGISTER { 0 } else { 8 };

/// A word of the kernel's; 0 where it cannot be read: the helper leaves zeros then, and the verifier has no second way to follow.
#[inline(always)]
fn word(address: u64, offset: u32) -> u64 {
    let mut word = 0_u64;
    let place = (address + u64::from(offset)) as *const c_void;
    // SAFETY: the helper checks the address, and writes a word.
    unsafe { bpf_probe_read_kernel((&raw mut word).cast(), size_of::<u64>() as u32, place) };
    word
}

/// Bytes below the return address that are in use while the kernel's page runs: a function's first instruction, which it runs there,
/// may make room, and newer kernels' trampoline keeps three registers.
const IN_USE: u64 = 32;

/// The address that the function returns to whose frame ended at the stack pointer of the scratch space's registers, or that begins or
/// has ended where they were interrupted; 0: no probe is on it. The verifier looks at it once and alone.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn probed_return_alone(purpose: u32) -> u64 {
    let Some(scratch) = Purpose(purpose).scratch() else {
        return 0;
    };
    let probes = TASK_PROBES_OFFSET.load();
    if probes == 0 {
        return 0;
    }
    // SAFETY: this CPU's element, which the program of this purpose alone uses.
    let registers = unsafe { &mut (*scratch).registers };
    let in_use = if registers.interrupted == Registers::LEAF {
        IN_USE
    } else {
        0
    };
    let place = registers.stack_pointer.wrapping_sub(BELOW_FRAME);
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let probes = word(task, probes);
    if probes == 0 {
        return 0;
    }
    let mut call = word(probes, RETURN_INSTANCES_OFFSET.load());
    for _ in 0..MAX_CALLS {
        if call == 0 {
            return 0;
        }
        let address = word(call, RETURN_ADDRESS_OFFSET.load());
        let stack = word(call, RETURN_STACK_OFFSET.load());
        // Where several probes are on one function all but the first have found the trampoline there.
        if stack.wrapping_sub(place) <= in_use && address != registers.pc {
            registers.stack_pointer = stack.wrapping_add(BELOW_FRAME);
            return address;
        }
        call = word(call, RETURN_NEXT_OFFSET.load());
    }
    0
}

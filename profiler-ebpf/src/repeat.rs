//! How the steps of a walk are repeated: by the helper `bpf_loop` where the kernel has it, else by a loop
//! around a function that the kernel verifies by itself.
//!
//! The step is the same. `bpf_loop` gets a callback, and its pointers reach it through a context. A function that
//! is global to the kernel is verified once, knowing nothing of its callers, so that a loop of a thousand
//! calls costs the verifier a few thousand instructions; but it takes numbers only (pointers to memory came
//! to such functions later than `bpf_loop` came to some kernels), and so looks up again what it works on.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use profiler_common::context::labels::MAX_STEPS;
use profiler_common::layout::ProcessEntry;
use profiler_common::layout::sample::MAX_USER_FRAMES;

use crate::maps::{PROCESSES, SCRATCH};
use crate::sample::Scratch;
use crate::{context, unwind};

/// What a step says to whoever repeats it, as `bpf_loop` has it.
pub const CONTINUE: i64 = 0;
/// There is no further step.
pub const STOP: i64 = 1;

/// A way to repeat steps.
pub trait Repeat {
    /// Unwinds frames until the walk is over. `process` is the table's entry of the process, null where its
    /// mappings are not known.
    fn unwind(scratch: &mut Scratch, process: *const ProcessEntry);
    /// Appends the goroutine's labels.
    fn labels(scratch: &mut Scratch);
}

/// By `bpf_loop`.
pub struct ByHelper;

/// The pointers that the iterations share: on the stack, so that the verifier follows them. What
/// changes from step to step is in the scratch space: there it is unknown to the verifier, so that
/// one iteration is like the next.
#[repr(C)]
struct Walk {
    scratch: *mut Scratch,
    process: *const ProcessEntry,
}

impl Repeat for ByHelper {
    #[inline(always)]
    fn unwind(scratch: &mut Scratch, process: *const ProcessEntry) {
        let mut walk = Walk { scratch, process };
        // SAFETY: the callback has the type that the helper calls, the context outlives the call.
        unsafe {
            bpf_loop(
                MAX_USER_FRAMES as u32,
                unwind_frame as *mut c_void,
                (&raw mut walk).cast(),
                0,
            );
        }
    }
    #[inline(always)]
    fn labels(scratch: &mut Scratch) {
        let mut walk = Walk {
            scratch,
            process: core::ptr::null(),
        };
        // SAFETY: as above.
        unsafe {
            bpf_loop(
                MAX_STEPS,
                append_label as *mut c_void,
                (&raw mut walk).cast(),
                0,
            );
        }
    }
}

// The names are not mangled: mangled ones have a hash of where they were built.

#[unsafe(no_mangle)]
unsafe extern "C" fn unwind_frame(_index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `ByHelper` passes its own `Walk`, whose pointers are live map elements.
    let (scratch, process) = unsafe { (&mut *(*walk).scratch, (*walk).process) };
    unwind::frame(scratch, || process)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn append_label(_index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: as above.
    let scratch = unsafe { &mut *(*walk).scratch };
    context::label_step(scratch)
}

/// By a bounded loop.
pub struct Bounded;

impl Repeat for Bounded {
    #[inline(always)]
    fn unwind(_: &mut Scratch, _: *const ProcessEntry) {
        for _ in 0..MAX_USER_FRAMES {
            if unwind_frame_alone() != CONTINUE as u32 {
                break;
            }
        }
    }
    #[inline(always)]
    fn labels(_: &mut Scratch) {
        for _ in 0..MAX_STEPS {
            if append_label_alone() != CONTINUE as u32 {
                break;
            }
        }
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unwind_frame_alone() -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return STOP as u32;
    };
    // SAFETY: this CPU's element; see `Scratch` for why nobody else uses it. The loop does not touch it
    // while this function runs.
    let scratch = unsafe { &mut *scratch };
    let (pid, image) = (scratch.header.pid, scratch.header.image);
    unwind::frame(scratch, || {
        let entry = PROCESSES.get_ptr(pid).unwrap_or(core::ptr::null());
        if unwind::is_known(entry, image) {
            entry
        } else {
            core::ptr::null()
        }
    }) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_label_alone() -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return STOP as u32;
    };
    // SAFETY: as above.
    context::label_step(unsafe { &mut *scratch }) as u32
}

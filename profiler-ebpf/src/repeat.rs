//! How the steps of a walk are repeated: by the helper `bpf_loop` where the kernel has it, else by bounded loops.
//!
//! The step is the same: a function that is global to the kernel, which verifies it once and alone, knowing nothing of
//! its callers. So each call costs the verifier an instruction, however it is repeated. Such a function takes
//! numbers only (pointers to memory came to them later than the oldest kernel), and so looks up again
//! what it works on; what changes from step to step is in the scratch space.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use profiler_common::context::labels::MAX_STEPS;
use profiler_common::layout::sample::MAX_USER_FRAMES;

use crate::maps::SCRATCH;
use crate::{context, unwind};

/// What a step says to whoever repeats it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Next {
    /// There may be a further step.
    Continue = 0,
    /// There is none.
    Stop = 1,
}

/// A way to repeat steps.
pub trait Repeat {
    /// Unwinds frames until the walk is over.
    fn unwind();
    /// Appends the goroutine's labels.
    fn labels();
    /// Appends what is known of the sample's request.
    fn context();
}

/// By `bpf_loop`.
pub struct ByHelper;

impl Repeat for ByHelper {
    #[inline(always)]
    fn unwind() {
        call(MAX_USER_FRAMES as u32, unwind_frame as *mut c_void);
    }
    #[inline(always)]
    fn labels() {
        call(MAX_STEPS, append_label as *mut c_void);
    }
    #[inline(always)]
    fn context() {
        append_context_by_helper_alone();
    }
}

#[inline(always)]
fn call(times: u32, callback: *mut c_void) {
    // SAFETY: both callbacks have the type that the helper calls, and use no context.
    unsafe { bpf_loop(times, callback, core::ptr::null_mut(), 0) };
}

// The names below are not mangled: mangled ones have a hash of where they were built.

#[unsafe(no_mangle)]
extern "C" fn unwind_frame(_index: u32, _context: *mut c_void) -> i64 {
    answer(unwind_frame_alone())
}

#[unsafe(no_mangle)]
extern "C" fn append_label(_index: u32, _context: *mut c_void) -> i64 {
    answer(append_label_alone())
}

/// What a callback may return. The compiler knows that a step returns nothing else, and would leave the comparison
/// out; the verifier forgets what a function returns that it verifies alone.
#[inline(always)]
fn answer(step: u32) -> i64 {
    i64::from(core::hint::black_box(step) != Next::Continue as u32)
}

/// By bounded loops, one in the other: the verifier looks at every turn of a loop, and two functions that are verified
/// alone make 32 and 32 turns of 1,024.
pub struct Bounded;

/// Turns of the inner loops.
const INNER: u32 = 32;
const _: () = assert!((MAX_USER_FRAMES as u32).is_multiple_of(INNER));

impl Repeat for Bounded {
    #[inline(always)]
    fn unwind() {
        for _ in 0..MAX_USER_FRAMES as u32 / INNER {
            if unwind_frames_alone() != Next::Continue as u32 {
                break;
            }
        }
    }
    #[inline(always)]
    fn labels() {
        for _ in 0..MAX_STEPS.div_ceil(INNER) {
            if append_labels_alone() != Next::Continue as u32 {
                break;
            }
        }
    }
    #[inline(always)]
    fn context() {
        append_context_bounded_alone();
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unwind_frames_alone() -> u32 {
    for _ in 0..INNER {
        if unwind_frame_alone() != Next::Continue as u32 {
            return Next::Stop as u32;
        }
    }
    Next::Continue as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_labels_alone() -> u32 {
    for _ in 0..INNER {
        if append_label_alone() != Next::Continue as u32 {
            return Next::Stop as u32;
        }
    }
    Next::Continue as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unwind_frame_alone() -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Next::Stop as u32;
    };
    // SAFETY: this CPU's element; see `Scratch` for why nobody else uses it. Whoever repeats the step does not
    // touch it while this function runs.
    unwind::frame(unsafe { &mut *scratch }) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_label_alone() -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Next::Stop as u32;
    };
    // SAFETY: as above.
    context::label_step(unsafe { &mut *scratch }) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_context_by_helper_alone() -> u32 {
    append_context::<ByHelper>()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_context_bounded_alone() -> u32 {
    append_context::<Bounded>()
}

#[inline(always)]
fn append_context<R: Repeat>() -> u32 {
    if let Some(scratch) = SCRATCH.get_ptr_mut(0) {
        // SAFETY: as above.
        context::append::<R>(unsafe { &mut *scratch });
    }
    0
}

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

use crate::purpose::Purpose;
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
    fn unwind(purpose: Purpose);
    /// Appends the goroutine's labels.
    fn labels(purpose: Purpose);
    /// Appends what is known of the sample's request.
    fn context(purpose: Purpose);
}

/// By `bpf_loop`.
pub struct ByHelper;

impl Repeat for ByHelper {
    #[inline(always)]
    fn unwind(purpose: Purpose) {
        call(MAX_USER_FRAMES as u32, unwind_frame as *mut c_void, purpose);
    }
    #[inline(always)]
    fn labels(purpose: Purpose) {
        call(MAX_STEPS, append_label as *mut c_void, purpose);
    }
    #[inline(always)]
    fn context(purpose: Purpose) {
        append_context_by_helper_alone(purpose.0);
    }
}

#[inline(always)]
fn call(times: u32, callback: *mut c_void, mut purpose: Purpose) {
    // SAFETY: both callbacks have the type that the helper calls, and take a purpose for their context.
    unsafe { bpf_loop(times, callback, (&raw mut purpose).cast(), 0) };
}

// The names below are not mangled: mangled ones have a hash of where they were built.

#[unsafe(no_mangle)]
extern "C" fn unwind_frame(_index: u32, purpose: *mut c_void) -> i64 {
    // SAFETY: what `call` gave the helper.
    answer(unwind_frame_alone(unsafe {
        (*purpose.cast::<Purpose>()).0
    }))
}

#[unsafe(no_mangle)]
extern "C" fn append_label(_index: u32, purpose: *mut c_void) -> i64 {
    // SAFETY: what `call` gave the helper.
    answer(append_label_alone(unsafe {
        (*purpose.cast::<Purpose>()).0
    }))
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
    fn unwind(purpose: Purpose) {
        for _ in 0..MAX_USER_FRAMES as u32 / INNER {
            if unwind_frames_alone(purpose.0) != Next::Continue as u32 {
                break;
            }
        }
    }
    #[inline(always)]
    fn labels(purpose: Purpose) {
        for _ in 0..MAX_STEPS.div_ceil(INNER) {
            if append_labels_alone(purpose.0) != Next::Continue as u32 {
                break;
            }
        }
    }
    #[inline(always)]
    fn context(purpose: Purpose) {
        append_context_bounded_alone(purpose.0);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unwind_frames_alone(purpose: u32) -> u32 {
    for _ in 0..INNER {
        if unwind_frame_alone(purpose) != Next::Continue as u32 {
            return Next::Stop as u32;
        }
    }
    Next::Continue as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_labels_alone(purpose: u32) -> u32 {
    for _ in 0..INNER {
        if append_label_alone(purpose) != Next::Continue as u32 {
            return Next::Stop as u32;
        }
    }
    Next::Continue as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn unwind_frame_alone(purpose: u32) -> u32 {
    let Some(scratch) = Purpose(purpose).scratch() else {
        return Next::Stop as u32;
    };
    // SAFETY: this CPU's element of the purpose; see `Scratch` for why nobody else uses it. Whoever repeats the step does not
    // touch it while this function runs.
    unwind::frame(unsafe { &mut *scratch }, Purpose(purpose)) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_label_alone(purpose: u32) -> u32 {
    let Some(scratch) = Purpose(purpose).scratch() else {
        return Next::Stop as u32;
    };
    // SAFETY: as above.
    context::label_step(unsafe { &mut *scratch }) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_context_by_helper_alone(purpose: u32) -> u32 {
    append_context::<ByHelper>(Purpose(purpose))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_context_bounded_alone(purpose: u32) -> u32 {
    append_context::<Bounded>(Purpose(purpose))
}

#[inline(always)]
fn append_context<R: Repeat>(purpose: Purpose) -> u32 {
    if let Some(scratch) = purpose.scratch() {
        // SAFETY: as above.
        context::append::<R>(unsafe { &mut *scratch }, purpose);
    }
    0
}

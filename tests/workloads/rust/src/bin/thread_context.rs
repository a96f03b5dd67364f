//! A Rust program that publishes the trace and span of its requests (OTEP 4947): span K of trace K burns in
//! `burn_K`, `burn_outside` belongs to none.
//!
//! It prints `ready`, works on two threads until SIGTERM, then prints how often a second the context
//! changed.

use std::arch::global_asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};
use std::time::Instant;

static STOPPED: AtomicBool = AtomicBool::new(false);
static CHANGES: AtomicU64 = AtomicU64::new(0);

extern "C" fn stop(_signal: i32) {
    STOPPED.store(true, Ordering::Relaxed);
}

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn alarm(seconds: u32) -> u32;
    /// Makes the record the calling thread's context.
    fn attach_context(record: *mut Context);
}

// The language has no exported thread-local variables yet.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".balign 8",
    ".globl otel_thread_ctx_v1",
    ".type otel_thread_ctx_v1,@object",
    ".size otel_thread_ctx_v1,8",
    "otel_thread_ctx_v1: .zero 8",
    ".popsection",
    ".pushsection .text",
    ".globl attach_context",
    ".type attach_context,@function",
    "attach_context:",
    ".cfi_startproc",
    "mov rax, qword ptr otel_thread_ctx_v1@gottpoff[rip]",
    "mov qword ptr fs:[rax], rdi",
    "ret",
    ".cfi_endproc",
    ".size attach_context,.-attach_context",
    ".popsection",
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".balign 8",
    ".globl otel_thread_ctx_v1",
    ".type otel_thread_ctx_v1,@object",
    ".size otel_thread_ctx_v1,8",
    "otel_thread_ctx_v1: .zero 8",
    ".popsection",
    ".pushsection .text",
    ".globl attach_context",
    ".type attach_context,@function",
    "attach_context:",
    ".cfi_startproc",
    "mrs x1, tpidr_el0",
    "adrp x2, :gottprel:otel_thread_ctx_v1",
    "ldr x2, [x2, :gottprel_lo12:otel_thread_ctx_v1]",
    "str x0, [x1, x2]",
    "ret",
    ".cfi_endproc",
    ".size attach_context,.-attach_context",
    ".popsection",
);

#[repr(C, packed)]
struct Context {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    valid: u8,
    flags: u8,
    attributes: u16,
}

/// A thread's published record, from which nobody but a profiler reads.
struct Published(Box<Context>);

impl Published {
    fn new() -> Self {
        let mut record = Box::new(Context {
            trace_id: [0; 16],
            span_id: [0; 8],
            valid: 0,
            flags: 0,
            attributes: 0,
        });
        // SAFETY: the record lives until `drop` detaches it.
        unsafe { attach_context(&raw mut *record) };
        Self(record)
    }

    #[inline(never)]
    fn begin(&mut self, number: u8) {
        self.end();
        let record = &raw mut *self.0;
        // SAFETY: the record is this thread's; volatile, because a profiler reads it.
        unsafe {
            (&raw mut (*record).trace_id).write_volatile([number; 16]);
            (&raw mut (*record).span_id).write_volatile([number; 8]);
            compiler_fence(Ordering::SeqCst);
            (&raw mut (*record).valid).write_volatile(1);
        }
        compiler_fence(Ordering::SeqCst);
    }

    #[inline(never)]
    fn end(&mut self) {
        // SAFETY: as above.
        unsafe { (&raw mut self.0.valid).write_volatile(0) };
        compiler_fence(Ordering::SeqCst);
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // SAFETY: a null pointer is no context.
        unsafe { attach_context(std::ptr::null_mut()) };
    }
}

macro_rules! burners {
    ($($name:ident $number:literal)*) => {
        $(
            #[inline(never)]
            #[unsafe(no_mangle)]
            extern "C" fn $name(rounds: u64) {
                for round in 0..rounds {
                    // Equal functions would be folded into one.
                    black_box(round ^ $number);
                }
            }
        )*
    };
}
burners!(burn_1 1 burn_2 2 burn_3 3 burn_4 4 burn_outside 5);

/// Around 30,000; a cycle of fixed length beats with the sampling clock.
fn jittered(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    15_000 + *state % 30_000
}

fn work(mut state: u64) {
    let mut published = Published::new();
    while !STOPPED.load(Ordering::Relaxed) {
        let spans: [extern "C" fn(u64); 4] = [burn_1, burn_2, burn_3, burn_4];
        for (number, burn) in (1..).zip(spans) {
            published.begin(number);
            burn(jittered(&mut state));
        }
        published.end();
        burn_outside(jittered(&mut state));
        CHANGES.fetch_add(5, Ordering::Relaxed);
    }
}

fn main() {
    const SIGTERM: i32 = 15;
    // SAFETY: the handler only stores to an atomic.
    unsafe {
        signal(SIGTERM, stop);
        alarm(120);
    }
    println!("ready");
    let start = Instant::now();
    let thread = std::thread::spawn(|| work(2_463_534_242));
    work(88_172_645_463_325_252);
    thread.join().expect("the thread ends");
    let seconds = start.elapsed().as_secs_f64();
    let changes = CHANGES.load(Ordering::Relaxed) as f64;
    println!("changes_a_second {:.0}", changes / seconds);
}

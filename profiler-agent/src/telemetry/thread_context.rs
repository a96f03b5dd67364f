//! The trace and the span that a thread works for, where profilers look for them (OpenTelemetry thread context,
//! OTEP 4947): a thread-local variable, exported as `otel_thread_ctx_v1`, that points to a record. It is how the
//! agent's own samples know the agent's own spans.
//!
//! A thread has no record until it enters its first span.

use std::arch::global_asm;
use std::cell::OnceCell;
use std::sync::atomic::{Ordering, compiler_fence};

use crate::profile::Link;

unsafe extern "C" {
    /// Makes the record the calling thread's context; null: it has none.
    fn profiler_agent_attach_context(record: *mut Record);
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
    ".globl profiler_agent_attach_context",
    ".type profiler_agent_attach_context,@function",
    "profiler_agent_attach_context:",
    ".cfi_startproc",
    "mov rax, qword ptr otel_thread_ctx_v1@gottpoff[rip]",
    "mov qword ptr fs:[rax], rdi",
    "ret",
    ".cfi_endproc",
    ".size profiler_agent_attach_context,.-profiler_agent_attach_context",
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
    ".globl profiler_agent_attach_context",
    ".type profiler_agent_attach_context,@function",
    "profiler_agent_attach_context:",
    ".cfi_startproc",
    "mrs x1, tpidr_el0",
    "adrp x2, :gottprel:otel_thread_ctx_v1",
    "ldr x2, [x2, :gottprel_lo12:otel_thread_ctx_v1]",
    "str x0, [x1, x2]",
    "ret",
    ".cfi_endproc",
    ".size profiler_agent_attach_context,.-profiler_agent_attach_context",
    ".popsection",
);

/// What the variable points to; no attributes follow it.
#[repr(C, packed)]
struct Record {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    /// 1 where the ids hold.
    valid: u8,
    trace_flags: u8,
    attributes_size: u16,
}

const _: () = assert!(size_of::<Record>() == 28);

/// A thread's record.
struct Published(*mut Record);

thread_local! {
    static PUBLISHED: OnceCell<Published> = const { OnceCell::new() };
}

/// From now on the calling thread works for this span, or for none.
pub(super) fn publish(link: Option<Link>) {
    // A thread that ends publishes nothing any more.
    let _ = PUBLISHED.try_with(|published| match (published.get(), link) {
        (None, None) => {}
        _ => published.get_or_init(Published::attach).write(link),
    });
}

/// What the calling thread works for.
pub(super) fn current() -> Option<Link> {
    PUBLISHED
        .try_with(|published| published.get().and_then(Published::read))
        .ok()
        .flatten()
}

impl Published {
    fn attach() -> Self {
        let record = Box::into_raw(Box::new(Record {
            trace_id: [0; 16],
            span_id: [0; 8],
            valid: 0,
            trace_flags: 1,
            attributes_size: 0,
        }));
        // SAFETY: the record lives until `drop`, which detaches it first.
        unsafe { profiler_agent_attach_context(record) };
        Self(record)
    }

    /// A profiler looks only while this thread is interrupted: it sees the stores in their order, and ids are valid
    /// only when both are written.
    fn write(&self, link: Option<Link>) {
        let record = self.0;
        // SAFETY: the record is this thread's and lives as long as `self`. Volatile, because a profiler reads it.
        unsafe {
            (&raw mut (*record).valid).write_volatile(0);
            compiler_fence(Ordering::SeqCst);
            if let Some(link) = link {
                (&raw mut (*record).trace_id).write_volatile(link.trace_id);
                (&raw mut (*record).span_id).write_volatile(link.span_id);
                compiler_fence(Ordering::SeqCst);
                (&raw mut (*record).valid).write_volatile(1);
            }
        }
        compiler_fence(Ordering::SeqCst);
    }

    fn read(&self) -> Option<Link> {
        // SAFETY: as above; the fields of a packed record are copied.
        let record = unsafe { self.0.read_unaligned() };
        (record.valid == 1).then_some(Link {
            trace_id: record.trace_id,
            span_id: record.span_id,
        })
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // SAFETY: the record is detached before it is freed; it came from a box.
        unsafe {
            profiler_agent_attach_context(std::ptr::null_mut());
            drop(Box::from_raw(self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own() {
        let link = |byte| Link {
            trace_id: [byte; 16],
            span_id: [byte; 8],
        };
        assert_eq!(current(), None);
        publish(None);
        publish(Some(link(1)));
        assert_eq!(current(), Some(link(1)));
        let other = std::thread::spawn(move || {
            assert_eq!(current(), None);
            publish(Some(link(2)));
            current()
        });
        assert_eq!(other.join().unwrap(), Some(link(2)));
        assert_eq!(current(), Some(link(1)));
        publish(None);
        assert_eq!(current(), None);
    }
}

//! pprof: a gzip stream of one `profile.proto` message (`proto/profile.proto`).
//!
//! What is written: sample types samples/count and cpu/nanoseconds (shown by default), period type
//! cpu/nanoseconds. Each sample is all samples of one thread with one stack, link and set of
//! labels, with the labels
//!
//! | label | kind | value |
//! |---|---|---|
//! | `pid`, `tid` | number | in the initial pid namespace |
//! | `comm`, `thread` | string | names of the process and of the thread |
//! | `executable` | string | path of the process's executable, `[kernel]` for kernel threads |
//! | `container` | string | container id |
//! | `trace_id`, `span_id` | string | hexadecimal, where the sample belongs to a request; only the one that is known |
//! | `goid` | number | id of the goroutine, where it is asked for |
//! | any other | string | a label of the code itself; `label.` stands before a key of this table |
//!
//! A mapping is an executable segment in the file's own address space, with the GNU build id. It is always
//! marked as having functions: every location has a name (if only one like `libfoo.so+0x1a2b`), and no reader
//! is to look up addresses in the files that happen to lie on its own machine.
//! Comments hold what was lost (`losses: ring_full=3`) and how stacks ended (`outcomes: root=97 truncated=3`).
//! Times of samples have no place in the format. Windows that former versions of the store hold have them in numeric labels
//! `sample_offset` of the samples that belong to a request, in nanoseconds since the profile's start.

mod decode;
mod encode;
#[expect(unreachable_pub, reason = "written by a generator")]
mod generated;
mod tables;

#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::encode;
pub(super) use encode::encode_measured;

const LABEL_PID: &str = "pid";
const LABEL_TID: &str = "tid";
const LABEL_COMM: &str = "comm";
const LABEL_THREAD: &str = "thread";
const LABEL_EXECUTABLE: &str = "executable";
const LABEL_CONTAINER: &str = "container";
const LABEL_TRACE_ID: &str = "trace_id";
const LABEL_SPAN_ID: &str = "span_id";
const LABEL_GOROUTINE: &str = "goid";
const LABEL_OFFSET: &str = "sample_offset";
/// Stands before a key of a program's own label that would be taken for one of ours.
const OWN_PREFIX: &str = "label.";
/// The labels that mean what the table says.
pub(super) const OURS: [&str; 10] = [
    LABEL_PID,
    LABEL_TID,
    LABEL_COMM,
    LABEL_THREAD,
    LABEL_EXECUTABLE,
    LABEL_CONTAINER,
    LABEL_TRACE_ID,
    LABEL_SPAN_ID,
    LABEL_GOROUTINE,
    LABEL_OFFSET,
];
/// `executable` of a kernel thread.
const KERNEL_EXECUTABLE: &str = "[kernel]";
const LOSSES_COMMENT: &str = "losses:";
const OUTCOMES_COMMENT: &str = "outcomes:";

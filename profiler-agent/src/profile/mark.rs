//! Names in brackets: what stands in a stack where there is no function to name, so that no part of it vanishes from a
//! flame graph.

use std::borrow::Cow;

use profiler_common::unwind::Outcome;

use super::Explanation;
use super::explanation::explained;

explained! {
    /// A frame, or the mapping of one, that is no function of a program's.
    Mark {
        Kernel "[kernel]" counts "frames"
            what "are code of the kernel"
            cause "It is the mapping of each frame of the kernel, and with an address behind it the name of one that has no other: \
                   addresses are hidden (kernel_symbols_hidden), or the symbol is not listed."
            fix "nothing for the mapping; for addresses set kernel.kptr_restrict to 0 or 1, and give the agent CAP_SYSLOG"
        Bpf "[bpf]" counts "frames"
            what "are BPF programs"
            cause "Programs that other tools loaded, or the agent's own, were running when the sample was taken."
            fix "nothing; `bpftool prog` lists them"
        Trampoline "[trampoline]" counts "frames"
            what "are trampolines of the kernel's tracers"
            cause "ftrace, kprobes or BPF tracing go through generated code."
            fix "nothing"
        Anonymous "[anonymous]" counts "frames"
            what "are code in memory that no file is mapped to"
            cause "A JIT compiler generated it. It is the mapping of such frames; their names come from perf maps."
            fix "nothing for the mapping"
        Jit "[jit]" counts "frames"
            what "are generated code that no perf map names"
            cause "The runtime writes no /tmp/perf-PID.map, or the code is newer than its last line. All such code is one frame, for its \
                   addresses mean nothing to a person."
            fix "have the runtime write one: node --perf-basic-prof, PYTHONPERFSUPPORT=1, java with libperfmap or \
                 -XX:+DumpPerfMapAtExit"
        ReturnProbe "[uretprobe]" counts "frames"
            what "are return addresses that the kernel replaced, so that a probe sees the return"
            cause "A tracing tool has a uretprobe on the function above. The stack goes on behind it."
            fix "nothing"
        Unknown "[unknown]" counts "frames"
            what "have an address in no mapping"
            cause "It is not known what was mapped there when the sample was taken (mapping_unknown, process_table_full), or the stack \
                   was damaged."
            fix "give the agent more CPU time; look whether mapping_unknown grows"
    }
}

/// How a user stack ended, explained; the name is that of metrics, [`end_of_stack`] that of the frame.
#[must_use]
pub const fn explain(outcome: Outcome) -> Explanation {
    let (what, cause, fix) = explanation_of(outcome);
    Explanation {
        name: outcome.name(),
        unit: "stacks",
        what,
        cause,
        fix,
    }
}

/// The outermost frame of a stack that ends short of its root: `[truncated]`, `[unwind: no_rule]`.
#[must_use]
pub fn end_of_stack(outcome: Outcome) -> Cow<'static, str> {
    match outcome {
        Outcome::Truncated => Cow::Borrowed("[truncated]"),
        other => Cow::Owned(format!("[unwind: {}]", other.name())),
    }
}

const fn explanation_of(outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Outcome::NoUserStack => (
            "are of kernel threads, or of threads that end, and have no part in a program",
            "There is nothing to walk: the stack is whole.",
            "nothing",
        ),
        Outcome::Root => (
            "reached their root",
            "Call frame information or a zero return address said that nothing called the last function: the stack is whole.",
            "nothing",
        ),
        Outcome::Truncated => (
            "are deeper than the kernel side walks, and lack their outermost frames",
            "Deep recursion. The innermost frames are there.",
            "nothing; look at the flame graph from its leaves (sandwich view)",
        ),
        Outcome::MemoryUnreadable => (
            "end where the memory of the stack could not be read",
            "The page was swapped out or never touched, or a saved register led to an address that is no stack.",
            "look whether the machine swaps; where one program makes all of them, it writes over its own stack or its call frame \
             information is wrong",
        ),
        Outcome::NoRule => (
            "end in code without call frame information",
            "The file has no `.eh_frame` entry for the function, and its frame pointer led nowhere: hand-written assembly, or code \
             that was built without both.",
            "build it with -fasynchronous-unwind-tables or with -fno-omit-frame-pointer",
        ),
        Outcome::UnknownCode => (
            "end in code that is in no file",
            "A JIT compiler generated it, and it keeps no frame pointers; or a mapping is newer than what the agent knows.",
            "have the JIT compiler keep frame pointers, as java -XX:+PreserveFramePointer and node --perf-basic-prof do",
        ),
        Outcome::TablePending => (
            "end before the unwind tables of their files were built",
            "The first samples of a file come before its table, and waited for it as long as a window may. Very large files take \
             longest.",
            "record longer, or once more; if it goes on, give the agent more CPU time",
        ),
        Outcome::NotAdvancing => (
            "end where the frames would repeat",
            "The next frame is not above the last one: the program's stack is damaged, or its call frame information is wrong.",
            "look at the function below the mark with `readelf --debug-dump=frames`",
        ),
        Outcome::UnsupportedRule => (
            "end in code whose call frame information is not evaluated",
            "It needs a DWARF expression beyond those of compilers: hand-written assembly.",
            "report it with the file, or build that code with frame pointers",
        ),
        Outcome::RegisterUnavailable => (
            "end where a register that leads on is not known",
            "The function's frame is found by a register that a function below it has changed and not saved where it says.",
            "build that code with -fno-omit-frame-pointer",
        ),
        Outcome::ForeignMode => (
            "are of 32-bit programs, which are not walked",
            "Only 64-bit stacks are.",
            "build the program for 64 bits",
        ),
        Outcome::TableCorrupt => (
            "end where an unwind table is inconsistent",
            "An index leads out of the table.",
            "report it with the file",
        ),
        Outcome::RegistersMissing => (
            "could not be walked because the kernel did not give the program's registers",
            "The sample interrupted the kernel where a task's user registers are not to be had.",
            "nothing, where there are few; if more, report it with the kernel's version",
        ),
        Outcome::GoroutineUnknown => (
            "end in calls between Go and C, because the goroutine could not be determined",
            "The stack goes on where Go's runtime says, and the thread was just changing goroutines, or its runtime is not known.",
            "nothing, where there are few; if more, report it with the Go version",
        ),
    }
}

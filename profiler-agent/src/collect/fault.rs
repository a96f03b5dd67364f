//! Faults for the tests of tests: what the matrix of kernels must not let pass. Only in builds with the feature
//! `fault-injection`, and only where `PROFILER_FAULT` asks for one.

use super::offsets::Offsets;

fn wanted(fault: &str) -> bool {
    std::env::var_os("PROFILER_FAULT").is_some_and(|value| value == fault)
}

/// `offset`: fields of the kernel's task lie elsewhere than its type information says.
pub(super) fn displace(offsets: Offsets) -> Offsets {
    if !wanted("offset") {
        return offsets;
    }
    Offsets {
        flags: offsets.flags + 3,
        tgid: offsets.tgid + 3,
        pid: offsets.pid + 3,
        stack: offsets.stack + 3,
        signal: offsets.signal + 3,
        live: offsets.live + 3,
        thread_pointer: offsets.thread_pointer + 3,
        state: offsets.state + 3,
        start_time: offsets.start_time + 3,
        run_delay: offsets.run_delay + 3,
        ..offsets
    }
}

/// `helper`: the programs call a helper that no kernel has in the place of `bpf_get_smp_processor_id`.
pub(super) fn inject(object: &[u8]) -> Vec<u8> {
    /// `BPF_JMP | BPF_CALL` with the helper's number (`include/uapi/linux/bpf.h`).
    const CALL: [u8; 8] = [0x85, 0, 0, 0, 8, 0, 0, 0];
    const UNKNOWN: [u8; 8] = [0x85, 0, 0, 0, 0xff, 0x7f, 0, 0];
    let mut object = object.to_vec();
    if wanted("helper") {
        for instruction in object.chunks_exact_mut(8) {
            if instruction == CALL {
                instruction.copy_from_slice(&UNKNOWN);
            }
        }
    }
    object
}

//! What a kernel lacks, from what its verifier and the loader say. Pure.

/// The last of a text that is shown: the reason is at the end of a verifier's log.
const SHOWN_BYTES: usize = 600;

/// Helpers by number (`include/uapi/linux/bpf.h`, `__BPF_FUNC_MAPPER`): a kernel that does not know one has no name
/// for it either.
const HELPERS: &[(u32, &str)] = &[
    (6, "bpf_trace_printk"),
    (35, "bpf_get_current_task"),
    (67, "bpf_get_stack"),
    (80, "bpf_get_current_cgroup_id"),
    (112, "bpf_probe_read_user"),
    (113, "bpf_probe_read_kernel"),
    (114, "bpf_probe_read_user_str"),
    (115, "bpf_probe_read_kernel_str"),
    (125, "bpf_ktime_get_boot_ns"),
    (130, "bpf_ringbuf_output"),
    (131, "bpf_ringbuf_reserve"),
    (134, "bpf_ringbuf_query"),
    (156, "bpf_task_storage_get"),
    (158, "bpf_get_current_task_btf"),
    (164, "bpf_for_each_map_elem"),
    (175, "bpf_task_pt_regs"),
    (181, "bpf_loop"),
];

/// The helper that a verifier's log says is missing, by name.
///
/// ```text
/// unknown func bpf_loop#181                     the program's type may not call it
/// invalid func unknown#181                      the kernel does not know it
/// program of this type cannot use helper bpf_probe_read_kernel#113
/// ```
pub(super) fn missing_helper(log: &str) -> Option<String> {
    let rest = [
        "unknown func ",
        "invalid func ",
        "program of this type cannot use helper ",
    ]
    .iter()
    .find_map(|before| Some(log.rsplit_once(before)?.1))?;
    let word = rest.split_whitespace().next()?;
    let (name, number) = word.split_once('#')?;
    if name != "unknown" {
        return Some(name.to_owned());
    }
    let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
    let known = number.parse().ok().and_then(|number: u32| {
        let helper = HELPERS.iter().find(|(of, _)| *of == number)?;
        Some(helper.1.to_owned())
    });
    Some(known.unwrap_or_else(|| format!("number {number}")))
}

/// Is it a helper that every kernel has, but for programs that a lockdown (confidentiality) takes it away from? The
/// loader's library puts the eldest of them in the place of the others when it finds them missing.
pub(super) fn is_locked_down(helper: &str) -> bool {
    helper.starts_with("bpf_probe_read_kernel") || helper == "bpf_probe_read"
}

/// The tracepoint that aya did not find the type of.
pub(super) fn missing_tracepoint(text: &str) -> Option<&str> {
    let rest = text.split_once("btf_trace_")?.1;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// Does this text hold a verifier's log with a reason in it, rather than a mere number?
pub(super) fn verifier_has_an_objection(text: &str) -> bool {
    log_of(text)
        .lines()
        .map(str::trim)
        .any(|line| !line.is_empty() && !is_statistics(line))
        && text.contains("processed ")
        || missing_helper(text).is_some()
}

/// The verifier's log in an error of the loader's library.
fn log_of(text: &str) -> &str {
    text.split_once("Verifier output:")
        .map_or(text, |(_, log)| log)
}

fn is_statistics(line: &str) -> bool {
    line.starts_with("processed ")
        || line.starts_with("verification time")
        || line.starts_with("stack depth")
        || line.starts_with("func#")
}

/// Did the verifier reach the end of what it looks at?
pub(super) fn is_too_large(log: &str) -> bool {
    log.contains("BPF program is too large") || log.contains("too many states")
}

/// What a map needs of the kernel.
pub(super) fn of_map(name: &str) -> &'static str {
    match name {
        "RINGS" | "sample_ring" => "BPF ring buffers (BPF_MAP_TYPE_RINGBUF) in maps of maps",
        "SEGMENTS" | "unwind_tables" => {
            "BPF arrays of different lengths in one map (BPF_F_INNER_MAP) that can be mapped (BPF_F_MMAPABLE)"
        }
        "TRACES" | "no_traces" => "BPF LRU hashes in maps of maps",
        "COUNTS" | "SCRATCH" | "SNAPSHOT" | "DECISION" => "per-CPU BPF arrays",
        "PROCESSES" | "SELECTED" | "STAYS" => "BPF hash maps",
        "TASK_STAYS" => "BPF storage of tasks",
        _ => "BPF arrays",
    }
}

/// What helps where something is lacking.
pub(super) fn needed(feature: &str) -> String {
    format!("A kernel with {feature} is needed; docs/kernels.md lists what else.")
}

/// The end of a text, in one line.
pub(super) fn last_lines(text: &str) -> String {
    let text = log_of(text).trim();
    let from = text.len().saturating_sub(SHOWN_BYTES);
    let from = (from..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    let lines: Vec<&str> = text[from..]
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !is_statistics(line))
        .collect();
    lines.join("; ")
}

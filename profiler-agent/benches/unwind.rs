//! Table build, renumbering and cache rates on large files of this machine.
//!
//! `cargo bench -p profiler-agent --bench unwind [-- FILE...]`

use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use profiler_agent::profile::BuildId;
use profiler_agent::unwind::{Built, RuleInterner, TableCache, TableKey, build, reindex};

const ROUNDS: u32 = 5;

fn usual_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let fixed = [
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib/aarch64-linux-gnu/libc.so.6",
        "/usr/lib/jvm/temurin-25-jdk-amd64/lib/server/libjvm.so",
        "/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so",
        "/usr/bin/node",
        "/usr/local/go/bin/go",
    ];
    files.extend(fixed.into_iter().map(PathBuf::from));
    let rustc = std::process::Command::new("rustc")
        .args(["--print", "sysroot"])
        .output();
    if let Ok(output) = rustc
        && let Ok(sysroot) = String::from_utf8(output.stdout)
        && let Ok(entries) = Path::new(sysroot.trim()).join("lib").read_dir()
    {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files
}

/// The shortest of some rounds.
fn shortest<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut round = || {
        let start = Instant::now();
        let result = black_box(work());
        (start.elapsed(), result)
    };
    let mut best = round();
    for _ in 1..ROUNDS {
        let next = round();
        if next.0 < best.0 {
            best = next;
        }
    }
    best
}

/// Peak resident memory of this process so far, in KiB.
fn peak_resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|text| text.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn main() {
    let mut files: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    if files.is_empty() {
        files = usual_files();
    }
    let directory = std::env::temp_dir().join(format!("unwind-bench-{}", std::process::id()));
    let mut cache = match TableCache::open(&directory, 1 << 30) {
        Ok(cache) => cache,
        Err(error) => {
            eprintln!("{error}");
            return;
        }
    };
    let mut shared = RuleInterner::new();
    println!(
        "  build ms     rows  rows/us  table KiB  rules  reindex ms  put ms  get ms  peak KiB  file"
    );
    for (number, path) in files.iter().enumerate() {
        let Ok(file) = File::open(path) else {
            continue;
        };
        let (built_in, Ok(Built { table, statistics })) = shortest(|| build(&file)) else {
            continue;
        };
        let peak = peak_resident_kib();
        let words = table.words.len();
        let rules = table.rules.len();
        let Some(build_id) = BuildId::new(&(number as u64 + 1).to_le_bytes()) else {
            continue;
        };
        let key = TableKey::build_id(&build_id, 0);
        let (put_in, put) = shortest(|| cache.put(&key, &table));
        let (got_in, got) = shortest(|| cache.get(&key));
        assert!(
            put.is_ok() && got.as_ref() == Some(&table),
            "the cache keeps what it was given"
        );
        let copies: Vec<_> = (0..ROUNDS).map(|_| table.clone()).collect();
        let mut copies = copies.into_iter();
        let (reindexed_in, _) = shortest(|| copies.next().map(|table| reindex(table, &mut shared)));
        println!(
            "{:10.1} {:8} {:8.1} {:10} {:6} {:11.2} {:7.1} {:7.1} {:9}  {}",
            built_in.as_secs_f64() * 1e3,
            statistics.rows,
            f64::from(statistics.rows) / built_in.as_micros().max(1) as f64,
            words * 4 / 1024,
            rules,
            reindexed_in.as_secs_f64() * 1e3,
            put_in.as_secs_f64() * 1e3,
            got_in.as_secs_f64() * 1e3,
            peak,
            path.display(),
        );
    }
    println!("{} distinct rules in all files", shared.rules().len());
    if let Err(error) = std::fs::remove_dir_all(&directory) {
        eprintln!("{}: {error}", directory.display());
    }
}

//! The line tables of large Go programs: what opening one costs, and how many locations are named a second.
//!
//! `cargo bench -p profiler-agent --bench go [-- FILE...]`

use std::fs::File;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use profiler_agent::elf::MappedFile;
use profiler_agent::go::{LineTable, Steps};
use profiler_agent::profile::ElfAddress;

const ROUNDS: u32 = 5;
/// Locations that are named.
const LOCATIONS: u64 = 100_000;

fn usual_files() -> Vec<PathBuf> {
    let root = PathBuf::from("/usr/local/go");
    let tools = root.join("pkg/tool/linux_amd64");
    let mut files = vec![root.join("bin/go"), tools.join("compile")];
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/go-toolchains");
    if let Ok(entries) = PathBuf::from(fetched).read_dir() {
        files.extend(
            entries
                .flatten()
                .map(|entry| entry.path().join("go/bin/go")),
        );
    }
    files.sort();
    files
}

/// The shortest of some rounds.
fn shortest<T>(mut work: impl FnMut() -> T) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        black_box(work());
        start.elapsed()
    });
    rounds.min().unwrap_or_default()
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
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
    println!(
        "  size MiB  functions  open us  again us  open KiB  locations/s  frames/location  named KiB  file"
    );
    for path in files {
        let Ok(file) = File::open(&path) else {
            continue;
        };
        let Ok(data) = MappedFile::new(&file) else {
            continue;
        };
        let before = resident_kib();
        let Ok(table) = LineTable::find(&data) else {
            continue;
        };
        let opened = resident_kib().saturating_sub(before);
        let open = shortest(|| LineTable::find(&data).map(|table| table.len()));
        let again = shortest(|| LineTable::with(&data, table.layout()).map(|table| table.len()));
        let (start, end) = (table.start().0, table.end().0);
        let step = ((end - start) / LOCATIONS).max(1) as usize;
        let addresses: Vec<u64> = (start..end).step_by(step).collect();
        let mut frames = 0;
        let named = shortest(|| {
            frames = 0;
            for address in addresses.iter().copied().map(ElfAddress) {
                let function = table.lookup(address);
                let found = function.map(|found| found.frames(address, &mut Steps(1 << 20)));
                frames += found.map_or(0, |found| found.frames.len());
            }
        });
        let touched = resident_kib().saturating_sub(before);
        println!(
            "{:10.1} {:10} {:8} {:9.1} {:9} {:12.0} {:16.2} {:10}  {}",
            data.len() as f64 / f64::from(1 << 20),
            table.len(),
            open.as_micros(),
            again.as_nanos() as f64 / 1e3,
            opened,
            addresses.len() as f64 / named.as_secs_f64(),
            f64::from(u32::try_from(frames).unwrap_or(u32::MAX)) / addresses.len() as f64,
            touched,
            path.display(),
        );
    }
}

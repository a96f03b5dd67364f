//! The program's profile of itself.

use std::path::PathBuf;

use pprof::{ProfilerGuard, ProfilerGuardBuilder};

/// A profiler that runs, and the file that its report goes to.
pub struct Inside {
    path: PathBuf,
    guard: ProfilerGuard<'static>,
}

impl Inside {
    /// Starts it if the program has an argument, which names the file.
    pub fn start() -> Option<Self> {
        let path = std::env::args_os().nth(1)?.into();
        let guard = ProfilerGuardBuilder::default().frequency(499).build();
        let guard = guard.expect("a profiler on the inside");
        Some(Self { path, guard })
    }

    /// Writes the report.
    pub fn report(self) {
        let report = self.guard.report().build();
        let report = report.expect("a report from the inside");
        let mut counts = [("burn_two_thirds", 0), ("burn_one_third", 0)];
        for (frames, count) in &report.data {
            for frame in frames.frames.iter().flatten() {
                for (name, total) in &mut counts {
                    if frame.name().ends_with(*name) {
                        *total += *count;
                    }
                }
            }
        }
        let line = |(name, count)| format!("{name} {count}\n");
        let lines: String = counts.into_iter().map(line).collect();
        std::fs::write(self.path, lines).expect("a file for the report");
    }
}

//! Runs other programs, shows what they say and counts the tests that they report.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many checks and tests ended which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Succeeded.
    pub(crate) passed: u64,
    /// Did not.
    pub(crate) failed: u64,
}

/// The name of a test that failed, from libtest's line about it (`test name ... FAILED`).
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// The name of a test that ran, from libtest's line about it.
fn ended_test(line: &str) -> Option<&str> {
    let passed = line.strip_prefix("test ")?.strip_suffix(" ... ok");
    passed.or_else(|| failed_test(line))
}

/// How many tests are named that took longest.
const SLOWEST: usize = 12;

/// How long tests took that run one after the other.
#[derive(Default)]
struct Durations(Vec<(Duration, String)>);

impl Durations {
    /// Notes what a line says that came so long after the last one about a test; is it such a line?
    fn note(&mut self, line: &str, since: Duration) -> bool {
        let ended = ended_test(line).map(|name| (since, name.to_owned()));
        let is_one = ended.is_some();
        self.0.extend(ended);
        is_one
    }

    /// A line for each of those that took longest, the longest first.
    fn slowest(mut self) -> String {
        self.0.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
        let lines = self.0.iter().take(SLOWEST);
        lines
            .map(|(took, name)| format!("    {:>4} s {name}\n", took.as_secs()))
            .collect()
    }
}

impl Tally {
    /// Counts the tests of a closing line of libtest (`test result: ok. 3 passed; 0 failed; ..`).
    fn count_line(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let mut words = result
            .split([' ', ';', '.'])
            .filter(|word| !word.is_empty());
        let mut before = "";
        for word in &mut words {
            match (word, before.parse::<u64>()) {
                ("passed", Ok(count)) => self.passed += count,
                ("failed", Ok(count)) => self.failed += count,
                _ => {}
            }
            before = word;
        }
    }
}

/// The steps of a run: each is announced, timed and counted, and a failed one does not keep the
/// later ones from being run.
#[derive(Default)]
pub(crate) struct Steps {
    tally: Tally,
    failures: Vec<String>,
}

impl Steps {
    /// Runs a check that either holds or does not.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        self.step(name, |tally| {
            check()?;
            tally.passed += 1;
            Ok(())
        });
    }

    /// Runs a program whose output reports tests.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) {
        self.observed_tests(name, command, None);
    }

    /// As [`Self::tests`], of tests that run one after the other; then it says which took longest.
    pub(crate) fn tests_in_turn(&mut self, name: &str, command: &mut Command) {
        self.observed_tests(name, command, Some(Durations::default()));
    }

    /// Adds what ran beside these steps.
    pub(crate) fn join(&mut self, other: Self) {
        self.tally.passed += other.tally.passed;
        self.tally.failed += other.tally.failed;
        self.failures.extend(other.failures);
    }

    /// Prints what failed, then the closing line; an error if anything failed or nothing ran.
    pub(crate) fn close(self) -> Result<()> {
        for failure in &self.failures {
            println!("failed: {failure}");
        }
        println!("{} passed, {} failed", self.tally.passed, self.tally.failed);
        if self.tally.failed > 0 {
            bail!("{} failed", self.tally.failed);
        }
        if self.tally.passed == 0 {
            bail!("nothing was run");
        }
        Ok(())
    }

    fn observed_tests(&mut self, name: &str, command: &mut Command, times: Option<Durations>) {
        let mut seen = Seen {
            failed: Vec::new(),
            times,
        };
        self.step(name, |tally| run_tests(command, tally, &mut seen));
        let failed = seen.failed.into_iter();
        self.failures
            .extend(failed.map(|test| format!("{name}: {test}")));
        if let Some(times) = seen.times {
            print!("{}", times.slowest());
        }
    }

    fn step(&mut self, name: &str, step: impl FnOnce(&mut Tally) -> Result<()>) {
        println!("==> {name}");
        let start = Instant::now();
        let failed_before = self.tally.failed;
        if let Err(error) = step(&mut self.tally) {
            println!("{name}: {error:#}");
            self.failures.push(format!("{name}: {error:#}"));
            if self.tally.failed == failed_before {
                self.tally.failed += 1;
            }
        }
        println!("    {name}: {:.0} s", start.elapsed().as_secs_f64());
    }
}

/// Runs a program to its end; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// A program's standard output; an error unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{shown}: output is not UTF-8"))
}

/// What the output of tests says beside their number.
struct Seen {
    failed: Vec<String>,
    /// Only where they run one after the other.
    times: Option<Durations>,
}

fn run_tests(command: &mut Command, tally: &mut Tally, seen: &mut Seen) -> Result<()> {
    let shown = show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let stdout = child.stdout.take().expect("standard output is piped");
    let mut last = Instant::now();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("{shown}: output"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.count_line(&line);
        seen.failed.extend(failed_test(&line).map(str::to_owned));
        if let Some(times) = &mut seen.times
            && times.note(&line, last.elapsed())
        {
            last = Instant::now();
        }
    }
    let status = child.wait().with_context(|| format!("{shown}: wait"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

fn show(command: &Command) -> String {
    let mut shown = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        shown.push(' ');
        shown.push_str(&argument.to_string_lossy());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted_and_nothing_else() {
        let mut tally = Tally::default();
        tally.count_line(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out",
        );
        tally.count_line("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured");
        tally.count_line("running 4 tests; 4 passed; 4 failed");
        assert_eq!(
            tally,
            Tally {
                passed: 14,
                failed: 3
            }
        );
    }

    #[test]
    fn tests_that_failed_are_named() {
        assert_eq!(failed_test("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failed_test("test a::b ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 2 passed"), None);
    }

    #[test]
    fn the_slowest_tests_are_named_first() {
        let mut times = Durations::default();
        for (line, seconds, is_one) in [
            ("test a::quick ... ok", 1, true),
            ("profiling this machine", 9, false),
            ("test a::slow ... FAILED", 70, true),
            ("test a::other ... ignored, as asked", 80, false),
        ] {
            assert_eq!(times.note(line, Duration::from_secs(seconds)), is_one);
        }
        assert_eq!(times.slowest(), "      70 s a::slow\n       1 s a::quick\n");
    }

    #[test]
    fn a_failed_step_is_counted_once_and_the_next_is_run() {
        let mut steps = Steps::default();
        steps.check("refuses", || bail!("no"));
        steps.check("agrees", || Ok(()));
        assert_eq!(
            steps.tally,
            Tally {
                passed: 1,
                failed: 1
            }
        );
        assert_eq!(steps.failures, ["refuses: no"]);
        assert!(steps.close().is_err());
    }

    #[test]
    fn a_run_without_tests_is_an_error() {
        assert!(Steps::default().close().is_err());
    }

    #[test]
    fn a_program_that_fails_without_a_report_is_a_failure() {
        let mut steps = Steps::default();
        steps.tests("false", &mut Command::new("false"));
        assert_eq!(
            steps.tally,
            Tally {
                passed: 0,
                failed: 1
            }
        );
    }
}

//! Runs other programs, shows what they say and counts the tests that they report.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

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
        let mut tests = Vec::new();
        self.step(name, |tally| run_tests(command, tally, &mut tests));
        self.failures
            .extend(tests.into_iter().map(|test| format!("{name}: {test}")));
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

fn run_tests(command: &mut Command, tally: &mut Tally, failed: &mut Vec<String>) -> Result<()> {
    let shown = show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let stdout = child.stdout.take().expect("standard output is piped");
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("{shown}: output"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.count_line(&line);
        failed.extend(failed_test(&line).map(str::to_owned));
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

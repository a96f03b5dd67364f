//! A workload that runs, and is gone when its owner is.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A running workload, in a process group of its own; killed with all of the group when dropped.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Workload {
    /// Starts a workload and waits until it says `ready`.
    ///
    /// # Panics
    ///
    /// When it cannot be started or ends before it is ready.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut workload = Self { child, output };
        let line = workload.line();
        assert_eq!(line.as_deref(), Some("ready"), "{command:?} is not ready");
        workload
    }

    /// Its process id (of the program that was started, not of what that started).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, and returns the line that it answers.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn ask(&mut self, signal: Signal) -> String {
        kill_process(self.process(), signal).expect("the workload still runs");
        self.line().expect("the workload answers")
    }

    /// Ends it by SIGTERM and returns what it then says of itself.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn stop(mut self) -> Truth {
        let pid = self.process();
        kill_process(pid, Signal::TERM).expect("the workload still runs");
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            lines.push(line);
        }
        let status = self.child.wait().expect("the workload can be waited for");
        assert!(status.success(), "the workload failed: {status}");
        Truth::new(lines.iter().map(String::as_str))
    }

    fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self
            .output
            .read_line(&mut line)
            .expect("the workload's output");
        (length > 0).then(|| line.trim_end().to_owned())
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to do.
        let _gone = kill_process_group(self.process(), Signal::KILL);
        let _gone = self.child.wait();
    }
}

/// What a workload says of itself when it is stopped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// Share of its CPU time in each function, 0 to 1.
    pub shares: BTreeMap<String, f64>,
    /// Its other numbers.
    pub numbers: BTreeMap<String, f64>,
}

impl Truth {
    /// Reads what a workload printed, from its start on.
    ///
    /// # Panics
    ///
    /// When it is something else.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let lines = output.lines().filter(|line| *line != "ready");
        Self::new(lines)
    }

    fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut truth = Self::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["share", name, share] => {
                    let share = share.parse().expect("a share is a number");
                    truth.shares.insert((*name).to_owned(), share);
                }
                [name, number] => {
                    let number = number.parse().expect("a truth is a number");
                    truth.numbers.insert((*name).to_owned(), number);
                }
                _ => panic!("not a truth: {line}"),
            }
        }
        truth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_started_and_stopped() {
        let script = "trap 'echo share a 0.25; echo started 3; exit 0' TERM; echo ready; while :; do read -t 1 x <> <(:); done";
        let workload = Workload::start(Command::new("bash").args(["-c", script]));
        let truth = workload.stop();
        assert!((truth.shares["a"] - 0.25).abs() < 1e-9);
        assert!((truth.numbers["started"] - 3.0).abs() < 1e-9);
    }

    #[test]
    #[should_panic(expected = "is not ready")]
    fn a_workload_that_ends_at_once_is_refused() {
        let _workload = Workload::start(&mut Command::new("true"));
    }
}

//! One look at a process: at its environment, and at the context that it publishes.
//!
//! Its environment is read once. Looking for the mapping that it publishes reads all of /proc/PID/maps; once that is found, a look
//! is one short read of memory. All of it may hang, for as long as the process wants: its memory may be a file whose file system
//! does not answer, and while somebody waits for that, so may its list of mappings.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::environment::{self, Environment};
use super::published::{self, Published, Unpublished};
use crate::confine;
use crate::profile::{ResourceAttribute, VirtualAddress};

/// Bytes of /proc/PID/maps that are read.
const MAX_MAPS_BYTES: u64 = 16 << 20;
/// The longest line of it.
const MAX_LINE: usize = 8192;

/// What a look is for, and what is known already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Is the environment still to be read?
    pub(super) environment: bool,
    /// Where the context is.
    pub(super) address: Option<VirtualAddress>,
    /// Which one was read.
    pub(super) read: Option<Published>,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// The environment, where there is one: it is empty for a moment in an exec.
    pub(super) environment: Option<Environment>,
    /// Where the context is.
    pub(super) address: Option<VirtualAddress>,
    /// Which one was read.
    pub(super) read: Option<Published>,
    /// What it says, where that is new.
    pub(super) context: Result<Option<Arc<[ResourceAttribute]>>, Unpublished>,
}

impl Look {
    /// Looks at a process.
    pub(super) fn at(self, pid: u32) -> Seen {
        let mut seen = Seen {
            environment: self.environment.then(|| environment_of(pid)).flatten(),
            address: self.address.or_else(|| search(pid)),
            read: self.read,
            context: Ok(None),
        };
        if let Some(address) = seen.address {
            seen.context = match confine::memory_of(pid) {
                Ok(file) => published::read_new(address, &mut seen.read, |at, into| {
                    i64::try_from(at).is_ok() && file.read_exact_at(into, at).is_ok()
                }),
                Err(_) => Err(Unpublished::Absent),
            };
        }
        seen
    }
}

fn environment_of(pid: u32) -> Option<Environment> {
    let content = confine::environment_of(pid, environment::MAX_BYTES)
        .inspect_err(|error| tracing::debug!(pid, %error, "no environment"))
        .ok()?;
    (!content.is_empty()).then(|| environment::parse(&content))
}

/// Where a process has its context.
fn search(pid: u32) -> Option<VirtualAddress> {
    let file = File::open(format!("/proc/{pid}/maps")).ok()?;
    let mut lines = BufReader::with_capacity(32 << 10, file.take(MAX_MAPS_BYTES));
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut lines)
            .take(MAX_LINE as u64)
            .read_until(b'\n', &mut line)
            .ok()?;
        if length == 0 {
            return None;
        }
        if let Some(address) = published::find(line.trim_ascii_end()) {
            return Some(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_s_environment_is_read_where_that_is_asked() {
        let mut child = Command::new("cat")
            .env("OTEL_SERVICE_NAME", "shop")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // In an exec there is none for a moment: it is over when the program answers.
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        input.write_all(b"x").unwrap();
        output.read_exact(&mut [0]).unwrap();
        let look = |environment| Look {
            environment,
            address: None,
            read: None,
        };
        let seen = look(true).at(child.id());
        let names = seen.environment.map(|found| found.attributes.len());
        let unasked = look(false).at(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(names, Some(1));
        assert_eq!((seen.address, seen.context), (None, Ok(None)));
        assert!(unasked.environment.is_none());
        assert!(look(true).at(child.id()).environment.is_none());
    }
}

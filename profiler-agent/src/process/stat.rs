//! /proc/PID/stat: pure, and total over any bytes (the name in it is untrusted and may hold
//! blanks, parentheses and newlines; what follows the last `)` is the kernel's).

use super::text::lossy;

/// What is used of /proc/PID/stat (`proc_pid_stat(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Name of the main thread.
    pub comm: Box<str>,
    /// State: `Z` for a main thread that ended.
    pub state: u8,
    /// Parent's pid.
    pub parent: u32,
    /// Is it a kernel thread?
    pub kernel: bool,
    /// Number of threads.
    pub threads: u32,
    /// When it started: clock ticks (`_SC_CLK_TCK`) since boot.
    pub start_ticks: u64,
}

/// `PF_KTHREAD` of `include/linux/sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

impl Stat {
    /// The facts in `stat`; `None` when it is malformed.
    #[must_use]
    pub fn parse(stat: &[u8]) -> Option<Self> {
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let comm = lossy(stat.get(open + 1..close)?);
        let mut fields = std::str::from_utf8(&stat[close + 1..])
            .ok()?
            .split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        // Fields 5 to 8 stand between the parent (4) and the flags (9).
        let flags: u64 = fields.nth(4)?.parse().ok()?;
        // 20 is the number of threads, 22 the start time.
        let threads = fields.nth(10)?.parse().ok()?;
        let start_ticks = fields.nth(1)?.parse().ok()?;
        Some(Self {
            comm,
            state,
            parent,
            kernel: flags & KERNEL_THREAD != 0,
            threads,
            start_ticks,
        })
    }
}

impl Stat {
    /// Did the main thread end? Others may go on (`pthread_exit` in `main`), and the memory is theirs.
    #[must_use]
    pub const fn main_thread_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
    /// Did all threads end? A main thread that ended is counted until it is waited for.
    #[must_use]
    pub const fn ended(&self) -> bool {
        self.main_thread_ended() && self.threads <= 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Stat;

    #[test]
    fn a_name_that_looks_like_the_rest() {
        let stat = b"42 (a) Z 1 (b\n) R 7 42 42 0 -1 4194304 107 0 0 0 0 0 0 0 20 0 3 0 26345 2666496 223 \
            18446744073709551615 1 1 0";
        assert_eq!(
            Stat::parse(stat),
            Some(Stat {
                comm: "a) Z 1 (b\n".into(),
                state: b'R',
                parent: 7,
                kernel: false,
                threads: 3,
                start_ticks: 26345,
            })
        );
    }

    #[test]
    fn a_kernel_thread() {
        let stat = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0 184";
        assert!(Stat::parse(stat).unwrap().kernel);
    }

    #[test]
    fn the_kernel_s_own() {
        let stat = Stat::parse(&std::fs::read("/proc/self/stat").unwrap()).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        assert_eq!(stat.parent.to_string(), field("PPid:"));
        assert_eq!(*stat.comm, *field("Name:"));
        assert!(!stat.kernel);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Stat::parse(&bytes));
        }
    }
}

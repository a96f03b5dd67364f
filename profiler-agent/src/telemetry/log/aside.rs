//! Standard error written by a thread of its own. Whoever reads it may stand still (a pipe to a log collector whose disk is
//! full): lines that there is no room for are left out and counted then, and the agent goes on.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait to be written.
const LINES: usize = 1_024;
/// How long the end waits for what is not written.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the thread is to do.
enum Order {
    /// Write this.
    Write(Box<[u8]>),
    /// Say when all before is written.
    Tell(SyncSender<()>),
}

/// Hands lines over; what there is no room for is counted.
#[derive(Clone, Debug)]
pub struct Aside(SyncSender<Order>);

static STDERR: OnceLock<Aside> = OnceLock::new();
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

impl Aside {
    /// Writes to `output` on a thread of its own.
    fn over(output: impl Write + Send + 'static) -> Self {
        let (sender, orders) = sync_channel(LINES);
        let named = thread::Builder::new().name("log-writer".into());
        // Without a thread every line is one that was left out.
        let _ = named.spawn(move || work(&orders, output));
        Self(sender)
    }

    /// Waits until what was handed over is written, for a second at most.
    fn finish(&self) {
        let (told, tells) = sync_channel(1);
        if self.0.try_send(Order::Tell(told)).is_ok() {
            // What is not written by then is lost with whoever reads it.
            let _ = tells.recv_timeout(PATIENCE);
        }
    }
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Order::Write(bytes.into())).is_err() {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(orders: &Receiver<Order>, mut output: impl Write) {
    for order in orders {
        match order {
            // Nothing can be done about a closed one.
            Order::Write(line) => _ = output.write_all(&line),
            Order::Tell(told) => _ = told.try_send(()),
        }
    }
}

/// Standard error, without waiting for it.
pub fn stderr() -> Aside {
    let aside = STDERR.get_or_init(|| {
        // Not by way of the lock of `std::io::stderr`: who holds it may wait for ever.
        match io::stderr().as_fd().try_clone_to_owned() {
            Ok(descriptor) => Aside::over(File::from(descriptor)),
            Err(_) => Aside::over(io::stderr()),
        }
    });
    aside.clone()
}

/// Says something to a person, behind what was logged before.
pub fn say(line: &str) {
    // It never fails.
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// Waits until what was logged is written, for a second at most.
pub fn finish() {
    if let Some(aside) = STDERR.get() {
        aside.finish();
    }
}

/// Lines that standard error did not take so far.
pub(super) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut aside = Aside::over(writer);
        let line = [b'x'; 4_096];
        let before = left_out();
        let most = 4 * LINES;
        for _ in 0..most {
            aside.write_all(&line).unwrap();
        }
        // Those in the pipe, those that wait, one in the writer's hands.
        let left = left_out() - before;
        assert!(left > (most - LINES) as u64 / 2, "{left}");
        drop(aside);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), (most - left as usize) * line.len());
    }

    #[test]
    fn what_was_logged_is_written_at_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut aside = Aside::over(writer);
        aside.write_all(b"last words").unwrap();
        aside.finish();
        let mut read = [0; 10];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"last words");
    }
}

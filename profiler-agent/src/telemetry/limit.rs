//! How many lines one place in the code may write: a burst, then one a minute that says how many were left out.
//!
//! A place that has been within its rate for a minute has its whole burst again.

use std::time::Duration;

/// Lines that a place may write at once.
const BURST: u32 = 10;
/// Time between two lines of a place that writes too many.
const INTERVAL: Duration = Duration::from_secs(60);

/// What is to be done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is written; this many of the same place were left out before it.
    Write {
        /// How many.
        suppressed: u64,
    },
    /// It is left out.
    Suppress,
}

/// The lines of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// When the current interval began.
    began: Option<Duration>,
    /// Lines written in it.
    written: u32,
    /// Did the interval before leave lines out?
    limited: bool,
    /// Lines left out since the last one that was written.
    suppressed: u64,
}

impl Site {
    /// Judges a line at `now`, a time on a clock that does not go back.
    pub fn judge(&mut self, now: Duration) -> Verdict {
        let passed = self.began.map(|began| now.saturating_sub(began));
        if passed.is_none_or(|passed| passed >= INTERVAL) {
            // A whole interval without a line is one within the rate.
            self.limited = self.suppressed > 0 && passed.is_some_and(|p| p < 2 * INTERVAL);
            self.began = Some(now);
            self.written = 0;
        }
        let may_write = if self.limited { 1 } else { BURST };
        if self.written >= may_write {
            self.suppressed += 1;
            return Verdict::Suppress;
        }
        self.written += 1;
        Verdict::Write {
            suppressed: std::mem::take(&mut self.suppressed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When lines at these times were written, and how many each says were left out.
    fn written(times: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
        let mut site = Site::default();
        times
            .filter_map(|second| match site.judge(Duration::from_secs(second)) {
                Verdict::Write { suppressed } => Some((second, suppressed)),
                Verdict::Suppress => None,
            })
            .collect()
    }

    #[test]
    fn a_slow_place_is_never_limited() {
        let every = written((0..100).map(|number| number * 6));
        assert_eq!(every.len(), 100);
        assert!(every.iter().all(|(_, suppressed)| *suppressed == 0));
    }

    #[test]
    fn a_fast_place_writes_a_burst_and_then_one_line_a_minute_with_the_number() {
        let lines = written(0..300);
        let burst: Vec<_> = (0..10).map(|second| (second, 0)).collect();
        assert_eq!(lines[..10], burst);
        assert_eq!(lines[10..], [(60, 50), (120, 59), (180, 59), (240, 59)]);
    }

    #[test]
    fn nothing_is_forgotten() {
        let lines = written((0..1000).flat_map(|second| [second; 3]));
        let told: u64 = lines.iter().map(|(_, suppressed)| suppressed).sum();
        let last = lines.last().map_or(0, |(second, _)| *second);
        assert_eq!(lines.len() as u64 + told, last * 3 + 1);
    }

    #[test]
    fn after_a_quiet_minute_there_is_a_burst_again() {
        let noisy = 0..100;
        let later = 500..600;
        let lines = written(noisy.chain(later));
        let again = lines
            .iter()
            .filter(|(second, _)| (500..560).contains(second));
        assert_eq!(again.count(), BURST as usize);
        // What was left out before is told with the first line.
        assert_eq!(
            lines.iter().find(|(second, _)| *second == 500),
            Some(&(500, 39))
        );
    }
}

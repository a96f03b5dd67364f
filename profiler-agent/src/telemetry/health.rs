//! The watchdog: does the agent do its work?
//!
//! It judges by ages alone. A receiver that is down makes nothing old here: no queue and no exporter is asked.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// How long the rings may stay unread: fifty turns.
const RINGS_WITHIN: Duration = Duration::from_secs(10);
/// How much longer than a window it may take until one is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(20);
/// How much longer than two windows it may take until one has names: a large program that is seen for the first
/// time takes seconds.
const NAME_WITHIN: Duration = Duration::from_secs(120);

/// How long ago the agent's steps were done; since its start where not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// The rings were read.
    pub rings_read: Duration,
    /// A window was closed.
    pub window_closed: Duration,
    /// A window was named and handed on.
    pub window_named: Duration,
}

/// A step that is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    what: &'static str,
    age: Duration,
    within: Duration,
}

impl Display for Unhealthy {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { what, age, within } = self;
        write!(
            formatter,
            "{what} for {:.0} s, which should be done within {:.0} s",
            age.as_secs_f64(),
            within.as_secs_f64()
        )
    }
}

/// Is everything done in time, with windows of this length? Else the first step that is not, in the order of a
/// sample's way.
///
/// # Errors
/// That step.
pub fn judge(ages: Ages, window: Duration) -> Result<(), Unhealthy> {
    let steps = [
        ("the rings were not read", ages.rings_read, RINGS_WITHIN),
        (
            "no window was closed",
            ages.window_closed,
            window.saturating_add(CLOSE_WITHIN),
        ),
        (
            "no window was named",
            ages.window_named,
            window.saturating_mul(2).saturating_add(NAME_WITHIN),
        ),
    ];
    match steps.into_iter().find(|(_, age, within)| age > within) {
        None => Ok(()),
        Some((what, age, within)) => Err(Unhealthy { what, age, within }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn said(rings_read: u64, window_closed: u64, window_named: u64) -> Option<String> {
        let ages = Ages {
            rings_read: Duration::from_secs(rings_read),
            window_closed: Duration::from_secs(window_closed),
            window_named: Duration::from_secs(window_named),
        };
        judge(ages, WINDOW).err().map(|reason| reason.to_string())
    }

    #[test]
    fn what_is_overdue_is_named() {
        assert_eq!(said(0, 0, 0), None);
        assert_eq!(said(10, 30, 140), None);
        let rings = "the rings were not read for 11 s, which should be done within 10 s";
        assert_eq!(said(11, 0, 0).as_deref(), Some(rings));
        let closed = "no window was closed for 31 s, which should be done within 30 s";
        assert_eq!(said(0, 31, 0).as_deref(), Some(closed));
        let named = "no window was named for 141 s, which should be done within 140 s";
        assert_eq!(said(0, 0, 141).as_deref(), Some(named));
        // Where everything stands still, the cause is what comes first.
        assert_eq!(said(500, 500, 500).map(|s| s.contains("rings")), Some(true));
    }

    #[test]
    fn the_longest_windows_have_their_time() {
        let ages = Ages {
            rings_read: Duration::ZERO,
            window_closed: Duration::from_secs(600),
            window_named: Duration::from_secs(1200),
        };
        assert_eq!(judge(ages, Duration::from_secs(600)), Ok(()));
        assert!(judge(ages, WINDOW).is_err());
    }
}

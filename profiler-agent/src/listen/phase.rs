//! What a connection is doing, and how long it may do so. Pure: times are given.

use std::time::Duration;

use tokio::time::Instant;

/// Time for the head of a request, from the connection's start or the head's first byte.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// Time between two requests: longer than a scrape interval, so that Prometheus keeps its connection.
pub(super) const IDLE: Duration = Duration::from_secs(120);
/// Time for the work on an answer: longer than any handler gives itself.
const WORK: Duration = Duration::from_secs(90);
/// Time in which the whole answer must be taken.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

/// What a connection is doing. The order is that in which connections are dropped where there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It was answered and has not asked again.
    Idle,
    /// It sends the head of a request.
    Head,
    /// It takes an answer.
    Answer,
    /// It waits for an answer.
    Work,
}

/// What happens on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Bytes came.
    Received,
    /// The head of a request is complete.
    Asked,
    /// The answer begins.
    Answered,
    /// The answer is complete, though perhaps not sent.
    Completed,
    /// Everything that was to be sent is sent.
    Flushed,
}

/// A connection's phase, since when, and whether its answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) phase: Phase,
    pub(super) since: Instant,
    completed: bool,
}

impl Progress {
    /// A connection that is made at `now`: nobody connects without a request.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Head,
            since: now,
            completed: false,
        }
    }

    /// Follows an event. Bytes that come beside an answer, and parts of a head, change nothing: what takes long is
    /// not given more time because it goes on.
    pub(super) fn note(&mut self, event: Event, now: Instant) {
        let phase = match (self.phase, event) {
            (Phase::Idle, Event::Received) => Phase::Head,
            (Phase::Idle | Phase::Head, Event::Asked) => {
                self.completed = false;
                Phase::Work
            }
            (Phase::Work, Event::Answered) => Phase::Answer,
            (Phase::Answer, Event::Flushed) if self.completed => Phase::Idle,
            (_, Event::Completed) => {
                self.completed = true;
                return;
            }
            _ => return,
        };
        (self.phase, self.since) = (phase, now);
    }

    /// When the connection is closed if it stays as it is.
    pub(super) fn deadline(&self) -> Instant {
        self.since
            + match self.phase {
                Phase::Idle => IDLE,
                Phase::Head => HEAD,
                Phase::Answer => ANSWER,
                Phase::Work => WORK,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_drips_gets_no_more_time() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        for second in 1..10 {
            progress.note(Event::Received, start + Duration::from_secs(second));
        }
        assert_eq!(progress.deadline(), start + HEAD);
    }

    #[test]
    fn an_answer_that_is_taken_byte_by_byte_gets_no_more_time() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        progress.note(Event::Asked, start);
        assert_eq!(progress.deadline(), start + WORK);
        progress.note(Event::Answered, start);
        // What was written so far is flushed now and then.
        progress.note(Event::Flushed, start + ANSWER / 2);
        progress.note(Event::Received, start + ANSWER / 2);
        assert_eq!(progress.deadline(), start + ANSWER);
        progress.note(Event::Completed, start + ANSWER / 2);
        assert_eq!(progress.deadline(), start + ANSWER);
        progress.note(Event::Flushed, start + ANSWER / 2);
        assert_eq!(progress.deadline(), start + ANSWER / 2 + IDLE);
        // The answer to the next request is another one.
        progress.note(Event::Received, start + ANSWER);
        assert_eq!(progress.deadline(), start + ANSWER + HEAD);
        progress.note(Event::Asked, start + ANSWER);
        progress.note(Event::Answered, start + ANSWER);
        progress.note(Event::Flushed, start + ANSWER);
        assert_eq!(progress.phase, Phase::Answer);
    }
}

//! What a thread is asked for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::queue::{Order, Queue};

/// The orders of one thread.
#[derive(Default)]
pub(super) struct Requests {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// Nobody takes anything any more.
    closed: bool,
}

/// What there is to do.
pub(super) enum Next {
    /// This.
    Order(Order),
    /// Nothing.
    Nothing,
    /// Nothing any more.
    Closed,
}

impl State {
    fn next(&mut self) -> Next {
        if self.closed {
            return Next::Closed;
        }
        self.queue.pop().map_or(Next::Nothing, Next::Order)
    }
}

impl Requests {
    pub(super) fn push(&self, order: Order) {
        self.lock().queue.push(order);
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for the next order; `None` at the end.
    pub(super) fn next(&self) -> Option<Order> {
        let mut state = self.lock();
        loop {
            match state.next() {
                Next::Nothing => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Next::Order(order) => return Some(order),
                Next::Closed => return None,
            }
        }
    }

    /// Waits for the next order, at most so long.
    pub(super) fn next_within(&self, patience: Duration) -> Next {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, patience, |state| {
            !state.closed && state.queue.is_empty()
        });
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.next()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other thread leaves the queue as it was before or after.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

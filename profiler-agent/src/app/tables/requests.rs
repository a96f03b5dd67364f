//! What a thread is asked for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::app::queue::{Order, Queue};

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
            if state.closed {
                return None;
            }
            if let Some(order) = state.queue.pop() {
                return Some(order);
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other thread leaves the queue as it was before or after.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

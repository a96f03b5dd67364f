//! Reading of others' memory and files that nobody waits for.
//!
//! [`Attempts`](super::Attempts) are for who needs the result now. Who can go on without it asks [`Readers`], and takes the
//! answer when it comes. One thread does all of it while it answers. When that one hangs, another goes on with what waits; so
//! many hang at most, and then what waits does so until one of them comes back. Nothing joins them: a thread that
//! hangs ends when what it waits for answers, or the agent does.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use hashbrown::HashMap;

use crate::profile::BootTime;

/// What may wait to be read; nothing more is taken.
const MAX_WAITING: usize = 1024;
/// How long nothing is begun, while something waits, before all threads are taken to hang.
const HANGS: Duration = Duration::from_millis(100);
/// What is not answered by then is late.
const LATE: Duration = Duration::from_secs(1);

/// Reads what is asked for under a key, one thing a key at a time.
pub struct Readers<K, A> {
    name: &'static str,
    most: usize,
    shared: Arc<Shared<K, A>>,
    answers: Receiver<(K, Option<A>)>,
    asked: HashMap<K, Asked>,
    /// How many were begun when that was last looked at, and since when it is so many.
    begun: (u64, BootTime),
}

/// What was asked for and is not there.
struct Asked {
    at: BootTime,
    late: bool,
}

type Work<A> = Box<dyn FnOnce() -> A + Send>;

struct Shared<K, A> {
    state: Mutex<State<K, A>>,
    changed: Condvar,
    outgoing: Sender<(K, Option<A>)>,
    notify: Box<dyn Fn() + Send + Sync>,
}

struct State<K, A> {
    waiting: VecDeque<(K, Work<A>)>,
    begun: u64,
    threads: usize,
    idle: usize,
    /// Nobody takes answers any more.
    closed: bool,
}

impl<K, A> Readers<K, A>
where
    K: Copy + Eq + Hash + Send + 'static,
    A: Send + 'static,
{
    /// Threads of this name, of which at most `most` hang. `notify` is called from them when an answer is there.
    #[must_use]
    pub fn new(name: &'static str, most: usize, notify: impl Fn() + Send + Sync + 'static) -> Self {
        let (outgoing, answers) = channel();
        Self {
            name,
            most,
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    waiting: VecDeque::new(),
                    begun: 0,
                    threads: 0,
                    idle: 0,
                    closed: false,
                }),
                changed: Condvar::new(),
                outgoing,
                notify: Box::new(notify),
            }),
            answers,
            asked: HashMap::new(),
            begun: (0, BootTime(0)),
        }
    }

    /// Asks for what `work` reads. False where nothing more may wait, or something is asked for under this key already.
    pub fn ask(
        &mut self,
        key: K,
        now: BootTime,
        work: impl FnOnce() -> A + Send + 'static,
    ) -> bool {
        if self.asked.contains_key(&key) {
            return false;
        }
        let mut state = self.shared.lock();
        if state.waiting.len() >= MAX_WAITING {
            return false;
        }
        if state.waiting.is_empty() {
            self.begun = (state.begun, now);
        }
        state.waiting.push_back((key, Box::new(work)));
        let is_first = state.threads == 0;
        drop(state);
        self.shared.changed.notify_one();
        self.asked.insert(
            key,
            Asked {
                at: now,
                late: false,
            },
        );
        if is_first {
            self.start();
        }
        true
    }

    /// Is something asked for under this key that is not there?
    #[must_use]
    pub fn is_asked(&self, key: &K) -> bool {
        self.asked.contains_key(key)
    }

    /// What is asked for and not there, with when it was asked for.
    pub fn asked(&self) -> impl Iterator<Item = (&K, BootTime)> {
        self.asked.iter().map(|(key, asked)| (key, asked.at))
    }

    /// An answer; without content where reading panicked.
    pub fn take(&mut self) -> Option<(K, Option<A>)> {
        let (key, answer) = self.answers.try_recv().ok()?;
        self.asked.remove(&key);
        Some((key, answer))
    }

    /// Has another thread go on with what waits where all that there are hang; how many answers became late since the last
    /// call. To be called a few times a second.
    pub fn follow(&mut self, now: BootTime) -> u64 {
        let state = self.shared.lock();
        if state.waiting.is_empty() || state.begun != self.begun.0 {
            self.begun = (state.begun, now);
        }
        let hang = now.since(self.begun.1) >= HANGS && state.threads < self.most;
        drop(state);
        if hang {
            self.begun.1 = now;
            self.start();
        }
        let mut late = 0;
        for asked in self.asked.values_mut() {
            if !asked.late && now.since(asked.at) >= LATE {
                asked.late = true;
                late += 1;
            }
        }
        late
    }

    /// Starts a thread. Where the system has no room for one, [`Readers::follow`] tries again.
    fn start(&self) {
        self.shared.lock().threads += 1;
        let shared = Arc::clone(&self.shared);
        let spawned = Builder::new()
            .name(self.name.to_owned())
            .spawn(move || shared.serve());
        if spawned.is_err() {
            self.shared.lock().threads -= 1;
        }
    }
}

impl<K, A> Drop for Readers<K, A> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl<K, A> Debug for Readers<K, A> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Readers")
            .field("name", &self.name)
            .field("asked", &self.asked.len())
            .finish_non_exhaustive()
    }
}

impl<K, A> Shared<K, A> {
    fn lock(&self) -> MutexGuard<'_, State<K, A>> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what waits until nobody wants it any more, or another thread waits for more already.
    fn serve(&self) {
        let mut state = self.lock();
        while !state.closed {
            if let Some((key, work)) = state.waiting.pop_front() {
                state.begun += 1;
                drop(state);
                let answer = catch_unwind(AssertUnwindSafe(work)).ok();
                // Nobody takes it at the end only.
                drop(self.outgoing.send((key, answer)));
                (self.notify)();
                state = self.lock();
            } else if state.idle > 0 {
                break;
            } else {
                state.idle += 1;
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
        state.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    fn readers(most: usize) -> (Readers<u32, u32>, Receiver<()>) {
        let (notify, notified) = channel();
        let notify = move || {
            let _ = notify.send(());
        };
        (Readers::new("test", most, notify), notified)
    }

    const fn at(milliseconds: u64) -> BootTime {
        BootTime(milliseconds * 1_000_000)
    }

    fn answer(readers: &mut Readers<u32, u32>, notified: &Receiver<()>) -> (u32, Option<u32>) {
        notified.recv().unwrap();
        readers.take().unwrap()
    }

    #[test]
    fn answers_come_under_their_keys_one_at_a_time() {
        let (mut readers, notified) = readers(1);
        let (release, held) = sync_channel::<()>(0);
        assert!(readers.ask(1, at(0), move || {
            held.recv().unwrap();
            10
        }));
        assert!(!readers.ask(1, at(0), || 11));
        assert!(readers.ask(2, at(0), || 20));
        assert!(readers.is_asked(&1) && readers.take().is_none());
        release.send(()).unwrap();
        assert_eq!(answer(&mut readers, &notified), (1, Some(10)));
        assert_eq!(answer(&mut readers, &notified), (2, Some(20)));
        assert!(readers.ask(1, at(0), || 12));
        assert_eq!(answer(&mut readers, &notified), (1, Some(12)));
        assert_eq!(readers.asked().count(), 0);
    }

    #[test]
    fn another_thread_goes_on_where_one_hangs_and_late_answers_are_taken() {
        let (mut readers, notified) = readers(2);
        let mut held = Vec::new();
        for key in [1, 2] {
            let (release, holding) = sync_channel::<()>(0);
            held.push(release);
            assert!(readers.ask(key, at(0), move || {
                let _ = holding.recv();
                key
            }));
        }
        assert!(readers.ask(3, at(0), || 3));
        // The first hangs, then the second too; no third thread may.
        while readers.shared.lock().begun < 1 {
            std::thread::yield_now();
        }
        assert_eq!(readers.follow(at(50)), 0);
        assert_eq!(readers.follow(at(200)), 0);
        while readers.shared.lock().begun < 2 {
            std::thread::yield_now();
        }
        for time in [300, 500, 700] {
            assert_eq!(readers.follow(at(time)), 0);
        }
        assert_eq!(readers.shared.lock().threads, 2);
        assert!(readers.take().is_none());
        // All three are late, once.
        assert_eq!(readers.follow(at(1000)), 3);
        assert_eq!(readers.follow(at(2000)), 0);
        held.remove(1).send(()).unwrap();
        assert_eq!(answer(&mut readers, &notified), (2, Some(2)));
        assert_eq!(answer(&mut readers, &notified), (3, Some(3)));
        held.remove(0).send(()).unwrap();
        assert_eq!(answer(&mut readers, &notified), (1, Some(1)));
        // One of them is enough again.
        while readers.shared.lock().threads > 1 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_panics_is_answered_and_what_finds_no_room_is_not_taken() {
        let (mut readers, notified) = readers(1);
        assert!(readers.ask(1, at(0), || panic!("as a test wants it")));
        assert_eq!(answer(&mut readers, &notified), (1, None));
        let (release, held) = sync_channel::<()>(0);
        assert!(readers.ask(0, at(0), move || u32::from(held.recv().is_ok())));
        while readers.shared.lock().begun < 2 {
            std::thread::yield_now();
        }
        for key in 1..=MAX_WAITING as u32 {
            assert!(readers.ask(key, at(0), || 0));
        }
        assert!(!readers.ask(u32::MAX, at(0), || 0));
        drop(readers);
        drop(release);
    }
}

//! The threads that build unwind tables: off the way of samples.
//!
//! One says where files' code is and builds the tables of single pages, which takes a moment each. What takes a
//! whole file (Go, code without call frame information) is built by another one, which nobody else waits for.
//!
//! Every order is answered. A file that makes its reader panic, or that is truncated while it is read, is malformed; one
//! that cannot be read just now is asked for again later.

mod queue;
mod requests;
mod whole;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

pub use self::queue::Order;
use self::requests::{Next, Requests};
use self::whole::Whole;
use super::facts::FileFacts;
use super::{Notify, may_hang};
use crate::confine::{Attempts, Unfinished};
use crate::elf::MappedFile;
use crate::go::{self, LineTable};
use crate::profile::{Degradation, ExecutableId, UnwindTable};
use crate::unwind::{self, AddressPage, Layout};

/// How long a page of a file whose file system may hang is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Reads of such files that may hang at a time.
const MAX_HANGING: usize = 8;
/// How long tables of whole files are kept for the next page.
const KEPT_FOR: Duration = Duration::from_secs(20);
/// How often it is looked whether memory is short.
const LOOK: Duration = Duration::from_secs(1);

/// How long the threads are waited for when they are to end.
const STOPPING: Duration = Duration::from_secs(1);

/// Something about a file.
pub struct Piece {
    /// Whose.
    pub executable: ExecutableId,
    /// What.
    pub what: What,
}

/// What was asked for.
pub enum What {
    /// Where its code is, or why nothing is known of any of it.
    Layout(Result<Layout, Option<Degradation>>),
    /// What else it says.
    Facts(Box<FileFacts>),
    /// Nothing of what was asked for: where its code is and what else it says, and these pages. It may be asked for again.
    Unanswered(Vec<AddressPage>, Degradation),
    /// The table of a page.
    Page {
        /// The page that was asked for.
        at: AddressPage,
        /// Its number in the table; nothing where there is none.
        page: Option<u32>,
        /// The table; nothing where nothing is known of any code in it.
        table: Option<UnwindTable>,
        /// Why, if that is a loss.
        loss: Option<Degradation>,
    },
}

/// Where tables are kept between runs.
#[derive(Clone, Debug)]
pub struct CachePlace {
    /// A directory of this user's.
    pub directory: PathBuf,
    /// Bytes that it may hold.
    pub max_bytes: u64,
}

/// Asks for tables and takes them.
pub struct TableBuilder {
    requests: Arc<Requests>,
    whole: Arc<Requests>,
    results: Receiver<Piece>,
    threads: Vec<JoinHandle<()>>,
}

/// Where pieces go.
#[derive(Clone)]
struct Outgoing {
    pieces: Sender<Piece>,
    notify: Notify,
}

impl Outgoing {
    fn send(&self, executable: ExecutableId, what: What) {
        // Nobody takes them at the end only.
        let _ = self.pieces.send(Piece { executable, what });
        (self.notify)();
    }
}

impl TableBuilder {
    /// Starts the threads. `notify` is called from them when something is there.
    /// Tables of whole files that take so many bytes are kept for the next page, while memory is not short.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn spawn(
        cache: Option<CachePlace>,
        (kept, is_short): (usize, Arc<AtomicBool>),
        notify: Notify,
    ) -> io::Result<Self> {
        let (pieces, results) = channel();
        let outgoing = Outgoing { pieces, notify };
        let (requests, whole) = (Arc::<Requests>::default(), Arc::<Requests>::default());
        let mut builder = Self {
            requests: Arc::clone(&requests),
            whole: Arc::clone(&whole),
            results,
            threads: Vec::new(),
        };
        let slow = (Arc::clone(&whole), outgoing.clone());
        let thread = Builder::new().name("whole-tables".to_owned());
        builder.threads.push(thread.spawn(move || {
            let (requests, outgoing) = slow;
            let mut whole = Whole::new(cache, kept);
            let mut used = Instant::now();
            loop {
                match requests.next_within(LOOK) {
                    Next::Order(order) => {
                        answer(order, &outgoing, |order| whole.fill(order, &outgoing));
                        used = Instant::now();
                    }
                    Next::Nothing => {}
                    Next::Closed => return,
                }
                if used.elapsed() >= KEPT_FOR || is_short.load(Ordering::Relaxed) {
                    whole.forget();
                }
            }
        })?);
        let thread = Builder::new().name("tables".to_owned());
        builder.threads.push(thread.spawn(move || {
            let attempts = Attempts::new("table-reader", MAX_HANGING);
            while let Some(order) = requests.next() {
                let (outgoing, whole) = (outgoing.clone(), Arc::clone(&whole));
                if !may_hang(&order.executable) {
                    answer(order, &outgoing, |order| fill(order, &outgoing, &whole));
                    continue;
                }
                let (refused, refusal) = (order.clone(), outgoing.clone());
                let begun = attempts.run(PATIENCE, move || {
                    answer(order, &outgoing, |order| fill(order, &outgoing, &whole));
                });
                // What comes late is taken all the same.
                if let Err(Unfinished::Full) = begun {
                    let unanswered = What::Unanswered(refused.pages, Degradation::FileUnanswered);
                    refusal.send(refused.executable.id, unanswered);
                }
            }
        })?);
        Ok(builder)
    }

    /// Asks for what is new in an order.
    pub fn request(&self, order: Order) {
        self.requests.push(order);
    }

    /// Something that is there.
    #[must_use]
    pub fn take(&self) -> Option<Piece> {
        self.results.try_recv().ok()
    }
}

impl Drop for TableBuilder {
    fn drop(&mut self) {
        self.requests.close();
        self.whole.close();
        let waited = Instant::now();
        for thread in self.threads.drain(..) {
            // They read files of others, whose file system may hang. A panic was reported when it happened.
            while !thread.is_finished() && waited.elapsed() < STOPPING {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Answers an order by `fill`, which takes out of it what it answered. A file that makes it panic is malformed.
fn answer(mut order: Order, outgoing: &Outgoing, fill: impl FnOnce(&mut Order)) {
    if catch_unwind(AssertUnwindSafe(|| fill(&mut order))).is_err() {
        let path = order.executable.path.escape_debug();
        tracing::debug!(%path, "reading an executable panicked");
        call_malformed(&mut order, outgoing);
    }
}

/// Answers what is left of an order: nothing is known of the file, because it is malformed.
fn call_malformed(order: &mut Order, outgoing: &Outgoing) {
    let id = order.executable.id;
    let mut loss = Some(Degradation::ElfMalformed);
    if order.first {
        outgoing.send(id, What::Layout(Err(loss.take())));
    }
    for at in order.pages.drain(..) {
        let what = What::Page {
            at,
            page: None,
            table: None,
            loss: loss.take(),
        };
        outgoing.send(id, what);
    }
    if std::mem::take(&mut order.first) {
        outgoing.send(id, What::Facts(Box::default()));
    }
}

/// Does what an order asks for; what takes the whole file is left to `whole`.
fn fill(order: &mut Order, outgoing: &Outgoing, whole: &Requests) {
    let file = order.executable.file.as_ref();
    let mapped = file.and_then(|file| MappedFile::new(file).ok());
    fill_from(order, mapped.as_ref(), outgoing, whole);
}

fn fill_from(
    order: &mut Order,
    mapped: Option<&MappedFile>,
    outgoing: &Outgoing,
    whole: &Requests,
) {
    let executable = Arc::clone(&order.executable);
    let id = executable.id;
    // What was read of it then is void.
    let is_truncated = || mapped.is_some_and(MappedFile::truncated);
    let bytes: &[u8] = match (&executable.image, mapped) {
        (Some(image), _) => image,
        (None, Some(mapped)) => mapped,
        (None, None) => &[],
    };
    let layout = unwind::layout(bytes).map_err(|absent| {
        tracing::debug!(%absent, path = %executable.path.escape_debug(), "no unwind table");
        absent.loss()
    });
    let lines = mapped
        .filter(|file| go::is_go(file))
        .and_then(|file| LineTable::find(file).ok());
    if is_truncated() {
        return call_malformed(order, outgoing);
    }
    if order.first {
        outgoing.send(id, What::Layout(layout));
    }
    order.pages.retain(|at| {
        let page = layout.ok().and_then(|layout| at.within(layout));
        let built = match page {
            Some(_) if lines.is_some() => return true,
            Some(page) => unwind::build_page(bytes, page),
            None => Ok(None),
        };
        let table = match (page, built) {
            (Some(_), Ok(None) | Err(_)) => return true,
            (_, built) => built.ok().flatten(),
        };
        if is_truncated() {
            return true;
        }
        let what = What::Page {
            at: *at,
            page,
            table,
            loss: None,
        };
        outgoing.send(id, what);
        false
    });
    if is_truncated() {
        return call_malformed(order, outgoing);
    }
    if std::mem::take(&mut order.first) {
        let facts = FileFacts::read(&executable, mapped.zip(lines.as_ref()));
        outgoing.send(id, What::Facts(Box::new(facts)));
    }
    if !order.pages.is_empty() {
        whole.push(Order {
            executable,
            first: false,
            pages: std::mem::take(&mut order.pages),
        });
    }
}

#[cfg(test)]
mod tests;

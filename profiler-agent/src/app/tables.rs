//! The threads that build unwind tables: off the way of samples.
//!
//! One says where files' code is and builds the tables of single pages, which takes a moment each. What takes a
//! whole file (Go, code without call frame information) is built by another one, which nobody else waits for.

mod requests;
mod whole;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use profiler_common::unwind::table::PAGE_BITS;

use self::requests::{Next, Requests};
use self::whole::Whole;
use super::economy::Shortage;
use super::queue::Order;
use super::runtimes::FileFacts;
use super::wake::Wake;
use crate::confine::{self, Attempts};
use crate::elf::MappedFile;
use crate::go::{self, LineTable};
use crate::profile::{Degradation, ElfAddress, Executable, ExecutableId, UnwindTable};
use crate::unwind::{self, Layout};

/// How long a page of a file whose file system may hang is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Reads of such files that may hang at a time.
const MAX_HANGING: usize = 8;
/// How long tables of whole files are kept for the next page.
const KEPT_FOR: Duration = Duration::from_secs(20);
/// How often it is looked whether memory is short.
const LOOK: Duration = Duration::from_secs(1);
/// Shorter files than this were copied when they were opened, where their file system may hang.
const COPIED: u64 = 1 << 20;

/// How long the threads are waited for when they are to end.
const STOPPING: Duration = Duration::from_secs(1);

/// A page of a file's addresses, counted from address 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressPage(pub u64);

impl AddressPage {
    /// The page that an address lies in.
    #[must_use]
    pub const fn of(address: ElfAddress) -> Self {
        Self(address.0 >> PAGE_BITS)
    }

    /// Its first address.
    #[must_use]
    pub const fn address(self) -> ElfAddress {
        ElfAddress(self.0 << PAGE_BITS)
    }

    /// Its number in a table that begins so and has so many pages.
    #[must_use]
    pub fn within(self, layout: Layout) -> Option<u32> {
        let page = self.0.checked_sub(layout.start.0 >> PAGE_BITS)?;
        u32::try_from(page).ok().filter(|page| *page < layout.pages)
    }
}

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
    wake: Wake,
}

impl Outgoing {
    fn send(&self, executable: ExecutableId, what: What) {
        // Nobody takes them at the end only.
        let _ = self.pieces.send(Piece { executable, what });
        self.wake.wake();
    }
}

impl TableBuilder {
    /// Starts the threads. `wake` is woken when something is there.
    /// Tables of whole files that take so many bytes are kept for the next page, while memory is not short.
    pub(super) fn spawn(
        cache: Option<CachePlace>,
        (kept, shortage): (usize, Shortage),
        wake: Wake,
    ) -> io::Result<Self> {
        let (pieces, results) = channel();
        let outgoing = Outgoing { pieces, wake };
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
                        whole.fill(&order, &outgoing);
                        used = Instant::now();
                    }
                    Next::Nothing => {}
                    Next::Closed => return,
                }
                if used.elapsed() >= KEPT_FOR || shortage.is_now() {
                    whole.forget();
                }
            }
        })?);
        let thread = Builder::new().name("tables".to_owned());
        builder.threads.push(thread.spawn(move || {
            let attempts = Attempts::new("table-reader", MAX_HANGING);
            while let Some(order) = requests.next() {
                if !may_hang(&order.executable) {
                    fill(order, &outgoing, &whole);
                    continue;
                }
                let (outgoing, whole) = (outgoing.clone(), Arc::clone(&whole));
                // What comes late is taken all the same.
                drop(attempts.run(PATIENCE, move || fill(order, &outgoing, &whole)));
            }
        })?);
        Ok(builder)
    }

    /// Asks for what is new in an order.
    pub(super) fn request(&self, order: Order) {
        self.requests.push(order);
    }

    /// Something that is there.
    pub(super) fn take(&self) -> Option<Piece> {
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

/// May reading the file hang: is it of a file system that somebody else answers for, and was not copied when it was opened?
pub(super) fn may_hang(executable: &Executable) -> bool {
    let file = executable.file.as_ref();
    executable.length > COPIED && file.is_some_and(|file| !confine::is_local(file))
}

/// Does what an order asks for; what takes the whole file is left to `whole`.
fn fill(mut order: Order, outgoing: &Outgoing, whole: &Requests) {
    let id = order.executable.id;
    let executable = Arc::clone(&order.executable);
    let mapped = executable
        .file
        .as_ref()
        .and_then(|file| MappedFile::new(file).ok());
    let bytes: &[u8] = match (&executable.image, &mapped) {
        (Some(image), _) => image,
        (None, Some(mapped)) => mapped,
        (None, None) => &[],
    };
    let layout = unwind::layout(bytes).map_err(|absent| {
        tracing::debug!(%absent, path = %executable.path.escape_debug(), "no unwind table");
        absent.loss()
    });
    if order.first {
        outgoing.send(id, What::Layout(layout));
    }
    let lines = mapped
        .as_ref()
        .filter(|file| go::is_go(file))
        .and_then(|file| LineTable::find(file).ok());
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
        let what = What::Page {
            at: *at,
            page,
            table,
            loss: None,
        };
        outgoing.send(id, what);
        false
    });
    if order.first {
        let go = mapped.as_ref().zip(lines.as_ref());
        let facts = FileFacts::read(&executable, go);
        outgoing.send(id, What::Facts(Box::new(facts)));
    }
    if !order.pages.is_empty() {
        order.first = false;
        whole.push(order);
    }
}

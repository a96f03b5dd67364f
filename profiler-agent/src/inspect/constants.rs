//! Texts of labels that the kernel side could not read, because their page was not in memory.
//!
//! Many are constants of a program: what its file says is what the program would read. A thread reads them there, for a read
//! may wait for a disk. What lies in memory that the program writes may have changed since: such a label is left out.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::{Notify, may_hang};
use crate::confine::Attempts;
use crate::profile::{Executable, ExecutableId, FileOffset, RawContext, UnreadText};

/// Texts that are remembered; then they are read anew.
const MAX_KNOWN: usize = 8_192;
/// Texts that may be waited for.
const MAX_ASKED: usize = 1_024;
/// How long a file whose file system may hang is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Reads of such files that may hang at a time.
const MAX_HANGING: usize = 2;

/// Where a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    executable: ExecutableId,
    offset: FileOffset,
    length: u16,
}

/// A text that was read; `None` where it could not be.
type Text = Option<Arc<[u8]>>;

/// See the module.
pub struct Constants {
    known: HashMap<Place, Text>,
    asked: HashSet<Place>,
    orders: SyncSender<(Place, Arc<Executable>)>,
    read: Receiver<(Place, Text)>,
}

impl Constants {
    /// Starts the thread, which ends with this. `notify` is called from it when a text is there.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn spawn(notify: Notify) -> io::Result<Self> {
        let (orders, ordered) = sync_channel(MAX_ASKED);
        let (outgoing, read) = channel();
        let thread = Builder::new().name("constants".to_owned());
        // Nobody joins it: it may wait for a file system that does not answer.
        drop(thread.spawn(move || read_all(&ordered, &outgoing, &notify))?);
        Ok(Self {
            known: HashMap::new(),
            asked: HashSet::new(),
            orders,
            read,
        })
    }

    /// Puts the texts that the kernel side could not read into a context, and leaves out labels that nobody will ever
    /// read. False while some are still being read. `find` knows in which file a text is a constant, and where.
    pub fn fill<'a>(
        &mut self,
        context: &mut RawContext,
        find: impl Fn(&UnreadText) -> Option<(&'a Arc<Executable>, FileOffset)>,
    ) -> bool {
        let mut is_whole = true;
        let mut lost = Vec::new();
        for text in std::mem::take(&mut context.unread) {
            let Some((executable, offset)) = find(&text) else {
                lost.push(text);
                continue;
            };
            let place = Place {
                executable: executable.id,
                offset,
                length: text.length,
            };
            match self.known.get(&place).cloned() {
                Some(Some(bytes)) => context.set(text, &bytes),
                Some(None) => lost.push(text),
                None if self.ask(place, executable) => {
                    context.unread.push(text);
                    is_whole = false;
                }
                None => lost.push(text),
            }
        }
        if is_whole {
            context.unread = lost;
            context.give_up_unread();
        } else {
            // They are looked at again with those that come.
            context.unread.append(&mut lost);
        }
        is_whole
    }

    fn ask(&mut self, place: Place, executable: &Arc<Executable>) -> bool {
        if self.asked.contains(&place) {
            return true;
        }
        match self.orders.try_send((place, Arc::clone(executable))) {
            Ok(()) => self.asked.insert(place),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Takes what was read; false when nothing was.
    pub fn take(&mut self) -> bool {
        let mut any = false;
        while let Ok((place, text)) = self.read.try_recv() {
            if self.known.len() >= MAX_KNOWN {
                self.known.clear();
            }
            self.asked.remove(&place);
            self.known.insert(place, text);
            any = true;
        }
        any
    }
}

fn read_all(
    ordered: &Receiver<(Place, Arc<Executable>)>,
    outgoing: &Sender<(Place, Text)>,
    notify: &Notify,
) {
    let attempts = Attempts::new("constant-reader", MAX_HANGING);
    while let Ok((place, executable)) = ordered.recv() {
        let text = if may_hang(&executable) {
            let late = attempts.run(PATIENCE, move || read(&executable, place));
            late.ok().flatten()
        } else {
            read(&executable, place)
        };
        if outgoing.send((place, text)).is_err() {
            return;
        }
        notify();
    }
}

fn read(executable: &Executable, place: Place) -> Text {
    let mut bytes = vec![0; usize::from(place.length)];
    let file = executable.file.as_ref()?;
    file.read_exact_at(&mut bytes, place.offset.0).ok()?;
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::OnceLock;

    use super::*;
    use crate::profile::{LabelPart, RawLabel, VirtualAddress};

    /// A program of which only a page is there, mapped at 0x5000, which says `text` from byte 16 on.
    fn program(text: &[u8]) -> Arc<Executable> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 16]).unwrap();
        file.write_all(text).unwrap();
        Arc::new(Executable {
            id: ExecutableId(7),
            path: "/program".into(),
            file: Some(file),
            image: None,
            length: 0x1000,
            build_id: None,
            htl_hash: OnceLock::new(),
            segments: Box::default(),
            constants: Box::default(),
            root: None,
        })
    }

    fn fill(
        constants: &mut Constants,
        context: &mut RawContext,
        program: &Arc<Executable>,
    ) -> bool {
        constants.fill(context, |text| {
            let is_there = (0x5000..0x6000).contains(&text.address.0);
            is_there.then(|| (program, FileOffset(text.address.0 - 0x5000)))
        })
    }

    /// Constants whose thread says so when a text is there.
    fn constants() -> (Constants, Receiver<()>) {
        let (said, notified) = channel();
        let notify: Notify = Arc::new(move || {
            let _ = said.send(());
        });
        (Constants::spawn(notify).unwrap(), notified)
    }

    /// A label whose value is to be read at an address.
    fn context(address: u64) -> RawContext {
        let label = RawLabel {
            key: Box::from(*b"route"),
            value: Box::default(),
            cut: false,
        };
        let text = UnreadText {
            label: 0,
            part: LabelPart::Value,
            address: VirtualAddress(address),
            length: 4,
        };
        RawContext {
            labels: vec![label],
            unread: vec![text],
            ..RawContext::default()
        }
    }

    fn wait_for(constants: &mut Constants, notified: &Receiver<()>) {
        while !constants.take() {
            notified.recv().unwrap();
        }
    }

    #[test]
    fn a_constant_is_read_from_its_file_once() {
        let (mut constants, notified) = constants();
        let program = program(b"cart");
        let mut first = context(0x5010);
        assert!(!fill(&mut constants, &mut first, &program));
        wait_for(&mut constants, &notified);
        let mut second = context(0x5010);
        for context in [&mut first, &mut second] {
            assert!(fill(&mut constants, context, &program));
            assert_eq!(&*context.labels[0].value, b"cart");
            assert!(!context.incomplete && context.unread.is_empty());
        }
    }

    #[test]
    fn what_is_in_no_file_and_what_a_file_does_not_have_are_left_out() {
        let (mut constants, notified) = constants();
        let program = program(b"ca");
        let mut elsewhere = context(0x9000);
        assert!(fill(&mut constants, &mut elsewhere, &program));
        let mut short = context(0x5010);
        assert!(!fill(&mut constants, &mut short, &program));
        wait_for(&mut constants, &notified);
        assert!(fill(&mut constants, &mut short, &program));
        for context in [elsewhere, short] {
            assert!(context.labels.is_empty() && context.incomplete);
        }
    }
}

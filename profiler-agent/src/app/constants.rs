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

use super::tables::may_hang;
use super::wake::Wake;
use crate::confine::Attempts;
use crate::process::MappingSet;
use crate::profile::{BootTime, Executable, ExecutableId, FileOffset, RawContext};

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
pub(super) struct Constants {
    known: HashMap<Place, Text>,
    asked: HashSet<Place>,
    orders: SyncSender<(Place, Arc<Executable>)>,
    read: Receiver<(Place, Text)>,
}

impl Constants {
    /// Starts the thread, which ends with this. `wake` is woken when a text is there.
    pub(super) fn spawn(wake: Wake) -> io::Result<Self> {
        let (orders, ordered) = sync_channel(MAX_ASKED);
        let (outgoing, read) = channel();
        let thread = Builder::new().name("constants".to_owned());
        // Nobody joins it: it may wait for a file system that does not answer.
        drop(thread.spawn(move || read_all(&ordered, &outgoing, &wake))?);
        Ok(Self {
            known: HashMap::new(),
            asked: HashSet::new(),
            orders,
            read,
        })
    }

    /// Puts the texts that the kernel side could not read into a context, and leaves out labels that nobody will ever
    /// read. False while some are still being read.
    pub(super) fn fill(
        &mut self,
        context: &mut RawContext,
        mappings: &MappingSet,
        time: BootTime,
    ) -> bool {
        let mut is_whole = true;
        let mut lost = Vec::new();
        for text in std::mem::take(&mut context.unread) {
            let found = mappings.constant_at(text.address, u64::from(text.length), time);
            let Some((executable, offset)) = found else {
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
    pub(super) fn take(&mut self) -> bool {
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
    wake: &Wake,
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
        wake.wake();
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
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::OnceLock;

    use super::*;
    use crate::profile::{
        ElfAddress, ExecutableMapping, LabelPart, MappingKind, RawLabel, Segment, UnreadText,
        VirtualAddress,
    };

    /// A program of which only a page is there, which is code and says `text` from byte 16 on.
    fn program(text: &[u8]) -> MappingSet {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 16]).unwrap();
        file.write_all(text).unwrap();
        mapped(file)
    }

    fn mapped(file: File) -> MappingSet {
        let segment = Segment {
            offset: FileOffset(0),
            address: ElfAddress(0),
            length: 0x1000,
        };
        let executable = Executable {
            id: ExecutableId(7),
            path: "/program".into(),
            file: Some(file),
            image: None,
            length: 0x1000,
            build_id: None,
            htl_hash: OnceLock::new(),
            segments: Box::new([segment]),
            constants: Box::new([segment]),
            root: None,
        };
        let mut mappings = MappingSet::default();
        let mapping = ExecutableMapping {
            range: VirtualAddress(0x5000)..VirtualAddress(0x6000),
            kind: MappingKind::File {
                executable: Arc::new(executable),
                offset: FileOffset(0),
            },
        };
        mappings.insert(BootTime(1), mapping);
        mappings
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

    fn wait_for(constants: &mut Constants, wake: &Wake) {
        use rustix::event::{PollFd, PollFlags, poll};
        while !constants.take() {
            let mut descriptors = [PollFd::new(wake, PollFlags::IN)];
            poll(&mut descriptors, None).unwrap();
            wake.clear();
        }
    }

    #[test]
    fn a_constant_is_read_from_its_file_once() {
        let wake = Wake::new().unwrap();
        let mut constants = Constants::spawn(wake.clone()).unwrap();
        let mappings = program(b"cart");
        let mut first = context(0x5010);
        assert!(!constants.fill(&mut first, &mappings, BootTime(2)));
        wait_for(&mut constants, &wake);
        let mut second = context(0x5010);
        for context in [&mut first, &mut second] {
            assert!(constants.fill(context, &mappings, BootTime(2)));
            assert_eq!(&*context.labels[0].value, b"cart");
            assert!(!context.incomplete && context.unread.is_empty());
        }
    }

    #[test]
    fn what_is_in_no_file_and_what_a_file_does_not_have_are_left_out() {
        let wake = Wake::new().unwrap();
        let mut constants = Constants::spawn(wake.clone()).unwrap();
        let mappings = program(b"ca");
        let mut elsewhere = context(0x9000);
        assert!(constants.fill(&mut elsewhere, &mappings, BootTime(2)));
        let mut short = context(0x5010);
        assert!(!constants.fill(&mut short, &mappings, BootTime(2)));
        wait_for(&mut constants, &wake);
        assert!(constants.fill(&mut short, &mappings, BootTime(2)));
        for context in [elsewhere, short] {
            assert!(context.labels.is_empty() && context.incomplete);
        }
    }
}

//! The thread that a spool's file belongs to: nobody else waits for the disk.
//!
//! It takes everything that waits in its channel at once and changes the file in one transaction, so that one fsync
//! serves all. The channel is bounded by what the queue has under way
//! ([`MOST_APPENDS`](super::machine::MOST_APPENDS)). After a failure the file is opened anew with the next operation;
//! what is then found in it that was not reported as written is removed.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::config::SyncPolicy;
use super::machine::{Event, Item, Record};
use super::store::{Found, Header, SpoolFile, cost};
use crate::bounded_file::{FileError, SetAside};
use crate::profile::{Payload, UnixTime};

/// Payloads of this run have numbers from here on; what an earlier run left is below.
pub(super) const FIRST_OF_RUN: Record = Record(1 << 40);
/// Bytes of payloads that are written by one transaction at most, as a share of the file's room.
const BATCH_SHARE: u64 = 16;

/// Something that is asked of the disk.
#[derive(Debug)]
pub(super) enum Operation {
    Open,
    Append(Record, Arc<Payload>),
    Remove(Record),
    Load(Record),
}

/// What the disk says.
#[derive(Debug)]
pub(super) enum Answer {
    Event(Event),
    Loaded(Record, Payload),
    /// The payloads that the file held when it was opened first, with their samples and their bytes.
    Found(Vec<(Record, u64, u64)>),
    /// So many payloads, or a whole file, could not be read when the file was opened.
    Damaged(u64),
}

/// Where the file is and how it is written.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The destination, for log messages.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) limit: u64,
    pub(super) sync: SyncPolicy,
}

/// Starts the thread. It ends when the sender is gone and everything that was asked is done, and says so then.
pub(super) fn spawn(
    place: Place,
    report: impl FnMut(Vec<Answer>) + Send + 'static,
) -> io::Result<(Sender<Operation>, oneshot::Receiver<()>)> {
    let (sender, operations) = channel();
    let (done, ended) = oneshot::channel();
    Builder::new().name("spool".to_owned()).spawn(move || {
        Thread {
            place,
            file: None,
            base: None,
            live: BTreeSet::new(),
            distrusted: None,
            unsynced: None,
            trouble: None,
            report,
        }
        .run(&operations);
        // Whoever waited may have given up.
        let _ = done.send(());
    })?;
    Ok((sender, ended))
}

struct Thread<R> {
    place: Place,
    file: Option<SpoolFile>,
    /// Number in the file of [`FIRST_OF_RUN`]: known when it was opened once.
    base: Option<u64>,
    /// Numbers in the file of what was reported as written and not as removed.
    live: BTreeSet<u64>,
    /// Why the file is to be set aside before it is opened again.
    distrusted: Option<String>,
    /// Since when there are changes that are not safe, and their bytes.
    unsynced: Option<(Instant, u64)>,
    trouble: Option<Instant>,
    report: R,
}

impl<R: FnMut(Vec<Answer>)> Thread<R> {
    fn run(mut self, operations: &Receiver<Operation>) {
        while let Some(first) = self.next(operations) {
            let mut batch = vec![first];
            batch.extend(operations.try_iter());
            self.work(batch);
        }
        self.synchronize();
    }

    /// The next operation; meanwhile keeps what was written safe in time.
    fn next(&mut self, operations: &Receiver<Operation>) -> Option<Operation> {
        loop {
            let Some((since, _)) = self.unsynced else {
                return operations.recv().ok();
            };
            let SyncPolicy::Interval(interval) = self.place.sync else {
                return operations.recv().ok();
            };
            match operations.recv_timeout(interval.saturating_sub(since.elapsed())) {
                Ok(operation) => return Some(operation),
                Err(RecvTimeoutError::Timeout) => self.synchronize(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn work(&mut self, batch: Vec<Operation>) {
        let (mut appends, mut removals, mut bytes) = (Vec::new(), Vec::new(), 0);
        for operation in batch {
            match operation {
                Operation::Open => self.open_first(),
                Operation::Load(record) => self.load(record),
                Operation::Remove(record) => removals.push(record),
                Operation::Append(record, payload) => {
                    bytes += cost(payload.bytes.len() as u64);
                    appends.push((record, payload));
                    if bytes > self.room() / BATCH_SHARE {
                        self.change(
                            &std::mem::take(&mut removals),
                            &std::mem::take(&mut appends),
                        );
                        bytes = 0;
                    }
                }
            }
        }
        if !appends.is_empty() || !removals.is_empty() {
            self.change(&removals, &appends);
        }
    }

    fn number(&self, record: Record) -> u64 {
        match record.0.checked_sub(FIRST_OF_RUN.0) {
            Some(of_run) => self.base.unwrap_or(0).saturating_add(of_run),
            None => record.0,
        }
    }

    fn say(&mut self, event: Event) {
        (self.report)(vec![Answer::Event(event)]);
    }

    /// Opens the file for the first time: its payloads are news.
    fn open_first(&mut self) {
        let answers = match self.open() {
            Some(found) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = UnixTime(now.map_or(0, |since| since.as_nanos() as u64));
                let item = |(number, header): &(u64, Header)| {
                    let item = Item {
                        record: Record(*number),
                        length: header.length(),
                        stored: cost(header.length()),
                        end: header.end(),
                    };
                    (item, now.since(header.end()))
                };
                let items = found.records.iter().map(item).collect();
                let samples = found.records.iter();
                let samples = samples
                    .map(|(number, header)| (Record(*number), header.samples(), header.length()));
                let found = Answer::Found(samples.collect());
                let room = self.room();
                vec![found, Answer::Event(Event::Opened { room, items })]
            }
            None => vec![Answer::Event(Event::OpenFailed)],
        };
        (self.report)(answers);
    }

    /// Opens the file; what it held.
    fn open(&mut self) -> Option<Found> {
        let opened = self.try_open();
        self.note(opened.as_ref().err());
        opened.ok()
    }

    fn try_open(&mut self) -> Result<Found, FileError> {
        let path = self.place.path.clone();
        if let Some(reason) = self.distrusted.clone() {
            let aside = SpoolFile::set_aside(&path, reason)?;
            self.distrusted = None;
            self.lost(&aside);
        }
        let mut aside = None;
        let opened = SpoolFile::open(&path, self.place.limit, &mut aside);
        if let Some(aside) = aside {
            self.lost(&aside);
        }
        let (mut file, mut found) = opened?;
        match self.base {
            None => {
                let is_ours = |(number, _): &(u64, Header)| *number < FIRST_OF_RUN.0;
                let foreign = found.records.extract_if(.., |row| !is_ours(row));
                let foreign: Vec<u64> = foreign.map(|(number, _)| number).collect();
                file.change(&foreign, &[], true)?;
                self.live = found.records.iter().map(|(number, _)| *number).collect();
                self.base = Some(self.live.last().map_or(0, |last| last + 1));
                let damaged = found.damaged + foreign.len() as u64;
                (self.report)(vec![Answer::Damaged(damaged)]);
            }
            Some(_) => {
                let numbers = found.records.iter().map(|(number, _)| *number);
                let unknown: Vec<u64> = numbers
                    .filter(|number| !self.live.contains(number))
                    .collect();
                file.change(&unknown, &[], true)?;
            }
        }
        self.file = Some(file);
        Ok(found)
    }

    /// All that was in the file is lost.
    fn lost(&mut self, aside: &SetAside) {
        aside.warn(Some(&self.place.name));
        self.live.clear();
        if self.base.is_some() {
            self.say(Event::SetAside);
        } else {
            // What it held is not known: it counts as one.
            (self.report)(vec![Answer::Damaged(1)]);
        }
    }

    fn room(&self) -> u64 {
        self.file.as_ref().map_or(0, SpoolFile::room)
    }

    /// Is the file open, or could it be opened again?
    fn is_open(&mut self) -> bool {
        self.file.is_some() || self.open().is_some()
    }

    fn load(&mut self, record: Record) {
        let number = self.number(record);
        let open = self.is_open();
        let loaded = self
            .file
            .as_ref()
            .filter(|_| open)
            .map(|file| file.load(number));
        match loaded {
            Some(Ok(Ok(payload))) => (self.report)(vec![Answer::Loaded(record, payload)]),
            Some(Ok(Err(damage))) => {
                let destination = &self.place.name;
                tracing::warn!(%destination, "a payload of the spool is lost: {damage}");
                self.say(Event::Damaged(record));
            }
            Some(Err(error)) => {
                self.failed(&error);
                self.say(Event::LoadFailed(record));
            }
            None => self.say(Event::LoadFailed(record)),
        }
    }

    fn change(&mut self, removals: &[Record], appends: &[(Record, Arc<Payload>)]) {
        let open = self.is_open();
        let removed: Vec<u64> = removals.iter().map(|record| self.number(*record)).collect();
        let appended: Vec<(u64, &Payload)> = appends
            .iter()
            .map(|(record, payload)| (self.number(*record), &**payload))
            .collect();
        let durable = self.is_to_be_durable(appends);
        let changed = self
            .file
            .as_mut()
            .filter(|_| open)
            .map(|file| file.change(&removed, &appended, durable));
        let done = match changed {
            Some(Ok(())) => {
                self.note(None);
                for number in &removed {
                    self.live.remove(number);
                }
                self.live.extend(appended.iter().map(|(number, _)| *number));
                true
            }
            Some(Err(error)) => {
                self.failed(&error);
                false
            }
            None => false,
        };
        let removed = removals.iter().map(|record| match done {
            true => Event::Removed(*record),
            false => Event::RemoveFailed(*record),
        });
        let appended = appends.iter().map(|(record, _)| match done {
            true => Event::Appended(*record),
            false => Event::AppendFailed(*record),
        });
        let answers = removed.chain(appended).map(Answer::Event).collect();
        (self.report)(answers);
        if done && self.live.is_empty() {
            self.renew();
        }
    }

    /// Is the next change to be safe when it is reported? Notes what is not.
    fn is_to_be_durable(&mut self, appends: &[(Record, Arc<Payload>)]) -> bool {
        let SyncPolicy::Interval(interval) = self.place.sync else {
            return true;
        };
        let added: u64 = appends
            .iter()
            .map(|(_, payload)| cost(payload.bytes.len() as u64))
            .sum();
        let (since, bytes) = self.unsynced.unwrap_or((Instant::now(), 0));
        let bytes = bytes + added;
        // What is not safe keeps pages from being used again.
        let durable = since.elapsed() >= interval || bytes > self.room() / BATCH_SHARE;
        self.unsynced = (!durable).then_some((since, bytes));
        durable
    }

    /// Makes everything safe that was written.
    fn synchronize(&mut self) {
        if self.unsynced.take().is_none() {
            return;
        }
        let synchronized = self.file.as_mut().map(|file| file.change(&[], &[], true));
        if let Some(Err(error)) = synchronized {
            self.failed(&error);
        }
    }

    fn renew(&mut self) {
        let Some(file) = self.file.take() else {
            return;
        };
        match file.renewed() {
            Ok(file) => self.file = Some(file),
            Err(error) => self.failed(&error),
        }
    }

    /// The file is opened anew before the next operation.
    fn failed(&mut self, error: &FileError) {
        if let Some(damage) = error.damage() {
            self.distrusted = Some(damage);
        }
        self.file = None;
        self.unsynced = None;
        self.note(Some(error));
    }

    /// Says when trouble starts and when it ends.
    fn note(&mut self, error: Option<&FileError>) {
        let destination = &self.place.name;
        match (error, self.trouble) {
            (Some(error), None) => {
                tracing::warn!(%destination, %error, "the spool cannot be used: payloads stay in memory");
                self.trouble = Some(Instant::now());
            }
            (Some(error), Some(_)) => {
                tracing::debug!(%destination, %error, "the spool still cannot be used");
            }
            (None, Some(since)) => {
                let outage: Duration = since.elapsed();
                tracing::info!(%destination, ?outage, "the spool can be used again");
                self.trouble = None;
            }
            (None, None) => {}
        }
    }
}

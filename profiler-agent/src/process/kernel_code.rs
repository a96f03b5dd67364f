//! What code the kernel has made where and when: a BPF program's address is another one's a moment later.
//!
//! Side-band records tell of what comes and goes; what was there before, and what came while records were lost, is listed by
//! the kernel (`kernel_code/list.rs`). A name holds for the time that its code was there: where that is not known, there is
//! no name.

mod list;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use list::{Listed, read};

use crate::profile::{
    BootTime, KernelAddress, KernelCode, KernelCodeId, KernelCodeKind, LocatedFrame, LocationKey,
    ProcessEvent, ProcessEventKind,
};

/// How long code that is gone stays known.
const KEPT: Duration = Duration::from_secs(15);
/// Pieces that are known at a time, those included that are gone; more have no name.
const MAX_PIECES: usize = 65_536;
/// Bytes that a piece without a known end has at most.
const MAX_LISTED_BYTES: u64 = 1 << 20;
/// From one list to the next at least.
const BETWEEN_LISTS: Duration = Duration::from_secs(5);
/// Spans of time in doubt that are kept; the oldest are joined.
const MAX_DOUBTS: usize = 16;

/// The code that there is, and was a moment ago.
#[derive(Debug, Default)]
pub struct KernelCodeTable {
    /// By the address that it starts at.
    live: BTreeMap<u64, Piece>,
    /// In the order in which it went.
    gone: Vec<Piece>,
    /// When records were lost.
    doubts: Vec<Range<BootTime>>,
    list_wanted: bool,
    /// When the kernel listed it last.
    listed: BootTime,
    /// All addresses at which there ever was any: most of the kernel's are outside.
    area: Range<u64>,
    ids: u32,
    /// Pieces that there was no room for.
    left_out: u64,
}

#[derive(Clone, Debug)]
struct Piece {
    range: Range<u64>,
    /// Only its start is known: it ends where another one begins at the latest.
    open: bool,
    /// When it was there.
    time: Range<BootTime>,
    code: Arc<KernelCode>,
}

const FOR_EVER: BootTime = BootTime(u64::MAX);

impl KernelCodeTable {
    /// Takes in what happened. Events are to come in order of time.
    pub fn apply(&mut self, event: &ProcessEvent) {
        match &event.kind {
            ProcessEventKind::KernelCodeCame { range, kind, name } => {
                self.came(event.time, range.clone(), *kind, name);
            }
            ProcessEventKind::KernelCodeWent { range } => self.went(event.time, range),
            ProcessEventKind::Lost { since, .. } => self.lose(*since, event.time),
            _ => {}
        }
    }

    /// Code came: a record tells.
    fn came(
        &mut self,
        time: BootTime,
        range: Range<KernelAddress>,
        kind: KernelCodeKind,
        name: &str,
    ) {
        let range = range.start.0..range.end.0;
        if let Some(piece) = self.live.get_mut(&range.start)
            && *piece.code.name == *name
        {
            // It was listed before the record was read.
            piece.range = range;
            piece.open = false;
            return;
        }
        self.clear(&range, time);
        self.insert(time, range, false, kind, name);
    }

    /// Code went: a record tells.
    fn went(&mut self, time: BootTime, range: &Range<KernelAddress>) {
        if let Some(mut piece) = self.live.remove(&range.start.0) {
            piece.range.end = range.end.0;
            self.retire(piece, time);
        }
    }

    /// Records between `since` and `until` were lost: until the kernel has listed its code, no name is sure.
    fn lose(&mut self, since: BootTime, until: BootTime) {
        let joined = self.list_wanted || self.doubts.len() == MAX_DOUBTS;
        match self.doubts.last_mut() {
            Some(last) if joined => {
                last.start = last.start.min(since);
                last.end = last.end.max(until);
            }
            _ => self.doubts.push(since..until),
        }
        self.list_wanted = true;
    }

    /// Has the kernel to list its code now, because records were lost? A list takes it some ten milliseconds.
    #[must_use]
    pub fn list_wanted(&self, now: BootTime) -> bool {
        self.list_wanted && now >= self.listed.plus(BETWEEN_LISTS)
    }

    /// What the kernel has listed from `read` on, by address.
    pub fn listed(&mut self, list: &[Listed], read: BootTime) {
        self.listed = read;
        let mut since = BootTime(0);
        if std::mem::take(&mut self.list_wanted)
            && let Some(last) = self.doubts.last_mut()
        {
            last.end = last.end.max(read);
            since = last.start;
        }
        let mut before = std::mem::take(&mut self.live);
        let mut starts = list.iter().map(|listed| listed.start.0).skip(1);
        for listed in list {
            let start = listed.start.0;
            let next = starts.next().unwrap_or(u64::MAX);
            match before.remove(&start) {
                Some(piece) if piece.code.name == listed.name => {
                    self.live.insert(start, piece);
                    continue;
                }
                Some(piece) => self.retire(piece, since),
                None => {}
            }
            let end = next.min(start.saturating_add(MAX_LISTED_BYTES));
            self.insert(since, start..end, true, listed.kind, &listed.name);
        }
        for piece in before.into_values() {
            self.retire(piece, since);
        }
    }

    /// Says of the kernel's frames of a sample which are in such code.
    pub fn settle(&self, time: BootTime, frames: &mut [LocatedFrame]) {
        for frame in frames {
            let LocationKey::Kernel(address) = frame.key else {
                // They come first.
                return;
            };
            if let Some(code) = self.at(address, time) {
                frame.key = LocationKey::KernelCode(code.id, address);
                frame.kernel_code = Some(Arc::clone(code));
            }
        }
    }

    /// The code at an address at a time.
    fn at(&self, address: KernelAddress, time: BootTime) -> Option<&Arc<KernelCode>> {
        if !self.area.contains(&address.0) || self.is_in_doubt(time) {
            return None;
        }
        let is_there =
            |piece: &&Piece| piece.range.contains(&address.0) && piece.time.contains(&time);
        let live = self.live.range(..=address.0).next_back();
        let found = live.map(|(_, piece)| piece).filter(is_there);
        let found = found.or_else(|| self.gone.iter().rev().find(is_there));
        found.map(|piece| &piece.code)
    }

    /// Were records of then lost, or may what was lost before still be missing?
    fn is_in_doubt(&self, time: BootTime) -> bool {
        let mut doubts = self.doubts.iter();
        doubts.any(|doubt| doubt.contains(&time))
            || self.list_wanted && self.doubts.last().is_some_and(|last| time >= last.start)
    }

    /// How many pieces there was no room for since this was asked last.
    pub const fn take_left_out(&mut self) -> u64 {
        std::mem::replace(&mut self.left_out, 0)
    }

    /// Forgets what was before anything that is still to be located.
    pub fn expire(&mut self, now: BootTime) {
        let kept = |end: BootTime| end.plus(KEPT) >= now;
        self.gone.retain(|piece| kept(piece.time.end));
        // The last one is not over before the list.
        let wanted = self.list_wanted;
        self.doubts.retain(|doubt| wanted || kept(doubt.end));
    }

    /// Whatever was where something is now is gone.
    fn clear(&mut self, range: &Range<u64>, time: BootTime) {
        let overlap = self.live.range(..range.end).rev();
        let starts: Vec<u64> = overlap
            .take_while(|(_, piece)| piece.range.end > range.start)
            .map(|(start, _)| *start)
            .collect();
        for start in starts {
            let Some(mut piece) = self.live.remove(&start) else {
                continue;
            };
            if start < range.start && piece.open {
                piece.range.end = range.start;
                self.live.insert(start, piece);
            } else {
                self.retire(piece, time);
            }
        }
    }

    fn insert(
        &mut self,
        time: BootTime,
        range: Range<u64>,
        open: bool,
        kind: KernelCodeKind,
        name: &str,
    ) {
        if range.is_empty() {
            return;
        }
        if self.live.len() + self.gone.len() >= MAX_PIECES {
            self.left_out += 1;
            return;
        }
        self.area = if self.area.is_empty() {
            range.clone()
        } else {
            self.area.start.min(range.start)..self.area.end.max(range.end)
        };
        self.ids = self.ids.wrapping_add(1);
        let code = KernelCode {
            id: KernelCodeId(self.ids),
            kind,
            name: name.into(),
        };
        let piece = Piece {
            range: range.clone(),
            open,
            time: time..FOR_EVER,
            code: Arc::new(code),
        };
        self.live.insert(range.start, piece);
    }

    fn retire(&mut self, mut piece: Piece, time: BootTime) {
        piece.time.end = time;
        if piece.time.start < time {
            self.gone.push(piece);
        }
    }
}

#[cfg(test)]
mod tests;

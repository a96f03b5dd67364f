//! Texts and frames, each once.
//!
//! Names are as long and as many as untrusted programs make them: [`Names`] takes no more of them than it has room for. Only
//! frames that are asked for are interned ([`LocationFrames::get`]): a profile has those of the whole machine.

use std::cmp::Ordering;
use std::sync::Arc;

use hashbrown::HashMap;
use profiler_common::unwind::Outcome;

use super::kind::Kind;
use crate::profile::{Location, LocationKind, Profile};

/// Index of a text.
type TextIndex = u32;
/// Index of a frame.
pub(super) type FrameIndex = u32;

/// About the bytes that a text or a frame takes beside its letters: its place, and its entry in an index.
const ENTRY_BYTES: usize = 64;

/// What a node shows: frames that are equal in all of it are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    /// Function's name.
    pub(super) name: TextIndex,
    /// File that the code lies in, without its directories; the empty text for none.
    pub(super) module: TextIndex,
    /// Source file; the empty text where unknown.
    pub(super) file: TextIndex,
    /// What kind of code.
    pub(super) kind: Kind,
    /// Where it stands for the end of a walk: how that ended.
    pub(super) end: Option<Outcome>,
}

/// Interned texts and frames of all profiles that were added.
#[derive(Debug)]
pub(super) struct Names {
    texts: Vec<Arc<str>>,
    by_text: HashMap<Arc<str>, TextIndex>,
    frames: Vec<Frame>,
    by_frame: HashMap<Frame, FrameIndex>,
    bytes: usize,
    max_bytes: usize,
}

impl Names {
    /// None yet; they may take about so many bytes together.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            texts: Vec::new(),
            by_text: HashMap::new(),
            frames: Vec::new(),
            by_frame: HashMap::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// About the bytes that they take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The index of a text; `None` where it is new and has no room.
    pub(super) fn text(&mut self, text: &Arc<str>) -> Option<TextIndex> {
        let known = self.by_text.get(text).copied();
        known.or_else(|| {
            self.has_room(text.len())
                .then(|| self.add_text(Arc::clone(text)))
        })
    }

    /// The same, for a text that is copied where it is new.
    pub(super) fn plain(&mut self, text: &str) -> Option<TextIndex> {
        let known = self.by_text.get(text).copied();
        known.or_else(|| {
            self.has_room(text.len())
                .then(|| self.add_text(Arc::from(text)))
        })
    }

    /// The index of a frame; `None` where it is new and has no room.
    pub(super) fn frame(&mut self, frame: Frame) -> Option<FrameIndex> {
        let known = self.by_frame.get(&frame).copied();
        known.or_else(|| self.has_room(0).then(|| self.add_frame(frame)))
    }

    /// The frame that groups what is below it; `None` where it is new and has no room.
    pub(super) fn group(&mut self, name: &str) -> Option<FrameIndex> {
        let frame = Frame {
            name: self.plain(name)?,
            module: self.plain("")?,
            file: self.plain("")?,
            kind: Kind::Group,
            end: None,
        };
        self.frame(frame)
    }

    /// A frame without code that has its room whatever there is: one of a few.
    pub(super) fn fixed(&mut self, name: &str, kind: Kind) -> FrameIndex {
        let [name, none] = [name, ""].map(|text| match self.by_text.get(text) {
            Some(known) => *known,
            None => self.add_text(Arc::from(text)),
        });
        let frame = Frame {
            name,
            module: none,
            file: none,
            kind,
            end: None,
        };
        match self.by_frame.get(&frame) {
            Some(known) => *known,
            None => self.add_frame(frame),
        }
    }

    const fn has_room(&self, length: usize) -> bool {
        self.bytes
            .saturating_add(length)
            .saturating_add(ENTRY_BYTES)
            <= self.max_bytes
    }

    fn add_text(&mut self, text: Arc<str>) -> TextIndex {
        let index = self.texts.len() as u32;
        self.bytes += text.len() + ENTRY_BYTES;
        self.texts.push(Arc::clone(&text));
        self.by_text.insert(text, index);
        index
    }

    fn add_frame(&mut self, frame: Frame) -> FrameIndex {
        let index = self.frames.len() as u32;
        self.bytes += ENTRY_BYTES;
        self.frames.push(frame);
        self.by_frame.insert(frame, index);
        index
    }

    pub(super) fn of_text(&self, index: TextIndex) -> &str {
        &self.texts[index as usize]
    }

    pub(super) fn of_frame(&self, index: FrameIndex) -> Frame {
        self.frames[index as usize]
    }

    pub(super) fn name_of(&self, index: FrameIndex) -> &str {
        self.of_text(self.of_frame(index).name)
    }

    /// Compares frames by what they show, whatever came first.
    pub(super) fn order(&self, a: FrameIndex, b: FrameIndex) -> Ordering {
        let key = |index: FrameIndex| {
            let Frame {
                name,
                module,
                file,
                kind,
                end,
            } = self.of_frame(index);
            (
                self.of_text(name),
                self.of_text(module),
                self.of_text(file),
                kind,
                end,
            )
        };
        key(a).cmp(&key(b))
    }

    /// The place of each frame in [`Names::order`].
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut sorted: Vec<FrameIndex> = (0..self.frames.len() as u32).collect();
        sorted.sort_unstable_by(|a, b| self.order(*a, *b));
        let mut ranks = vec![0; sorted.len()];
        for (rank, frame) in (0..).zip(sorted) {
            ranks[frame as usize] = rank;
        }
        ranks
    }

    pub(super) fn text_count(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn frame_count(&self) -> usize {
        self.frames.len()
    }
}

/// A frame on a stack: its index, and whether it is inlined into the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step(u32);

impl Step {
    pub(super) fn new(frame: FrameIndex, inlined: bool) -> Self {
        Self(frame << 1 | u32::from(inlined))
    }
    pub(super) fn frame(self) -> FrameIndex {
        self.0 >> 1
    }
    pub(super) fn inlined(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The frames of a profile's locations, outermost first; those of a location from when it is asked for.
pub(super) struct LocationFrames<'a> {
    profile: &'a Profile,
    frames: Vec<Step>,
    /// Where in `frames` those of a location are.
    places: Vec<Option<(u32, u32)>>,
    /// Names of the files of mappings, without their directories.
    modules: Vec<Option<TextIndex>>,
}

impl<'a> LocationFrames<'a> {
    /// Those of `profile`.
    pub(super) fn new(profile: &'a Profile) -> Self {
        Self {
            profile,
            frames: Vec::new(),
            places: vec![None; profile.locations.len()],
            modules: vec![None; profile.mappings.len()],
        }
    }

    /// The frames of a location, outermost first; `None` where `names` has no room for them.
    pub(super) fn get(&mut self, location: usize, names: &mut Names) -> Option<&[Step]> {
        let profile = self.profile;
        let Some(found) = profile.locations.get(location) else {
            return Some(&[]);
        };
        let (start, end) = match self.places[location] {
            Some(known) => known,
            None => {
                let start = self.frames.len();
                if self.add(found, names).is_none() {
                    self.frames.truncate(start);
                    return None;
                }
                *self.places[location].insert((start as u32, self.frames.len() as u32))
            }
        };
        Some(&self.frames[start as usize..end as usize])
    }

    fn add(&mut self, location: &Location, names: &mut Names) -> Option<()> {
        let profile = self.profile;
        let mapping = location.mapping.map(|index| index.0 as usize);
        let mapping = mapping.filter(|index| *index < profile.mappings.len());
        let none = names.plain("")?;
        let module = match mapping {
            Some(index) => Some(self.module(index, names)?),
            None => None,
        };
        let end = match location.kind {
            LocationKind::StackEnd(outcome) => Some(outcome),
            LocationKind::Named | LocationKind::Unnamed => None,
        };
        if location.lines.is_empty() {
            // Written by a profiler that names nothing itself.
            let name = match module {
                Some(module) => format!("{}+{:#x}", names.of_text(module), location.address),
                None => format!("{:#x}", location.address),
            };
            let frame = Frame {
                name: names.plain(&name)?,
                module: module.unwrap_or(none),
                file: none,
                kind: Kind::Unnamed,
                end,
            };
            self.frames.push(Step::new(names.frame(frame)?, false));
        }
        let kind = Kind::of(location, mapping.map(|index| &profile.mappings[index]));
        let outermost = location.lines.len().saturating_sub(1);
        for (depth, line) in location.lines.iter().enumerate().rev() {
            let Some(function) = profile.functions.get(line.function.0 as usize) else {
                continue;
            };
            let frame = Frame {
                name: names.text(&function.name)?,
                module: module.unwrap_or(none),
                file: names.text(&function.file)?,
                kind,
                end,
            };
            self.frames
                .push(Step::new(names.frame(frame)?, depth != outermost));
        }
        Some(())
    }

    fn module(&mut self, mapping: usize, names: &mut Names) -> Option<TextIndex> {
        if let Some(known) = self.modules[mapping] {
            return Some(known);
        }
        let file = &self.profile.mappings[mapping].file;
        let module = names.plain(file.rsplit('/').next().unwrap_or_default())?;
        self.modules[mapping] = Some(module);
        Some(module)
    }
}

#[cfg(test)]
mod tests {
    use super::{LocationFrames, Names};
    use crate::profile::example::example;

    #[test]
    fn only_what_is_asked_for_is_interned_and_once() {
        let profile = example();
        let mut names = Names::new(usize::MAX);
        let mut frames = LocationFrames::new(&profile);
        assert_eq!((names.text_count(), names.frame_count()), (0, 0));
        let first = frames.get(0, &mut names).unwrap().to_vec();
        let texts = names.text_count();
        // Two functions of one file and one module, and the empty text.
        assert_eq!((texts, names.frame_count()), (5, 2));
        assert_eq!(frames.get(0, &mut names).unwrap(), first);
        assert_eq!(names.text_count(), texts);
        assert!(frames.get(usize::MAX, &mut names).unwrap().is_empty());
    }

    #[test]
    fn names_take_no_more_than_they_may() {
        let profile = example();
        let mut all = Names::new(usize::MAX);
        let mut frames = LocationFrames::new(&profile);
        for location in 0..profile.locations.len() {
            assert!(frames.get(location, &mut all).is_some());
        }
        let mut less = Names::new(all.bytes() - 1);
        let mut frames = LocationFrames::new(&profile);
        let without = (0..profile.locations.len())
            .filter(|location| frames.get(*location, &mut less).is_none())
            .count();
        assert_eq!(without, 1, "the last one has no room");
        assert!(less.bytes() < all.bytes());
        // What is there stays, and is found.
        assert!(frames.get(0, &mut less).is_some());
        assert!(less.group(&"x".repeat(1_000)).is_none());
    }
}

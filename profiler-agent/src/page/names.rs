//! Texts and frames, each once.

use std::cmp::Ordering;
use std::sync::Arc;

use hashbrown::HashMap;

use super::kind::Kind;
use crate::profile::{Location, Profile};

/// Index of a text.
pub(super) type TextIndex = u32;
/// Index of a frame.
pub(super) type FrameIndex = u32;

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
}

/// Interned texts and frames of all profiles that were added.
#[derive(Debug, Default)]
pub(super) struct Names {
    texts: Vec<Arc<str>>,
    by_text: HashMap<Arc<str>, TextIndex>,
    frames: Vec<Frame>,
    by_frame: HashMap<Frame, FrameIndex>,
}

impl Names {
    pub(super) fn text(&mut self, text: &Arc<str>) -> TextIndex {
        if let Some(index) = self.by_text.get(text) {
            return *index;
        }
        let index = self.texts.len() as u32;
        self.texts.push(Arc::clone(text));
        self.by_text.insert(Arc::clone(text), index);
        index
    }

    pub(super) fn plain(&mut self, text: &str) -> TextIndex {
        match self.by_text.get(text) {
            Some(index) => *index,
            None => self.text(&Arc::from(text)),
        }
    }

    pub(super) fn frame(&mut self, frame: Frame) -> FrameIndex {
        let next = self.frames.len() as u32;
        let index = *self.by_frame.entry(frame).or_insert(next);
        if index == next {
            self.frames.push(frame);
        }
        index
    }

    /// The frame that groups what is below it.
    pub(super) fn group(&mut self, name: &str) -> FrameIndex {
        let frame = Frame {
            name: self.plain(name),
            module: self.plain(""),
            file: self.plain(""),
            kind: Kind::Group,
        };
        self.frame(frame)
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
            } = self.of_frame(index);
            (
                self.of_text(name),
                self.of_text(module),
                self.of_text(file),
                kind,
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

/// The frames of a profile's locations, outermost first.
pub(super) struct LocationFrames {
    frames: Vec<Step>,
    ends: Vec<u32>,
}

impl LocationFrames {
    /// Interns the frames of all locations of `profile`.
    pub(super) fn new(profile: &Profile, names: &mut Names) -> Self {
        let mut all = Self {
            frames: Vec::with_capacity(profile.locations.len()),
            ends: Vec::with_capacity(profile.locations.len()),
        };
        let modules: Vec<TextIndex> = profile
            .mappings
            .iter()
            .map(|mapping| names.plain(mapping.file.rsplit('/').next().unwrap_or_default()))
            .collect();
        let none = names.plain("");
        for location in &profile.locations {
            all.add(profile, location, &modules, none, names);
            all.ends.push(all.frames.len() as u32);
        }
        all
    }

    fn add(
        &mut self,
        profile: &Profile,
        location: &Location,
        modules: &[TextIndex],
        none: TextIndex,
        names: &mut Names,
    ) {
        let mapping = location.mapping.map(|index| index.0 as usize);
        let found = mapping.and_then(|index| profile.mappings.get(index));
        let kind = Kind::of(location, found);
        let module = mapping.and_then(|index| modules.get(index)).copied();
        if location.lines.is_empty() {
            // Written by a profiler that names nothing itself.
            let name = match mapping.and_then(|index| modules.get(index)) {
                Some(module) => format!("{}+{:#x}", names.of_text(*module), location.address),
                None => format!("{:#x}", location.address),
            };
            let frame = Frame {
                name: names.plain(&name),
                module: module.unwrap_or(none),
                file: none,
                kind: Kind::Unnamed,
            };
            self.frames.push(Step::new(names.frame(frame), false));
        }
        let outermost = location.lines.len().saturating_sub(1);
        for (depth, line) in location.lines.iter().enumerate().rev() {
            let Some(function) = profile.functions.get(line.function.0 as usize) else {
                continue;
            };
            let frame = Frame {
                name: names.text(&function.name),
                module: module.unwrap_or(none),
                file: names.text(&function.file),
                kind,
            };
            self.frames
                .push(Step::new(names.frame(frame), depth != outermost));
        }
    }

    /// The frames of a location, outermost first.
    pub(super) fn get(&self, location: usize) -> &[Step] {
        let Some(end) = self.ends.get(location) else {
            return &[];
        };
        let start = if location == 0 {
            0
        } else {
            self.ends[location - 1]
        };
        &self.frames[start as usize..*end as usize]
    }
}

//! Which frames of a window's stacks the runtime would not show.
//!
//! A wrapper is shown only where it calls a function that panics instead of the one that it wraps, for then
//! it is the place of the panic.

use crate::profile::{LocationIndex, ResolvedFrames, Stacks};

/// The functions that a wrapper is shown under.
const PANICS: [&str; 3] = ["runtime.gopanic", "runtime.sigpanic", "runtime.panicwrap"];

/// The wrappers among a window's locations.
#[derive(Debug)]
pub(in crate::symbolize) struct Wrappers<'a> {
    frames: &'a [ResolvedFrames],
}

impl<'a> Wrappers<'a> {
    /// Of the locations that are called so; `None` when no location is a wrapper.
    pub(in crate::symbolize) fn find(frames: &'a [ResolvedFrames]) -> Option<Self> {
        let any = frames.iter().any(|location| location.wrapper);
        any.then_some(Self { frames })
    }

    /// The locations of a stack (leaf first) that are shown: all but wrappers, or all where there is
    /// nothing else.
    pub(in crate::symbolize) fn shown(&self, stack: &[LocationIndex]) -> Vec<LocationIndex> {
        let mut callee: Option<&ResolvedFrames> = None;
        let mut shown = Vec::with_capacity(stack.len());
        for index in stack {
            let location = &self.frames[index.0 as usize];
            if !location.wrapper || callee.is_some_and(panics) {
                shown.push(*index);
            }
            callee = Some(location);
        }
        if shown.is_empty() {
            shown.extend_from_slice(stack);
        }
        shown
    }

    /// For every location, whether a stack shows it.
    pub(in crate::symbolize) fn used(&self, stacks: &Stacks) -> Vec<bool> {
        let mut used = vec![false; self.frames.len()];
        for index in 0..stacks.len() as u32 {
            for location in self.shown(stacks.get(crate::profile::StackIndex(index))) {
                used[location.0 as usize] = true;
            }
        }
        used
    }
}

fn panics(location: &ResolvedFrames) -> bool {
    let outermost = location.frames.last();
    outermost.is_some_and(|frame| PANICS.contains(&&*frame.system_name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::{FrameName, FrameType, LocationKind};

    fn location(name: &str, wrapper: bool) -> ResolvedFrames {
        ResolvedFrames {
            frames: Arc::from([FrameName {
                name: name.into(),
                system_name: name.into(),
                source: None,
                start_line: 0,
            }]),
            frame_type: FrameType::Go,
            kind: LocationKind::Named,
            wrapper,
        }
    }

    #[test]
    fn wrappers_are_shown_under_a_panic_and_where_there_is_nothing_else() {
        let frames = [
            location("main.T.Get", false),
            location("main.(*T).Get", true),
            location("runtime.panicwrap", false),
            location("main.main", false),
        ];
        let wrappers = Wrappers::find(&frames).unwrap();
        let shown = |stack: &[u32]| -> Vec<u32> {
            let stack: Vec<LocationIndex> = stack.iter().copied().map(LocationIndex).collect();
            let shown = wrappers.shown(&stack);
            shown.into_iter().map(|index| index.0).collect()
        };
        assert_eq!(shown(&[0, 1, 3]), [0, 3]);
        assert_eq!(shown(&[2, 1, 3]), [2, 1, 3]);
        assert_eq!(shown(&[1, 3]), [3]);
        assert_eq!(shown(&[1]), [1]);
        let mut stacks = Stacks::default();
        stacks.push(&[LocationIndex(0), LocationIndex(1), LocationIndex(3)]);
        assert_eq!(wrappers.used(&stacks), [true, false, false, true]);
        assert!(Wrappers::find(&frames[2..]).is_none());
    }
}

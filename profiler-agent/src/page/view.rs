//! How stacks are looked at: functions hidden, recursion collapsed, one module alone, only what goes through a function.

use super::engine::QueryError;
use super::kind::Kind;
use super::names::Step;
use super::query::{Misunderstood, Parameters};
use super::run::Run;
use super::stacks::StackSet;

/// Changes of one view.
const MAX_CHANGES: usize = 32;

/// A change of every stack. Functions and modules are named as answers name them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Change {
    /// A function's frames are left out; what it calls is called by its caller.
    Hide(String),
    /// Of a function that calls itself, directly or not, the innermost call alone stays: what lies between goes.
    Collapse(String),
    /// Frames of this module alone; stacks without any are left out.
    Module(String),
    /// Only stacks with this function.
    With(String),
}

/// Changes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct View(Vec<Change>);

impl View {
    /// The view that the parameters `view` make, each `hide:NAME`, `collapse:NAME`, `module:NAME` or `with:NAME`.
    ///
    /// # Errors
    /// One is none of those, or there are too many.
    pub(super) fn parse(parameters: &Parameters) -> Result<Self, Misunderstood> {
        let given = parameters.iter().filter(|(name, _)| name == "view");
        let texts: Vec<&str> = given
            .map(|(_, text)| text.as_str())
            .filter(|text| !text.is_empty())
            .collect();
        if texts.len() > MAX_CHANGES {
            return Err(Misunderstood(format!(
                "view is there {} times: give it at most {MAX_CHANGES} times",
                texts.len()
            )));
        }
        let change = |text: &&str| {
            let (kind, name) = text.split_once(':').unwrap_or((text, ""));
            let make = match kind {
                "hide" => Change::Hide,
                "collapse" => Change::Collapse,
                "module" => Change::Module,
                "with" => Change::With,
                _ => {
                    return Err(Misunderstood(format!(
                        "view is {text:?}: give hide:NAME, collapse:NAME, module:NAME or with:NAME"
                    )));
                }
            };
            Ok(make(name.to_owned()))
        };
        texts.iter().map(change).collect::<Result<_, _>>().map(Self)
    }

    /// Is nothing changed?
    pub(super) const fn is_plain(&self) -> bool {
        self.0.is_empty()
    }

    /// The stacks of `set`, changed.
    ///
    /// # Errors
    /// The run is to end.
    pub(super) fn of(&self, set: &StackSet, run: &Run) -> Result<StackSet, QueryError> {
        // Which frames each change is about.
        let named: Vec<Vec<bool>> = self.0.iter().map(|change| named(change, set)).collect();
        let is_group = |step: &Step| set.names.of_frame(step.frame()).kind == Kind::Group;
        let mut scratch = Vec::new();
        set.changed(set.root, run, |stack, kept| {
            kept.extend_from_slice(stack);
            self.0.iter().zip(&named).all(|(change, named)| {
                std::mem::swap(kept, &mut scratch);
                kept.clear();
                change.apply(&scratch, named, is_group, kept)
            })
        })
    }
}

fn named(change: &Change, set: &StackSet) -> Vec<bool> {
    let names = &set.names;
    (0..names.frame_count() as u32)
        .map(|index| {
            let frame = names.of_frame(index);
            match change {
                Change::Hide(name) | Change::Collapse(name) | Change::With(name) => {
                    frame.kind != Kind::Group && names.of_text(frame.name) == name
                }
                Change::Module(module) => {
                    frame.kind != Kind::Group && names.of_text(frame.module) == module
                }
            }
        })
        .collect()
}

impl Change {
    /// Puts what is kept of `stack` into `kept`; false where the stack is left out.
    fn apply(
        &self,
        stack: &[Step],
        named: &[bool],
        is_group: impl Fn(&Step) -> bool,
        kept: &mut Vec<Step>,
    ) -> bool {
        let is = |step: &Step| named[step.frame() as usize];
        match self {
            Self::Hide(_) => kept.extend(stack.iter().filter(|step| !is(step))),
            Self::Collapse(_) => {
                let first = stack.iter().position(is).unwrap_or(0);
                let last = stack.iter().rposition(is).unwrap_or(0);
                kept.extend_from_slice(&stack[..first]);
                kept.extend_from_slice(&stack[last..]);
            }
            Self::Module(_) => {
                kept.extend(stack.iter().filter(|step| is(step) || is_group(step)));
                return stack.iter().any(is);
            }
            Self::With(_) => {
                kept.extend_from_slice(stack);
                return stack.iter().any(is);
            }
        }
        true
    }
}

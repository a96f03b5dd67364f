//! Reads on behind what is wrong, so that all of it is found in one pass.

use serde::de::DeserializeOwned;

use super::node::{Node, Value};
use super::read::read;
use crate::config::problem::Problem;

/// Most problems of a file that are told.
pub(in crate::config) const MAX_PROBLEMS: usize = 100;
/// Most that are looked for in a section, each of which makes it be read once more: those, and whether there are others.
const MAX_FOUND: usize = MAX_PROBLEMS + 1;

/// The value that `node` says without what is wrong in it, which becomes [`Value::Unread`]; every problem has its
/// place and its path below `node`. `None` where the node as a whole is not what it should be.
pub(in crate::config) fn read_each<T: DeserializeOwned>(
    node: &mut Node,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    read_each_with(node, problems, |node| read(node))
}

/// The same of what `read_once` knows to read.
pub(in crate::config) fn read_each_with<T>(
    node: &mut Node,
    problems: &mut Vec<Problem>,
    read_once: impl Fn(&Node) -> Result<T, Problem>,
) -> Option<T> {
    if node.value == Value::Unread {
        return None;
    }
    while problems.len() < MAX_FOUND {
        match read_once(node) {
            Ok(value) => return Some(value),
            Err(mut problem) => {
                problem.place.get_or_insert(node.place);
                let goes_on = leave_out(node, &problem);
                problems.push(problem);
                if !goes_on {
                    break;
                }
            }
        }
    }
    node.value = Value::Unread;
    None
}

/// Marks what the problem is about as unread; false where that is the node itself.
fn leave_out(node: &mut Node, problem: &Problem) -> bool {
    let mut at = node;
    for step in &problem.path {
        let inner = match &mut at.value {
            Value::Map(entries) => {
                let mut entries = entries.iter_mut();
                entries.find_map(|(key, inner)| (key.text == *step).then_some(inner))
            }
            Value::List(items) => {
                let number = step.parse::<usize>().ok();
                number.and_then(|number| items.get_mut(number.checked_sub(1)?))
            }
            _ => None,
        };
        match inner {
            Some(inner) => at = inner,
            None => return false,
        }
    }
    // A key that is not known is at its own place, below the path.
    if let Value::Map(entries) = &mut at.value
        && let Some((_, inner)) = entries
            .iter_mut()
            .find(|(key, inner)| Some(key.place) == problem.place && inner.value != Value::Unread)
    {
        inner.value = Value::Unread;
        return true;
    }
    at.value = Value::Unread;
    !problem.path.is_empty()
}

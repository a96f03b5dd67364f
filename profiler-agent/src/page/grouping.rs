//! What stands between the root and the stacks.

use super::filter::Filter;
use super::query::{Misunderstood, Parameters, value};

/// What stands between the root and the stacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Grouping {
    /// Nothing.
    None,
    /// The service.
    Service,
    /// The service and the thread's name.
    Thread,
    /// The service and the process: its id and its name.
    Process,
    /// The value of the label with this key.
    Label(String),
}

/// By service where every process is selected, else nothing.
pub(super) const fn usual(filter: &Filter) -> Grouping {
    match filter.is_every_process() {
        true => Grouping::Service,
        false => Grouping::None,
    }
}

/// The grouping that `group` names, [`usual`] where it names nothing.
///
/// # Errors
/// It names none.
pub(super) fn grouping(
    parameters: &Parameters,
    filter: &Filter,
) -> Result<Grouping, Misunderstood> {
    match value(parameters, "group") {
        None => Ok(usual(filter)),
        Some("none") => Ok(Grouping::None),
        Some("service") => Ok(Grouping::Service),
        Some("thread") => Ok(Grouping::Thread),
        Some("process") => Ok(Grouping::Process),
        Some(other) => match other.strip_prefix("label:") {
            Some(key) if !key.is_empty() => Ok(Grouping::Label(key.to_owned())),
            _ => Err(Misunderstood(format!(
                "group is {other:?}: give service, thread, process, label:KEY or none"
            ))),
        },
    }
}

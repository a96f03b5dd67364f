//! What does not work just now, although the agent goes on: each is said once when it begins and once when it is over.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The sentences that hold now; those who show them read them at any time.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeSet<String>>);

impl Troubles {
    /// These hold now, and no others.
    pub(super) fn are(&self, sentences: impl IntoIterator<Item = String>) {
        let now: BTreeSet<String> = sentences.into_iter().collect();
        let before = {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if *held == now {
                return;
            }
            std::mem::replace(&mut *held, now.clone())
        };
        for sentence in now.difference(&before) {
            tracing::warn!("{sentence}");
        }
        for sentence in before.difference(&now) {
            tracing::info!("it is over that {sentence}");
        }
    }

    /// The sentences.
    #[must_use]
    pub fn now(&self) -> Vec<String> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use tracing::field::{Field, Visit};
    use tracing::span;
    use tracing::{Event, Metadata, Subscriber};

    use super::Troubles;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<std::sync::Mutex<Vec<String>>>);

    impl Subscriber for Kept {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            struct Text(String);
            impl Visit for Text {
                fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
                    let _ = write!(self.0, "{value:?}");
                }
            }
            let mut text = Text(format!("{}: ", event.metadata().level()));
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn a_trouble_is_logged_when_it_begins_and_when_it_is_over() {
        let kept = Kept::default();
        let troubles = Troubles::default();
        let lines = tracing::subscriber::with_default(kept.clone(), || {
            for sentences in [
                vec![],
                vec!["a"],
                vec!["a"],
                vec!["a", "b"],
                vec!["b"],
                vec!["b"],
            ] {
                troubles.are(sentences.into_iter().map(str::to_owned));
            }
            kept.0.lock().unwrap().clone()
        });
        assert_eq!(lines, ["WARN: a", "WARN: b", "INFO: it is over that a"]);
        assert_eq!(troubles.now(), ["b"]);
    }
}

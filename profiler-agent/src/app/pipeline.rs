//! The thread behind the collector: windows to profiles, to the store and to the destinations.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::allocator::give_memory_back;
use super::clock;
use super::codec::encode_window;
use super::collector::ClosedWindow;
use super::destinations::Outlets;
use crate::profile::window::OutcomeCounts;
use crate::profile::{
    BootTime, Degradation, Losses, Profile, WindowLinks, WindowSummary, WindowUuid,
};
use crate::store::Store;
use crate::symbolize::SymbolizerHandle;
use crate::telemetry::executables::Executables;

/// Totals of all windows so far.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Samples: stored or not stored.
    pub samples: u64,
    /// Samples in windows that the local store could not take.
    pub unstored: u64,
    /// How stacks ended.
    pub outcomes: OutcomeCounts,
    /// How they ended by executable.
    pub executables: Executables,
    /// What was lost.
    pub losses: Losses,
    /// Windows.
    pub windows: u64,
    /// When the last one was named.
    pub last: BootTime,
}

impl Totals {
    /// Of so many samples that were read those that are neither in a named window nor lost.
    pub(super) fn open(&self, read: u64) -> u64 {
        let lost = self.losses.samples().iter();
        let lost = lost.filter(|(cause, _)| cause.is_of_read_samples());
        let lost: u64 = lost.map(|(_, count)| count).sum();
        read.saturating_sub(self.samples + lost)
    }
}

/// Where profiles go.
pub(super) struct Outputs {
    pub(super) store: Arc<Store>,
    pub(super) outlets: Outlets,
    pub(super) totals: Arc<Mutex<Totals>>,
}

/// Runs until there are no more windows.
pub(super) fn spawn(
    windows: Receiver<ClosedWindow>,
    symbolizer: SymbolizerHandle,
    outputs: Outputs,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name("pipeline".to_owned()).spawn(move || {
        // The losses of the store itself are known too late for their own window.
        let mut late = Losses::default();
        for closed in windows {
            let ClosedWindow {
                mut window,
                clocks,
                name,
                span,
            } = closed;
            let _entered = span.enter();
            window.losses.merge(&late.take());
            let named = symbolizer
                .resolve(window, clocks)
                .and_then(crate::symbolize::PendingProfile::wait);
            let Ok(profile) = named else {
                tracing::error!("the symbolizer thread ended unexpectedly");
                return;
            };
            let is_kept = outputs.keep(&profile, &mut late);
            outputs.count(&profile, is_kept);
            outputs.export(&profile, name);
            give_memory_back();
        }
        // There is no later window to say it.
        outputs.lock_totals().losses.merge(&late);
    })
}

impl Outputs {
    fn lock_totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, profile: &Profile, is_kept: bool) {
        let mut totals = self.lock_totals();
        let samples = profile.sample_count();
        totals.samples += samples;
        totals.unstored += if is_kept { 0 } else { samples };
        for counts in &profile.outcomes {
            totals.outcomes.merge(counts);
        }
        let processes = profile.processes.iter().map(AsRef::as_ref);
        totals.executables.add(processes.zip(&profile.outcomes));
        totals.losses.merge(&profile.losses);
        totals.windows += 1;
        totals.last = clock::boot_now();
    }

    /// Puts the window into the store; is it there?
    fn keep(&self, profile: &Profile, late: &mut Losses) -> bool {
        let _entered = tracing::trace_span!("store").entered();
        let summary = WindowSummary::of(profile);
        let links = WindowLinks::of(profile);
        late.add(Degradation::LinkIndexFull, links.left_out);
        let kept = encode_window(profile)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                self.store
                    .append(profile.start, profile.end, &summary, &links, &bytes)
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = &kept {
            tracing::warn!(%error, "a window is not kept in the local store");
            late.add(Degradation::StoreFailed, 1);
        }
        kept.is_ok()
    }

    fn export(&self, profile: &Profile, name: WindowUuid) {
        if !profile.samples.is_empty() {
            self.outlets.deliver(profile, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::example::example;
    use crate::store::Limits;

    #[test]
    fn a_window_that_cannot_be_encoded_is_counted_and_the_next_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        let outputs = Outputs {
            store: Arc::new(store),
            outlets: Outlets::default(),
            totals: Arc::default(),
        };
        let usual = example();
        let mut too_large = example();
        too_large.samples[0].count = 1 << 41;
        let error = encode_window(&too_large).unwrap_err().to_string();
        assert_eq!(error, "the profile is larger than a window may be");
        let mut late = Losses::default();
        for (profile, is_kept) in [(&usual, true), (&too_large, false), (&usual, true)] {
            assert_eq!(outputs.keep(profile, &mut late), is_kept);
            outputs.count(profile, is_kept);
        }
        assert_eq!(late.of(Degradation::StoreFailed), 1);
        assert_eq!(outputs.store.size().windows, 2);
        let totals = outputs.lock_totals();
        assert_eq!(
            (totals.windows, totals.unstored),
            (3, too_large.sample_count())
        );
        assert_eq!(totals.samples - totals.unstored, 2 * usual.sample_count());
    }
}

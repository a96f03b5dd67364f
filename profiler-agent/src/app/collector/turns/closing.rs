//! How windows end: when their time is over, and when what their samples wait for is there or was waited for long enough.

use std::sync::atomic::Ordering;
use std::sync::mpsc::TrySendError;
use std::time::Duration;

use super::Running;
use crate::app::clock::{self, boot_now};
use crate::app::collector::sink::ClosedWindow;
use crate::profile::{BootTime, ProfileKind, SampleLoss, Window, WindowUuid};
use crate::telemetry::trace;

/// When the window that follows one that ended at `end` is over, and is not over at `first` yet.
fn end_of_next(end: BootTime, window: Duration, first: BootTime) -> BootTime {
    let length = window.as_nanos().max(1) as u64;
    let windows = first.0.saturating_sub(end.0) / length;
    BootTime(end.0 + (windows + 1) * length)
}

impl Running {
    /// Do samples wait for what is being read of files?
    pub(super) const fn is_waited_for(&self) -> bool {
        !self.deferred.is_empty() || !self.unlabelled.is_empty()
    }

    /// Closes the windows whose time is over. Samples that wait for tables hold the end of theirs up for a while; those of
    /// later windows are not located before. An agent that stood still closes each window that has samples.
    pub(super) fn close_windows(&mut self, now: BootTime) {
        while now >= self.window_end {
            if self.is_waited_for() && now < self.window_end.plus(self.patience)
                || self.looks.is_waited_for(self.window_end, now)
            {
                return;
            }
            self.give_up_labels();
            self.give_up();
            self.close(self.window_end);
            let first = self.held.first();
            let next = end_of_next(self.window_end, self.window, first.unwrap_or(now).min(now));
            if next.since(self.window_end) > self.window {
                // Nothing was sampled for a while.
                self.close(BootTime(next.0 - self.window.as_nanos() as u64));
            }
            self.window_end = next;
            self.locate(self.known_until.min(self.window_end));
        }
    }

    /// Closes the windows at `end` and hands them on.
    pub(super) fn close(&mut self, end: BootTime) {
        let clocks = clock::pair();
        let start = clocks.unix(self.windows.start());
        let name = WindowUuid::new(start, self.run);
        let span = trace::window(name);
        let entered = span.enter();
        let windows = tracing::trace_span!("close").in_scope(|| self.close_all(end));
        drop(entered);
        self.gauges
            .last_close
            .store(boot_now().0, Ordering::Relaxed);
        for window in windows {
            let kind = window.kind.kind;
            let name = name.of_kind(kind);
            // Each window is a trace that is made of its name.
            let span = match kind {
                ProfileKind::OnCpu => span.clone(),
                ProfileKind::OffCpu | ProfileKind::Wall => trace::window(name),
            };
            self.hand_on(ClosedWindow {
                window,
                clocks,
                name,
                span,
            });
        }
    }

    fn hand_on(&mut self, closed: ClosedWindow) {
        if let Err(TrySendError::Full(ClosedWindow { window, .. })) =
            self.sink.windows.try_send(closed)
        {
            // Counted in the next window that finds room.
            self.losses.merge(&window.losses);
            self.losses
                .add(SampleLoss::PipelineBehind, window.sample_count());
        }
    }

    fn close_all(&mut self, end: BootTime) -> Vec<Window> {
        let mut losses = self.losses.take();
        losses.merge(&self.kernel.counters.new_losses());
        losses.merge(&self.kernel.traces.take_losses());
        losses.merge(&self.cpus.take_losses());
        losses.merge(&self.kernel.publisher.take_losses());
        losses.merge(&self.processes.take_losses());
        losses.merge(&self.sideband.take_losses());
        losses.merge(&self.demand.take_losses());
        losses.merge(&self.runtimes.take_losses());
        losses.merge(&self.looks.take_losses());
        losses.merge(&self.correlator.take_losses());
        self.windows.close(end, losses)
    }
}

//! Exporters whose failures are counted, and told on standard error when they begin and end.
//!
//! A panic in one counts as a failure: what a receiver answers is untrusted, and the thread has to go on.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// One of the agent's own signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Metrics.
    Metrics,
    /// Traces.
    Traces,
    /// Logs.
    Logs,
}

impl Signal {
    /// Every signal, in order of declaration.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

/// Requests of a signal so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportCounts {
    /// Those that the receiver took.
    pub delivered: u64,
    /// Those that are lost.
    pub failed: u64,
}

#[derive(Default)]
struct Counters {
    delivered: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
}

static COUNTERS: [Counters; Signal::ALL.len()] = [const {
    Counters {
        delivered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        failing: AtomicBool::new(false),
    }
}; Signal::ALL.len()];

/// Requests so far, in the order of [`Signal::ALL`].
#[must_use]
pub fn exports() -> [ExportCounts; Signal::ALL.len()] {
    COUNTERS.each_ref().map(|counters| ExportCounts {
        delivered: counters.delivered.load(Ordering::Relaxed),
        failed: counters.failed.load(Ordering::Relaxed),
    })
}

/// What the export comes to, if it does not panic.
async fn caught(export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
    let mut export = pin!(export);
    poll_fn(|context| {
        // A future that panicked is not polled again, and what it shares are channels that stay usable.
        let polled = catch_unwind(AssertUnwindSafe(|| export.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let message = "it panicked".to_owned();
            Poll::Ready(Err(OTelSdkError::InternalFailure(message)))
        })
    })
    .await
}

/// An exporter that is watched.
#[derive(Debug)]
pub(super) struct Watched<E> {
    exporter: E,
    signal: Signal,
}

impl<E> Watched<E> {
    pub(super) const fn new(exporter: E, signal: Signal) -> Self {
        Self { exporter, signal }
    }

    fn seen(&self, result: OTelSdkResult) -> OTelSdkResult {
        let counters = &COUNTERS[self.signal as usize];
        let signal = self.signal.name();
        match &result {
            Ok(()) => {
                counters.delivered.fetch_add(1, Ordering::Relaxed);
                if counters.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(signal, "the agent's own signal is exported again");
                }
            }
            Err(error) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                if !counters.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(signal, %error, "the agent's own signal is not exported");
                }
            }
        }
        result
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.seen(caught(self.exporter.export(batch)).await)
    }
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }
    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Watched<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.seen(caught(self.exporter.export(batch)).await)
    }
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }
    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.seen(caught(self.exporter.export(metrics)).await)
    }
    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }
    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        assert!(caught(async { Ok(()) }).await.is_ok());
        let panics = caught(async { panic!("an untrusted answer") }).await;
        assert!(panics.is_err_and(|error| error.to_string().contains("panicked")));
    }
}

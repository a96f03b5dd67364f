//! The agent's own metrics, traces and logs over OTLP (gRPC), through the OpenTelemetry crates.
//!
//! Each signal has a receiver or is off, and what is off costs nothing: no thread, no connection, no span. What is on
//! is bounded (the crates' queues drop when they are full) and stands beside the agent's work: exporters have
//! threads of their own, a receiver that hangs holds up nobody. Failures are counted and told on standard error,
//! never through the export that fails; what the export itself logs and traces is left out of it.

mod metrics;
mod receiver;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::transport::Channel;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

pub(super) use metrics::histogram;
pub use receiver::{Receiver, ReceiverError};
pub use watched::{ExportCounts, Signal, exports};

use self::metrics::Observed;
use self::watched::Watched;
use super::endpoints::Subject;
use super::limit::Verdict;
use super::log::{self, Limited, LogConfig};
use super::{process_context, trace};

/// What the crate's modules call themselves in events and spans.
const OWN: &str = "profiler_agent";
/// Those of the export itself.
const EXPORT: &str = "profiler_agent::telemetry";

/// Where the agent's own signals go; none of them: off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpConfig {
    /// Metrics.
    pub metrics: Option<Receiver>,
    /// Traces.
    pub traces: Option<Receiver>,
    /// Logs.
    pub logs: Option<Receiver>,
    /// Time between two exports of metrics.
    pub interval: Duration,
    /// Attributes of the agent's resource; those of `OTEL_RESOURCE_ATTRIBUTES` come with them.
    pub resource: Vec<(String, String)>,
}

/// Why signals cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// A receiver's TLS cannot be set up.
    #[error("the agent's own {signal} cannot be exported to {receiver}: {problem}")]
    Channel {
        /// The signal.
        signal: &'static str,
        /// Where to.
        receiver: String,
        /// Why.
        problem: String,
    },
    /// A variable of the environment cannot be followed.
    #[error("the agent's own {signal} cannot be exported: {source}")]
    Exporter {
        /// The signal.
        signal: &'static str,
        /// Why.
        source: ExporterBuildError,
    },
}

/// What exports the agent's own signals.
#[derive(Debug, Default)]
pub struct OwnSignals {
    metrics: Option<SdkMeterProvider>,
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    observed: Observed,
}

impl OwnSignals {
    /// Logs and exports from now on, over what `connect` makes of receivers. `now` is a time in nanoseconds. The first
    /// call of a process counts.
    ///
    /// # Errors
    /// See [`SignalError`].
    pub fn start(
        logs: &LogConfig,
        config: &OtlpConfig,
        connect: Connect<'_>,
        now: u64,
    ) -> Result<Self, SignalError> {
        let resource = resource(config);
        let signals = Self {
            metrics: metric_provider(config, connect, &resource)?,
            traces: trace_provider(config, connect, &resource)?,
            logs: log_provider(config, connect, &resource)?,
            observed: Observed::default(),
        };
        let subscriber = tracing_subscriber::registry()
            .with(log::lines_aside(logs))
            .with(signals.traces.as_ref().map(|provider| {
                tracing_opentelemetry::layer()
                    .with_tracer(provider.tracer(OWN))
                    .with_location(false)
                    .with_threads(true)
                    .with_tracked_inactivity(false)
                    .with_target(false)
                    .with_filter(own_spans())
            }))
            .with(signals.traces.as_ref().map(|_| {
                let contexts = trace::ThreadContexts;
                contexts.with_filter(own_spans())
            }))
            .with(signals.logs.as_ref().map(|provider| {
                let bridge = Bridge {
                    bridge: OpenTelemetryTracingBridge::new(provider),
                    limited: Limited::default(),
                };
                bridge.with_filter(own_events(logs.level.filter()))
            }));
        // A second call, in a test, leaves the first one's logger.
        let _ = tracing::subscriber::set_global_default(subscriber);
        if let Some(provider) = &signals.metrics {
            opentelemetry::global::set_meter_provider(provider.clone());
            metrics::observe(&opentelemetry::global::meter(OWN), &signals.observed);
        }
        if signals.traces.is_some()
            && let Err(error) = process_context::publish(&resource, now)
        {
            tracing::warn!(%error, "profilers are not told of this agent's spans");
        }
        Ok(signals)
    }

    /// Exports the numbers of `subject` from now on.
    pub fn observe(&self, subject: Arc<dyn Subject>) {
        self.observed.set(subject);
    }

    /// Lets go of what was observed: it holds what its successor needs.
    pub fn forget(&self) {
        self.observed.clear();
    }

    /// Exports what is left, each signal for at most `within`. Blocks; not on the runtime's only thread.
    pub fn stop(self, within: Duration) {
        // What could not be exported is counted where it failed.
        if let Some(provider) = self.traces {
            let _ = provider.shutdown_with_timeout(within);
        }
        if let Some(provider) = self.metrics {
            let _ = provider.shutdown_with_timeout(within);
        }
        if let Some(provider) = self.logs {
            let _ = provider.shutdown_with_timeout(within);
        }
    }

    /// Is nothing exported?
    #[must_use]
    pub const fn are_off(&self) -> bool {
        self.metrics.is_none() && self.traces.is_none() && self.logs.is_none()
    }
}

fn resource(config: &OtlpConfig) -> Resource {
    let attributes = config.resource.iter();
    Resource::builder_empty()
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(attributes.map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
        .build()
}

/// Makes a channel to a receiver; what is wrong with it, otherwise.
pub type Connect<'a> = &'a dyn Fn(&Receiver) -> Result<Channel, String>;

fn open(connect: Connect<'_>, receiver: &Receiver, signal: Signal) -> Result<Channel, SignalError> {
    connect(receiver).map_err(|problem| SignalError::Channel {
        signal: signal.name(),
        receiver: receiver.to_string(),
        problem,
    })
}

fn exporter_error(signal: Signal) -> impl Fn(ExporterBuildError) -> SignalError {
    move |source| SignalError::Exporter {
        signal: signal.name(),
        source,
    }
}

fn metric_provider(
    config: &OtlpConfig,
    connect: Connect<'_>,
    resource: &Resource,
) -> Result<Option<SdkMeterProvider>, SignalError> {
    let Some(receiver) = &config.metrics else {
        return Ok(None);
    };
    let exporter = MetricExporter::builder()
        .with_tonic()
        .with_channel(open(connect, receiver, Signal::Metrics)?)
        .build()
        .map_err(exporter_error(Signal::Metrics))?;
    let reader = PeriodicReader::builder(Watched::new(exporter, Signal::Metrics))
        .with_interval(config.interval)
        .build();
    let provider = SdkMeterProvider::builder()
        .with_reader(reader)
        .with_resource(resource.clone())
        .build();
    Ok(Some(provider))
}

fn trace_provider(
    config: &OtlpConfig,
    connect: Connect<'_>,
    resource: &Resource,
) -> Result<Option<SdkTracerProvider>, SignalError> {
    let Some(receiver) = &config.traces else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_channel(open(connect, receiver, Signal::Traces)?)
        .build()
        .map_err(exporter_error(Signal::Traces))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Watched::new(exporter, Signal::Traces))
        .with_id_generator(trace::Ids::default())
        .with_resource(resource.clone())
        .build();
    Ok(Some(provider))
}

fn log_provider(
    config: &OtlpConfig,
    connect: Connect<'_>,
    resource: &Resource,
) -> Result<Option<SdkLoggerProvider>, SignalError> {
    let Some(receiver) = &config.logs else {
        return Ok(None);
    };
    let exporter = LogExporter::builder()
        .with_tonic()
        .with_channel(open(connect, receiver, Signal::Logs)?)
        .build()
        .map_err(exporter_error(Signal::Logs))?;
    let provider = SdkLoggerProvider::builder()
        .with_batch_exporter(Watched::new(exporter, Signal::Logs))
        .with_resource(resource.clone())
        .build();
    Ok(Some(provider))
}

/// The agent's own spans: not those of the connections that they are exported by.
fn own_spans() -> FilterFn {
    filter_fn(|metadata| metadata.is_span() && is_own(metadata))
}

/// The agent's own log lines of a level, without those about their export.
fn own_events(level: LevelFilter) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(move |metadata| {
        metadata.is_event()
            && is_own(metadata)
            && *metadata.level() <= level
            && !metadata.target().starts_with(EXPORT)
    })
}

fn is_own(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(OWN)
}

/// Log lines to OTLP, limited as those on standard error are.
struct Bridge {
    bridge: OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>,
    limited: Limited,
}

impl<S> Layer<S> for Bridge
where
    S: Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Verdict::Write { .. } = self.limited.judge(event) {
            self.bridge.on_event(event, context);
        }
    }
}

//! Spans of windows.
//!
//! A window is a trace. Its ids are made from the window's name, so that whoever has the name finds it: an attempt
//! to send a payload, perhaps hours later and in another run of the agent, is a child of the window's span.
//!
//! Spans have the level `TRACE`: without a receiver of traces nobody wants them, and they cost a comparison.

use std::cell::Cell;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use sha2::{Digest as _, Sha256};
use tracing::{Span, Subscriber, span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::layer;

use super::thread_context;
use crate::profile::{Link, Payload, WindowUuid};

/// The ids of a window's span: of a hash, because receivers sample traces by ids that are random.
fn ids(window: WindowUuid) -> (TraceId, SpanId) {
    let hash: [u8; 32] = Sha256::digest(window.0).into();
    let mut trace = [0; 16];
    let mut span = [0; 8];
    trace.copy_from_slice(&hash[..16]);
    span.copy_from_slice(&hash[16..24]);
    (TraceId::from_bytes(trace), SpanId::from_bytes(span))
}

thread_local! {
    /// The ids that the next span of this thread gets.
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Random ids, but for spans of windows.
#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        match NEXT.get() {
            Some((trace, _)) => trace,
            None => self.0.new_trace_id(),
        }
    }

    fn new_span_id(&self) -> SpanId {
        match NEXT.get() {
            Some((_, span)) => span,
            None => self.0.new_span_id(),
        }
    }
}

/// The span of a window, to be entered wherever something is done with it.
#[must_use]
pub fn window(name: WindowUuid) -> Span {
    let span = tracing::trace_span!(parent: None, "window", window = %name);
    if !span.is_disabled() {
        NEXT.set(Some(ids(name)));
        // It gets its ids when it is asked for them first.
        drop(span.context());
        NEXT.set(None);
    }
    span
}

/// The span of an attempt to send a payload.
pub(super) fn send(destination: &str, payload: &Payload) -> Span {
    let span = tracing::trace_span!(
        parent: None,
        "send",
        destination,
        window = %payload.id.window,
        part = payload.id.part,
        bytes = payload.bytes.len(),
        outcome = tracing::field::Empty,
    );
    if !span.is_disabled() {
        let (trace, window) = ids(payload.id.window);
        let parent = SpanContext::new(
            trace,
            window,
            TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        // Refused only for a span that was started, and this one was not.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    span
}

/// Publishes the span that a thread is in to profilers. Behind the layer that makes it OpenTelemetry's current one.
pub(super) struct ThreadContexts;

impl<S: Subscriber> Layer<S> for ThreadContexts {
    fn on_enter(&self, _id: &span::Id, _context: layer::Context<'_, S>) {
        thread_context::publish(current());
    }

    fn on_exit(&self, _id: &span::Id, _context: layer::Context<'_, S>) {
        thread_context::publish(current());
    }
}

/// OpenTelemetry's current span.
fn current() -> Option<Link> {
    Context::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| Link {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::profile::{Coding, PayloadId, UnixTime};

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    /// The spans of `work`, in the order of their ends.
    fn traced(work: impl FnOnce()) -> Vec<SpanData> {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(kept.clone())
            .with_id_generator(Ids::default())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry()
            .with(layer)
            .with(ThreadContexts);
        tracing::subscriber::with_default(subscriber, work);
        let spans = kept.0.lock().unwrap();
        spans.clone()
    }

    fn link_of(span: &SpanData) -> Link {
        Link {
            trace_id: span.span_context.trace_id().to_bytes(),
            span_id: span.span_context.span_id().to_bytes(),
        }
    }

    #[test]
    fn a_thread_publishes_the_span_that_it_is_in() {
        let mut seen = Vec::new();
        let spans = traced(|| {
            let window = window(WindowUuid([7; 16]));
            seen.push(thread_context::current());
            {
                let _window = window.enter();
                seen.push(thread_context::current());
                let other = window.clone();
                let child = std::thread::scope(|scope| {
                    let dispatch = tracing::dispatcher::get_default(Clone::clone);
                    let work = move || {
                        tracing::dispatcher::with_default(&dispatch, || {
                            let _entered = tracing::trace_span!(parent: &other, "child").entered();
                            thread_context::current()
                        })
                    };
                    scope.spawn(work).join().unwrap()
                });
                seen.push(child);
                seen.push(thread_context::current());
            }
            seen.push(thread_context::current());
        });
        assert_eq!(spans.len(), 2);
        let (child, window) = (&spans[0], &spans[1]);
        assert_eq!((&*child.name, &*window.name), ("child", "window"));
        assert_eq!(child.parent_span_id, window.span_context.span_id());
        assert_eq!(window.parent_span_id, SpanId::INVALID);
        let (child, window) = (Some(link_of(child)), Some(link_of(window)));
        assert_eq!(seen, [None, window, child, window, None]);
    }

    #[test]
    fn an_attempt_in_another_run_is_a_child_of_its_window() {
        let name = WindowUuid([8; 16]);
        let first = traced(|| drop(window(name)));
        let later = traced(|| {
            let payload = Payload {
                id: PayloadId {
                    window: name,
                    part: 0,
                },
                start: UnixTime(1),
                end: UnixTime(2),
                samples: 1,
                coding: Coding::Identity,
                raw_length: 1,
                bytes: vec![0],
            };
            send("otlp", &payload).in_scope(|| ());
        });
        assert_eq!((first.len(), later.len()), (1, 1));
        assert_eq!(later[0].parent_span_id, first[0].span_context.span_id());
        let trace = |span: &SpanData| span.span_context.trace_id();
        assert_eq!(trace(&later[0]), trace(&first[0]));
        // Each window has ids of its own.
        let other = traced(|| drop(window(WindowUuid([9; 16]))));
        assert_ne!(trace(&other[0]), trace(&first[0]));
    }

    #[test]
    fn nothing_is_published_where_nobody_traces() {
        let subscriber =
            tracing_subscriber::registry().with(tracing_subscriber::filter::LevelFilter::INFO);
        tracing::subscriber::with_default(subscriber, || {
            let window = window(WindowUuid([7; 16]));
            assert!(window.is_disabled());
            let _entered = window.enter();
            assert_eq!(thread_context::current(), None);
        });
    }
}

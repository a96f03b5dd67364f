//! What the kernel side read of a request to labels and a link that a person can search.
//!
//! [`Correlator::context`] takes the bytes that a sample came with and gives its [`SampleContext`]. Pure.
//!
//! # Labels
//! - Bytes become text (what is not UTF-8 becomes U+FFFD), sorted by key, each key once: the first one
//!   wins. An empty key is left out.
//! - [`Keys`] says which keys are wanted. Per process image and key [`Config::max_values`] distinct values are kept
//!   as they are, whatever window they come in; every further one is [`OTHER`], counted as
//!   `Degradation::LabelValues`. Receivers make a series of every value: a program that labels by user id
//!   must not cost more than it tells.
//! - A label that was cut, or of which there were more than are read, counts as `Degradation::LabelCut`.
//!
//! # Links
//! Labels `trace_id` (32 hexadecimal digits), `span_id` (16) and `traceparent` (W3C) name a request. They are no
//! labels any more then, and no configuration of labels touches them; `span_name` stays one. An id of another shape
//! or of zeros alone is left out and counted as `Degradation::LinkMalformed`. Where several sources name a
//! request, the first one in the order of [`LinkSource`] is believed: the OpenTelemetry thread context,
//! labels, Elastic's record, the map of OpenTelemetry's eBPF instrumentation. A sample has one link.
//!
//! # Cost and bounds
//! Equal bytes of one process give the same `Arc` by one look into a table. What is remembered is bounded
//! by bytes; the process that was sampled longest ago is forgotten first, with its values.
//!
//! [`SampleContext`]: crate::profile::SampleContext
//! [`LinkSource`]: crate::profile::LinkSource

mod correlator;
mod ids;
mod keys;
mod memory;

#[cfg(test)]
mod tests;

pub use correlator::{Config, Correlator};
pub use keys::{KeyPattern, Keys};
pub use memory::OTHER;

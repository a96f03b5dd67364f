//! What processes are called and what else is said of them: attributes, in layers.
//!
//! [`Enricher`] is told what was found of the processes that were sampled and has the attributes of each, as
//! [`ResourceAttribute`]s; they are `Process::resource` from then on, and with it in every destination, in the store and on
//! the page.
//!
//! # Layers
//! Each [`Source`] has a layer of its own. Of two layers with one key the stronger one counts, whichever came first; a layer
//! that comes again takes the place of what it said before, and of nothing else ([`Layers`]). Strongest first:
//!
//! | source | says | from |
//! |---|---|---|
//! | [`Source::ProcessContext`] | the resource of its OpenTelemetry SDK | what the process publishes in its memory (OTEP 4719), `inspect::processes::published` |
//! | [`Source::Environment`] | `service.name`, any attribute | `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` of its environment, `inspect::processes::environment` |
//! | [`Source::Executable`] | `service.name` | the file name of its executable, [`executable`] |
//!
//! A process that no layer names is called what its main thread is (`Process::service`): that name changes, and is no attribute.
//!
//! A source of what is outside of the process (Kubernetes, its container, systemd) belongs between the last two: who deploys a
//! program knows more of it than its file name says, and less than what is said to the program itself. It is a variant of [`Source`]
//! at its place, something in `inspect` that finds it, and a call of [`Enricher::put`].
//!
//! # Time
//! Layers arrive late: after the first samples of a process, and perhaps after its end. Windows take the attributes that are known
//! when they are closed, and a process that ended takes them for as long as it is known. Samples that waited for something else
//! take those that are known when they are added. The end of a window waits for a moment for first looks that are under way.
//!
//! # Trust
//! All of it is untrusted: it was read with bounds in bytes and in keys, and is never believed in what the kernel knows better
//! (pid, executable, container).
//!
//! [`ResourceAttribute`]: crate::profile::ResourceAttribute

mod enricher;
pub mod executable;
mod layers;

pub use enricher::{Amended, Enricher};
pub use layers::{Layers, Source};

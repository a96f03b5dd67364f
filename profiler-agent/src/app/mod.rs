//! The composition root: the only module that knows all stages.
//!
//! - [`collector`]: the thread that everything begins in: side-band and rings to windows, processes
//!   and tables to the kernel, and what `inspect` finds to who needs it.
//! - `demand`: which tables that thread asks `inspect` for, and what it loads of them.
//! - [`record`]: a recording, from start to profile; `launch` starts its command, [`report`] and [`incomplete`] say what
//!   it is worth.
//! - [`agent`]: the daemon; `pipeline` is its thread behind the collector, `destinations` are what it delivers to, `reload`
//!   changes them while it runs, by what `plan` says, and `restart` decides what is started when everything is.
//! - `merging`: the thread that merges the store's windows for queries of long ranges.
//! - `serving`: the page and the endpoints while they are served; `aside` has work done that may hang.
//! - `page_token`: reads the token that the page asks for.
//! - `page_users`: knows the users that may see the page without one.
//! - `observations`: what the agent knows of itself, for `telemetry` and for the page.
//! - `troubles`: what does not work just now, although the agent goes on.
//! - [`view`]: the page over saved profiles.

pub mod agent;
mod allocator;
mod aside;
mod bpf_memory;
mod clock;
mod codec;
pub mod collector;
mod demand;
mod destinations;
pub mod economy;
pub mod incomplete;
mod launch;
mod memory_limit;
mod merging;
mod observations;
mod own_signals;
mod page_token;
mod page_users;
mod pipeline;
mod plan;
pub mod record;
mod reload;
pub mod report;
mod restart;
mod serving;
mod settings;
mod signals;
mod troubles;
pub mod view;
mod wake;

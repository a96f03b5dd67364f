//! The page and its query API: over a real socket, and in a real browser.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod access;
mod api;
mod browser;
mod damaged;
#[path = "../demo/mod.rs"]
mod demo;
mod devtools;
mod functions;
mod generated;
mod heat;
mod kinds;
mod limits;
mod lines;
mod looks;
mod merged;
mod replaced;
mod sandwich;
mod searching;
mod served;
mod traces;
mod troubled;
mod verdict;

//! YAML as the agent reads it: every value with its place, `${env:NAME}` for what the environment says.
//!
//! The syntax is a library's ([`granit_parser`]); what is added is what a person who made a mistake needs: line and
//! column of every value also after it was read, and texts of the environment that never show in a message.
//! Anchors, aliases, tags and several documents have no use in a configuration and are refused.

mod each;
mod environment;
mod node;
mod read;

#[cfg(test)]
mod tests;

pub(super) use each::{MAX_PROBLEMS, read_each, read_each_with};
pub(super) use node::{Key, NOT_A_MAP, Node, Value};
pub(super) use read::read_with;

//! A [`Profile`] as bytes, and back: what is read equals what was written.
//!
//! # Format
//! One byte (5, the store's format), the length of the body before compression (LEB128), the body as a zstd frame, then the
//! check value of [`seal`](super::seal). pprof, which formats 1 to 4 of the store have in its place, begins with other
//! bytes ([`is_encoded`]).
//!
//! The body has LEB128 numbers, signed ones with their sign in the lowest bit, in this order. A table has the number of
//! its rows in front and is written by columns: values of one kind lie together, which compresses best.
//!
//! | part | content |
//! |---|---|
//! | texts | lengths, then the bytes of all: each distinct text once, in the order in which what follows mentions them |
//! | head | start in ns since 1970, end as a difference (modulo 2^64), kind, period in ns (0: none) |
//! | processes | pid, start, parent, comm, executable, cgroup, kernel thread (1), container (number, then ids), attributes (number, then keys and values) |
//! | threads | process, tid, name |
//! | functions | name, name in the symbol table (0: the same), file, first line |
//! | mappings | file, first address, length, offset, build id (length, then bytes), head-tail-length hash (1, then bytes) |
//! | locations | mapping plus one, address (difference to the one before in its mapping), frame type, kind, number of lines, then of all lines: function, line (difference to the function's first), column |
//! | sets of labels | goroutine (1, then ids), number of labels, then keys and values |
//! | stacks | for each how many outermost frames are those of the stack before, the number of others, then those of all, from the outermost on |
//! | links | trace ids, span ids |
//! | samples | thread, stack, set of labels, link plus one, count, value (difference to count times the period), number of times (difference to count), form of their values, times, values |
//! | outcomes | number of rows (0, or one for each process), the outcomes that occur, then the counts of each |
//! | losses | causes, counts |
//!
//! Texts and other indices that mostly count up are written as 0 for the next that was not mentioned yet, and as the index
//! plus one for others ([`columns::Next`]). Outcomes, causes, frame types and kinds are meant by their names: a later
//! version may add some. Of those that this version does not know, counts are left out, a frame type is `native`
//! and a location is unnamed.
//!
//! # Bounds
//! A body is at most [`MAX_RAW`] bytes and has at most [`MAX_FRAMES`] frames in all stacks, nothing in it is counted above [`MAX_COUNT`], and
//! what is decoded takes at most [`MAX_MEMORY`] bytes in all, copies of shared texts among them ([`size`]). A profile that is larger is not
//! encoded, so whatever is encoded can be decoded.

mod columns;
mod read;
mod size;
#[cfg(test)]
mod tests;
mod write;

use profiler_common::unwind::Outcome;

use super::leb128::{Reader, number};
use super::seal::{seal, unseal};
use crate::profile::Profile;
use size::{MAX_MEMORY, Room};

/// The first byte.
const VERSION: u8 = 5;
/// Most bytes of a body: several times what a window takes that is full in every respect.
const MAX_RAW: u64 = 256 << 20;
/// Most frames of all stacks together: more than a window may have.
const MAX_FRAMES: usize = 16 << 20;
/// Most that one sample, one outcome of a process or one loss counts: so many that sums of any profiles stay a `u64`.
const MAX_COUNT: u64 = 1 << 40;
/// Kinds of locations; a stack's end has the name of its outcome.
const NAMED: &str = "named";
const UNNAMED: &str = "unnamed";
/// Fast, and within a tenth of the best.
const ZSTD_LEVEL: i32 = 3;

/// The profile as bytes; `None` where it is larger than what is decoded.
#[must_use]
pub fn encode(profile: &Profile) -> Option<Vec<u8>> {
    if !is_within_bounds(profile) {
        return None;
    }
    let body = write::body(profile);
    if body.len() as u64 > MAX_RAW {
        return None;
    }
    size::take(&mut Room::new(MAX_MEMORY), profile, &body)?;
    let mut out = vec![VERSION];
    number(&mut out, body.len() as u64);
    out.extend(zstd::bulk::compress(&body, ZSTD_LEVEL).ok()?);
    seal(&mut out);
    Some(out)
}

fn is_within_bounds(profile: &Profile) -> bool {
    let samples = profile.samples.iter().map(|sample| sample.count);
    let losses = profile.losses.named().map(|(_, count)| count);
    let outcomes = profile.outcomes.iter();
    let outcomes = outcomes.flat_map(|counts| Outcome::ALL.map(|outcome| counts.of(outcome)));
    profile.stacks.frame_count() <= MAX_FRAMES
        && samples
            .chain(losses)
            .chain(outcomes)
            .all(|count| count <= MAX_COUNT)
}

/// Are these bytes meant to be an encoded profile? They may be damaged.
#[must_use]
pub fn is_encoded(bytes: &[u8]) -> bool {
    bytes.first() == Some(&VERSION)
}

/// The profile that `bytes` hold; `None` where they are damaged, or something else.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Profile> {
    let mut sealed = Reader(unseal(bytes)?);
    if sealed.byte()? != VERSION {
        return None;
    }
    let length = usize::try_from(sealed.count(MAX_RAW)?).ok()?;
    let body = zstd::bulk::decompress(sealed.0, length).ok()?;
    (body.len() == length).then(|| decode_body(&body)).flatten()
}

/// The profile that a body holds, before compression; `None` where it is malformed. Untrusted, but for its length.
#[must_use]
pub fn decode_body(body: &[u8]) -> Option<Profile> {
    read::profile(body, Room::new(MAX_MEMORY))
}

/// What each of so many occurrences stands for that have a sample's value together, where it is the same for all; 0 where
/// there are none.
fn share(value: u64, occurrences: usize) -> Option<u64> {
    match occurrences as u64 {
        0 => Some(0),
        occurrences => value
            .is_multiple_of(occurrences)
            .then_some(value / occurrences),
    }
}

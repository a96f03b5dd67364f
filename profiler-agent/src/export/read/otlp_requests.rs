//! OTLP as JSON to one profile: of one request, or of several in one file, as the file exporter of the collector writes them.

use serde::de::{Error as _, IgnoredAny};
use serde_json::StreamDeserializer;
use serde_json::de::SliceRead;

use super::otlp_json::{self, Room};
use super::{Budget, ReadError, ReadLimits};
use crate::export::otlp;
use crate::profile::{Merger, Profile};

/// Reads all requests. Those of the first kind of time in it, of CPU time, off-CPU time and wall-clock time, become one
/// profile; the notes say what is left out.
///
/// # Errors
/// [`ReadError`]; also where no request has a profile of time.
pub(super) fn decode(
    bytes: &[u8],
    limits: &ReadLimits,
) -> Result<(Profile, Vec<String>), ReadError> {
    let mut requests = Requests::new(bytes, limits)?;
    let mut all = All::new(limits);
    let mut not_time = None;
    for request in &mut requests {
        match otlp::decode(&request?, limits) {
            Ok(profile) => all.add(profile)?,
            Err(error @ ReadError::NotTime { .. }) => not_time = not_time.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let mut notes = Vec::new();
    if all.left_out > 0 {
        notes.push(format!(
            "{} of its requests measure another kind of time and are not shown",
            all.left_out
        ));
    }
    if requests.is_cut() {
        notes.push("its last request is cut short and is not shown".to_owned());
    }
    match (all.finish(), not_time) {
        (Some(profile), _) => Ok((profile, notes)),
        (None, Some(error)) => Err(error),
        (None, None) => Err(ReadError::malformed("request")),
    }
}

/// The profiles of the requests, added up. Each is within the limits; so are all that are added to the first together.
struct All {
    first: Option<Profile>,
    merger: Option<Merger>,
    entries: Budget,
    elements: Budget,
    /// Requests that are in it, and those of another kind of time.
    added: usize,
    left_out: usize,
}

impl All {
    const fn new(limits: &ReadLimits) -> Self {
        Self {
            first: None,
            merger: None,
            entries: Budget::new("entries of all requests", limits.entries),
            elements: Budget::new(
                "timestamps, frames and lines of all requests",
                limits.elements,
            ),
            added: 0,
            left_out: 0,
        }
    }

    fn add(&mut self, profile: Profile) -> Result<(), ReadError> {
        let Some(first) = &self.first else {
            self.first = Some(profile);
            self.added = 1;
            return Ok(());
        };
        if profile.samples.is_empty() {
            return Ok(());
        }
        let (kind, wanted) = (profile.kind.kind, first.kind.kind);
        if first.samples.is_empty() || kind < wanted {
            // What was there is of another kind, or nothing.
            self.left_out += if first.samples.is_empty() {
                0
            } else {
                self.added
            };
            (self.first, self.merger, self.added) = (Some(profile), None, 1);
            return Ok(());
        }
        if kind > wanted {
            self.left_out += 1;
            return Ok(());
        }
        charge(&mut self.entries, &mut self.elements, &profile)?;
        let merger = self.merger.get_or_insert_with(|| {
            let mut merger = Merger::default();
            merger.add(first, |_| true);
            merger
        });
        merger.add(&profile, |_| true);
        self.added += 1;
        Ok(())
    }

    fn finish(self) -> Option<Profile> {
        self.merger.map(Merger::finish).or(self.first)
    }
}

fn charge(entries: &mut Budget, elements: &mut Budget, profile: &Profile) -> Result<(), ReadError> {
    let Profile {
        functions,
        mappings,
        locations,
        stacks,
        samples,
        ..
    } = profile;
    let tables = functions.len() + mappings.len() + locations.len() + stacks.len();
    entries.take(tables + samples.len())?;
    let lines: usize = locations.iter().map(|location| location.lines.len()).sum();
    let times: usize = samples.iter().map(|sample| sample.occurrences.len()).sum();
    elements.take(stacks.frame_count() + lines + times)
}

/// The requests of a file as protobuf, one after the other: the file exporter of the collector writes one a line. JSON of
/// something else among them is left out.
struct Requests<'a> {
    bytes: &'a [u8],
    /// Finds where each ends.
    ends: StreamDeserializer<'a, SliceRead<'a>, IgnoredAny>,
    /// Lines before the one that comes next.
    lines: usize,
    room: Room,
    found: usize,
    /// Is the last one cut short, as where it is still being written?
    is_cut: bool,
    has_ended: bool,
}

impl<'a> Requests<'a> {
    /// # Errors
    /// [`ReadError::TooLarge`].
    fn new(bytes: &'a [u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        Budget::new("bytes", limits.bytes).take(bytes.len())?;
        Ok(Self {
            bytes,
            ends: serde_json::Deserializer::from_slice(bytes).into_iter(),
            lines: 0,
            room: Room::new(limits.bytes),
            found: 0,
            is_cut: false,
            has_ended: false,
        })
    }

    /// Was a last request left out, which is cut short? To be asked at the end.
    const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The next request; `None` for JSON of something else.
    fn request(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        otlp_json::request(bytes, &self.room).map_err(|error| match self.room.is_exceeded() {
            true => self.room.too_large(),
            false => further_down(error, self.lines).into(),
        })
    }

    fn end(&mut self) -> Option<Result<Vec<u8>, ReadError>> {
        self.has_ended = true;
        (self.found == 0).then_some(Err(ReadError::Unknown {
            hint: "it is JSON, but holds no OTLP profiles (`resourceProfiles`)",
        }))
    }
}

impl Iterator for Requests<'_> {
    type Item = Result<Vec<u8>, ReadError>;

    /// # Errors
    /// [`ReadError::Json`] with line and column; [`ReadError::Unknown`] where all of it is JSON of something else.
    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            let start = self.ends.byte_offset();
            match self.ends.next() {
                None => return self.end(),
                Some(Err(error)) if error.is_eof() && self.found > 0 => {
                    self.is_cut = true;
                    return self.end();
                }
                Some(Err(error)) => {
                    self.has_ended = true;
                    return Some(Err(error.into()));
                }
                Some(Ok(IgnoredAny)) => {}
            }
            let bytes = &self.bytes[start..self.ends.byte_offset()];
            let request = self.request(bytes);
            self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
            self.has_ended = request.is_err();
            if let Some(request) = request.transpose() {
                self.found += 1;
                return Some(request);
            }
        }
        None
    }
}

/// The error where so many lines are before what was read.
fn further_down(error: serde_json::Error, lines: usize) -> serde_json::Error {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) if lines > 0 => {
            let (line, column) = (lines + error.line(), error.column());
            // The reader's own form, which it reads back as the place.
            serde_json::Error::custom(format!("{message} at line {line} column {column}"))
        }
        _ => error,
    }
}

//! What a process publishes of itself (process context, OTEP 4719): attributes of its OpenTelemetry resource.
//!
//! A mapping with a name of its own holds a header of 32 bytes; native byte order:
//!
//! ```text
//!  0  "OTEL_CTX"
//!  8  version: 2 (u32)
//! 12  bytes of the payload (u32)
//! 16  when it was published: ns (u64); 0 while it is written
//! 24  address of the payload (u64)
//! ```
//!
//! The payload is a `ProcessContext` (protobuf): a resource and attributes of the process. It is what was
//! published if the header is the same before and after it was read. Pure: [`find`] looks through the lines of
//! /proc/PID/maps, [`read`] through memory that a closure reads.

use std::sync::Arc;

use prost::Message;

use crate::profile::{AttributeValue, ResourceAttribute, VirtualAddress};

/// The longest payload that is read.
pub const MAX_PAYLOAD: u32 = 64 << 10;
/// Attributes that are kept.
const MAX_ATTRIBUTES: usize = 128;
/// The longest key and the longest text that are kept.
const MAX_KEY: usize = 256;
const MAX_TEXT: usize = 4096;

const NAMES: [&[u8]; 3] = [
    b"[anon_shmem:OTEL_CTX]",
    b"[anon:OTEL_CTX]",
    b"/memfd:OTEL_CTX",
];
const SIGNATURE: &[u8; 8] = b"OTEL_CTX";
const VERSION: u32 = 2;

/// Why nothing was read of a mapping with the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpublished {
    /// It cannot be read, or does not hold what its name says.
    #[error("no process context")]
    Absent,
    /// It is being written.
    #[error("the process context is being written")]
    Updating,
    /// Its payload is too long.
    #[error("a process context of {0} bytes")]
    TooLong(u32),
    /// Its payload is malformed.
    #[error("a malformed process context")]
    Malformed,
}

/// When a context was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published(u64);

/// Where the context lies, by one line of /proc/PID/maps (without its newline).
#[must_use]
pub fn find(line: &[u8]) -> Option<VirtualAddress> {
    // The name is the rest of the line, behind five fields: most lines end in another letter.
    if !line.windows(SIGNATURE.len()).any(|part| part == SIGNATURE) {
        return None;
    }
    let mut rest = line;
    for _ in 0..5 {
        let end = rest.iter().position(|byte| *byte == b' ')?;
        rest = rest[end..].trim_ascii_start();
    }
    NAMES.iter().find(|name| rest.starts_with(name))?;
    let start = line.split(|byte| *byte == b'-').next()?;
    let start = std::str::from_utf8(start).ok()?;
    u64::from_str_radix(start, 16).ok().map(VirtualAddress)
}

/// Reads the attributes of the context at `address` where it is not the one that was read before; `last` is the one that was
/// read last from then on. One that is malformed or too long counts as read: it is refused once, not at each look.
///
/// # Errors
/// See [`Unpublished`].
pub fn read_new(
    address: VirtualAddress,
    last: &mut Option<Published>,
    memory: impl Fn(u64, &mut [u8]) -> bool,
) -> Result<Option<Arc<[ResourceAttribute]>>, Unpublished> {
    let now = Published(Header::read(address, &memory)?.published);
    if *last == Some(now) {
        return Ok(None);
    }
    match read(address, memory) {
        Ok((published, attributes)) => {
            *last = Some(published);
            Ok(Some(attributes))
        }
        Err(reason) => {
            if matches!(reason, Unpublished::TooLong(_) | Unpublished::Malformed) {
                *last = Some(now);
            }
            Err(reason)
        }
    }
}

/// Reads the attributes of the context at `address`, sorted by key.
///
/// # Errors
/// See [`Unpublished`].
pub fn read(
    address: VirtualAddress,
    memory: impl Fn(u64, &mut [u8]) -> bool,
) -> Result<(Published, Arc<[ResourceAttribute]>), Unpublished> {
    let header = Header::read(address, &memory)?;
    if header.length > MAX_PAYLOAD {
        return Err(Unpublished::TooLong(header.length));
    }
    let mut payload = vec![0; header.length as usize];
    if !memory(header.payload, &mut payload) {
        return Err(Unpublished::Absent);
    }
    if Header::read(address, &memory)? != header {
        return Err(Unpublished::Updating);
    }
    let attributes = decode(&payload).ok_or(Unpublished::Malformed)?;
    Ok((Published(header.published), attributes))
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    length: u32,
    published: u64,
    payload: u64,
}

impl Header {
    fn read(
        address: VirtualAddress,
        memory: &impl Fn(u64, &mut [u8]) -> bool,
    ) -> Result<Self, Unpublished> {
        let mut bytes = [0; 32];
        if !memory(address.0, &mut bytes) || bytes[..8] != *SIGNATURE {
            return Err(Unpublished::Absent);
        }
        let long = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let word = |at: usize| bytes[at..].first_chunk().copied().map(u64::from_ne_bytes);
        let (Some(published), Some(payload)) = (word(16), word(24)) else {
            return Err(Unpublished::Absent);
        };
        if long(8) != VERSION {
            return Err(Unpublished::Absent);
        }
        if published == 0 {
            return Err(Unpublished::Updating);
        }
        Ok(Self {
            length: long(12),
            published,
            payload,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct ProcessContext {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

/// Values of the kinds that are kept; lists, bytes and fractions are left out.
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(bool, optional, tag = "2")]
    truth: Option<bool>,
    #[prost(int64, optional, tag = "3")]
    integer: Option<i64>,
}

/// The attributes of a payload's resource; `None` when it is malformed.
fn decode(payload: &[u8]) -> Option<Arc<[ResourceAttribute]>> {
    let context = ProcessContext::decode(payload).ok()?;
    let attributes = context.resource.unwrap_or_default().attributes;
    let mut kept: Vec<ResourceAttribute> = attributes
        .into_iter()
        .filter_map(attribute)
        .take(MAX_ATTRIBUTES)
        .collect();
    // Of two with one key the first one counts.
    kept.sort_by(|one, other| one.key.cmp(&other.key));
    kept.dedup_by(|next, first| next.key == first.key);
    Some(kept.into())
}

fn attribute(pair: KeyValue) -> Option<ResourceAttribute> {
    if pair.key.is_empty() || pair.key.len() > MAX_KEY {
        return None;
    }
    let value = pair.value?;
    let value = match (value.text, value.truth, value.integer) {
        (Some(text), ..) if text.len() <= MAX_TEXT => AttributeValue::Text(text.into()),
        (None, Some(truth), _) => AttributeValue::Truth(truth),
        (None, None, Some(integer)) => AttributeValue::Integer(integer),
        _ => return None,
    };
    Some(ResourceAttribute {
        key: pair.key.into(),
        value,
    })
}

#[cfg(test)]
mod tests;

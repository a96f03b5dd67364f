//! The protobuf wire format, one field at a time: a message of any number of parts is read without
//! holding them all.

use prost::Message;

use super::ReadError;

/// Longest message that is decoded at once, in bytes: its parts are in memory together, each up to 16
/// times as large as on the wire.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// A field's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum Value<'a> {
    /// A varint.
    Number(u64),
    /// Eight bytes, little endian.
    Fixed64(u64),
    /// Four bytes, little endian.
    Fixed32(u32),
    /// A string, bytes, message or packed list.
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
#[derive(Clone, Debug)]
pub(in crate::export) struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// Of the message `bytes`; `what` it is, for errors.
    pub(in crate::export) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    fn split(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(part)
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut self.rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.split(8)?.try_into().ok()?)),
            2 => {
                let length = varint(&mut self.rest)?;
                Value::Bytes(self.split(usize::try_from(length).ok()?)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.split(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(ReadError::malformed(self.what)))
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Calls `each` with the varints of a repeated field: one, or a packed list.
pub(in crate::export) fn numbers(
    value: Value<'_>,
    what: &'static str,
    mut each: impl FnMut(u64) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    match value {
        Value::Number(number) => each(number),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                each(varint(&mut packed).ok_or(ReadError::malformed(what))?)?;
            }
            Ok(())
        }
        _ => Err(ReadError::malformed(what)),
    }
}

/// The fixed64s of a repeated field: one, or a packed list.
pub(in crate::export) fn fixed64s(
    value: Value<'_>,
    what: &'static str,
    into: &mut Vec<u64>,
) -> Result<(), ReadError> {
    match value {
        Value::Fixed64(number) => into.push(number),
        Value::Bytes(packed) => {
            let (numbers, []) = packed.as_chunks() else {
                return Err(ReadError::malformed(what));
            };
            into.extend(numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        }
        _ => return Err(ReadError::malformed(what)),
    }
    Ok(())
}

/// A message that is small enough to be decoded at once.
pub(in crate::export) fn message<M: Message + Default>(
    value: Value<'_>,
    what: &'static str,
) -> Result<M, ReadError> {
    match value {
        Value::Bytes(bytes) if bytes.len() > MAX_MESSAGE_BYTES => Err(ReadError::TooLarge {
            what: "bytes in one message",
            limit: MAX_MESSAGE_BYTES,
        }),
        Value::Bytes(bytes) => M::decode(bytes).map_err(|_| ReadError::malformed(what)),
        _ => Err(ReadError::malformed(what)),
    }
}

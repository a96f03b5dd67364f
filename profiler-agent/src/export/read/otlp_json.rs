//! A request of OTLP as JSON to the same as protobuf: names of fields in lowerCamelCase, ids in hexadecimal,
//! 64-bit numbers as texts or numbers. Fields that the reader of the request does not need are left out.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use serde::de::{
    DeserializeSeed, Deserializer as _, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{ReadError, bytes_of};

/// How a field is written.
#[derive(Clone, Copy)]
enum Kind {
    /// A varint.
    Number,
    /// Eight bytes.
    Fixed64,
    /// Eight bytes of a floating-point number.
    Double,
    Text,
    /// Bytes in hexadecimal.
    Id,
    Message(&'static [Field]),
}

/// Name, number, kind.
type Field = (&'static str, u32, Kind);

use Kind::{Double, Fixed64, Id, Message, Number, Text};

const REQUEST: &[Field] = &[
    ("resourceProfiles", 1, Message(RESOURCE_PROFILES)),
    ("dictionary", 2, Message(DICTIONARY)),
];
const RESOURCE_PROFILES: &[Field] = &[
    ("resource", 1, Message(RESOURCE)),
    ("scopeProfiles", 2, Message(SCOPE_PROFILES)),
];
const RESOURCE: &[Field] = &[("attributes", 1, Message(KEY_VALUE))];
const SCOPE_PROFILES: &[Field] = &[("profiles", 2, Message(PROFILE))];
const PROFILE: &[Field] = &[
    ("sampleType", 1, Message(VALUE_TYPE)),
    ("samples", 2, Message(SAMPLE)),
    ("timeUnixNano", 3, Fixed64),
    ("durationNano", 4, Number),
    ("periodType", 5, Message(VALUE_TYPE)),
    ("period", 6, Number),
    ("attributeIndices", 11, Number),
];
const VALUE_TYPE: &[Field] = &[("typeStrindex", 1, Number), ("unitStrindex", 2, Number)];
const SAMPLE: &[Field] = &[
    ("stackIndex", 1, Number),
    ("attributeIndices", 2, Number),
    ("linkIndex", 3, Number),
    ("values", 4, Number),
    ("timestampsUnixNano", 5, Fixed64),
];
const DICTIONARY: &[Field] = &[
    ("mappingTable", 1, Message(MAPPING)),
    ("locationTable", 2, Message(LOCATION)),
    ("functionTable", 3, Message(FUNCTION)),
    ("linkTable", 4, Message(LINK)),
    ("stringTable", 5, Text),
    ("attributeTable", 6, Message(KEY_VALUE_AND_UNIT)),
    ("stackTable", 7, Message(STACK)),
];
const MAPPING: &[Field] = &[
    ("memoryStart", 1, Number),
    ("memoryLimit", 2, Number),
    ("fileOffset", 3, Number),
    ("filenameStrindex", 4, Number),
    ("attributeIndices", 5, Number),
];
const LOCATION: &[Field] = &[
    ("mappingIndex", 1, Number),
    ("address", 2, Number),
    ("lines", 3, Message(LINE)),
    ("attributeIndices", 4, Number),
];
const LINE: &[Field] = &[
    ("functionIndex", 1, Number),
    ("line", 2, Number),
    ("column", 3, Number),
];
const FUNCTION: &[Field] = &[
    ("nameStrindex", 1, Number),
    ("systemNameStrindex", 2, Number),
    ("filenameStrindex", 3, Number),
    ("startLine", 4, Number),
];
const LINK: &[Field] = &[("traceId", 1, Id), ("spanId", 2, Id)];
const STACK: &[Field] = &[("locationIndices", 1, Number)];
const KEY_VALUE_AND_UNIT: &[Field] = &[
    ("keyStrindex", 1, Number),
    ("value", 2, Message(ANY_VALUE)),
    ("unitStrindex", 3, Number),
];
const KEY_VALUE: &[Field] = &[("key", 1, Text), ("value", 2, Message(ANY_VALUE))];
const ANY_VALUE: &[Field] = &[
    ("stringValue", 1, Text),
    ("boolValue", 2, Number),
    ("intValue", 3, Number),
    ("doubleValue", 4, Double),
];

/// A request as protobuf, within the room that there is; `None` for JSON of something else.
///
/// # Errors
/// It is no object, or not one of OTLP, with line and column; or there is no room for it.
pub(super) fn request(bytes: &[u8], room: &Room) -> Result<Option<Vec<u8>>, serde_json::Error> {
    let mut request = Vec::new();
    let fields = Fields {
        fields: REQUEST,
        into: &mut request,
        room,
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let known = (&mut reader).deserialize_map(fields)?;
    Ok((known > 0).then_some(request))
}

/// Bytes that may still be written: a number of two digits can become eleven bytes.
pub(super) struct Room {
    limit: usize,
    /// `None` where more was to be written.
    left: Cell<Option<usize>>,
}

impl Room {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            left: Cell::new(Some(limit)),
        }
    }
    fn take<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().and_then(|left| left.checked_sub(bytes));
        self.left.set(left);
        left.map(|_| ()).ok_or_else(|| E::custom("it is too large"))
    }
    pub(super) fn is_exceeded(&self) -> bool {
        self.left.get().is_none()
    }
    pub(super) const fn too_large(&self) -> ReadError {
        ReadError::TooLarge {
            what: "bytes as protobuf",
            limit: self.limit,
        }
    }
}

/// Writes the fields of a message; gives how many of them are known.
struct Fields<'a> {
    fields: &'static [Field],
    into: &'a mut Vec<u8>,
    room: &'a Room,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut known = 0;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match self.fields.iter().find(|(name, ..)| *name == key) {
                Some((_, number, kind)) => {
                    known += 1;
                    map.next_value_seed(One {
                        number: *number,
                        kind: *kind,
                        into: self.into,
                        room: self.room,
                    })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(known)
    }
}

/// Writes a field: once, or as often as a list has elements.
struct One<'a> {
    number: u32,
    kind: Kind,
    into: &'a mut Vec<u8>,
    room: &'a Room,
}

impl One<'_> {
    fn number<E: Error>(self, number: u64) -> Result<(), E> {
        match self.kind {
            Number => {
                self.room
                    .take(key_len(self.number) + encoded_len_varint(number))?;
                encode_key(self.number, WireType::Varint, self.into);
                encode_varint(number, self.into);
            }
            Fixed64 => self.eight(number)?,
            Double => self.eight((number as f64).to_bits())?,
            Text | Id | Message(_) => return Err(E::custom("a number is not expected here")),
        }
        Ok(())
    }

    fn eight<E: Error>(self, number: u64) -> Result<(), E> {
        self.room.take(key_len(self.number) + 8)?;
        encode_key(self.number, WireType::SixtyFourBit, self.into);
        self.into.extend(number.to_le_bytes());
        Ok(())
    }

    fn bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.room.take(bytes.len())?;
        self.message(bytes)
    }

    /// Writes a message, whose bytes were taken when they were written.
    fn message<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        let length = bytes.len() as u64;
        self.room
            .take(key_len(self.number) + encoded_len_varint(length))?;
        encode_key(self.number, WireType::LengthDelimited, self.into);
        encode_varint(length, self.into);
        self.into.extend(bytes);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the value of a field of OTLP")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.number(u64::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match self.kind {
            Double => self.eight((value as f64).to_bits()),
            Fixed64 if value < 0 => Err(E::custom("a number that is not negative is expected")),
            _ => self.number(value.cast_unsigned()),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Double => self.eight(value.to_bits()),
            _ => Err(E::custom("a whole number is expected")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.kind {
            Text => self.bytes(text.as_bytes()),
            Id => {
                let id = bytes_of(text).ok_or_else(|| E::custom("an id is hexadecimal"))?;
                self.bytes(&id)
            }
            Number | Fixed64 => match (text.parse(), text.parse()) {
                (Ok(number), _) => self.number(number),
                (_, Ok(number)) => self.visit_i64(number),
                _ => Err(E::custom("a whole number is expected")),
            },
            // `NaN` and `Infinity` among them.
            Double => match text.parse::<f64>() {
                Ok(number) => self.eight(number.to_bits()),
                Err(_) => Err(E::custom("a number is expected")),
            },
            Message(_) => Err(E::custom("a text is not expected here")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            let element = One {
                number: self.number,
                kind: self.kind,
                into: self.into,
                room: self.room,
            };
            if list.next_element_seed(element)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Message(fields) = self.kind else {
            return Err(A::Error::custom("an object is not expected here"));
        };
        let mut message = Vec::new();
        Fields {
            fields,
            into: &mut message,
            room: self.room,
        }
        .visit_map(map)?;
        self.message(&message)
    }
}

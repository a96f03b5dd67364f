//! A request's dictionary, as read.

use std::sync::Arc;

use hashbrown::HashMap;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::profiles::v1development as proto;

use super::facts::Facts;
use super::{BUILD_ID_GNU, BUILD_ID_HTLHASH, FRAME_TYPE};
use crate::export::read::{
    Budget, Fields, LongTexts, ReadError, ReadLimits, Value, bytes_of, frame_type_of,
    location_kind_of, made_up_name, message, numbers,
};
use crate::profile::{
    BuildId, FrameType, Function, HtlHash, LineEntry, Link, Location, LocationIndex, LocationKind,
    Mapping, MappingIndex, ProfileBuilder, StackIndex,
};

/// The tables; index 0 means none in each.
pub(super) struct Tables {
    mappings: Vec<proto::Mapping>,
    locations: Vec<proto::Location>,
    functions: Vec<proto::Function>,
    links: Vec<proto::Link>,
    strings: Vec<Arc<str>>,
    attributes: Vec<proto::KeyValueAndUnit>,
    stacks: Vec<Vec<i32>>,
    long: LongTexts,
}

fn entry<'a, T>(table: &'a [T], index: i32, what: &'static str) -> Result<&'a T, ReadError> {
    let position = usize::try_from(index).ok();
    let found = position.and_then(|position| table.get(position));
    found.ok_or(ReadError::dangling(what, index))
}

/// The entry with this index; `None` for 0.
fn some_entry<'a, T>(
    table: &'a [T],
    index: i32,
    what: &'static str,
) -> Result<Option<&'a T>, ReadError> {
    match index {
        0 => Ok(None),
        index => entry(table, index, what).map(Some),
    }
}

impl Tables {
    /// Of the request `bytes`.
    pub(super) fn read(bytes: &[u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        let mut tables = Self {
            mappings: Vec::new(),
            locations: Vec::new(),
            functions: Vec::new(),
            links: Vec::new(),
            strings: Vec::new(),
            attributes: Vec::new(),
            stacks: Vec::new(),
            long: LongTexts::new(limits),
        };
        let mut entries = Budget::new("entries", limits.entries);
        let mut elements = Budget::new("lines and frames", limits.elements);
        for field in Fields::new(bytes, "request") {
            match field? {
                (2, Value::Bytes(dictionary)) => {
                    for field in Fields::new(dictionary, "dictionary") {
                        let (number, value) = field?;
                        entries.take(1)?;
                        tables.add(number, value, &mut elements)?;
                    }
                }
                (2, _) => return Err(ReadError::malformed("dictionary")),
                _ => {}
            }
        }
        Ok(tables)
    }

    fn add(
        &mut self,
        number: u32,
        value: Value<'_>,
        elements: &mut Budget,
    ) -> Result<(), ReadError> {
        match (number, value) {
            (1, _) => self.mappings.push(message(value, "mapping")?),
            (2, _) => {
                let location: proto::Location = message(value, "location")?;
                elements.take(location.lines.len() + location.attribute_indices.len())?;
                self.locations.push(location);
            }
            (3, _) => self.functions.push(message(value, "function")?),
            (4, _) => self.links.push(message(value, "link")?),
            (5, Value::Bytes(text)) => self.strings.push(String::from_utf8_lossy(text).into()),
            (6, _) => self.attributes.push(message(value, "attribute")?),
            (7, Value::Bytes(stack)) => {
                let mut locations = Vec::new();
                for field in Fields::new(stack, "stack") {
                    if let (1, value) = field? {
                        numbers(value, "stack", |index| {
                            elements.take(1)?;
                            locations.push(index as i32);
                            Ok(())
                        })?;
                    }
                }
                self.stacks.push(locations);
            }
            (5 | 7, _) => return Err(ReadError::malformed("dictionary")),
            _ => {}
        }
        Ok(())
    }

    /// Index 0 is "" even where the table is missing.
    pub(super) fn string(&self, index: i32) -> Result<Arc<str>, ReadError> {
        match some_entry(&self.strings, index, "string")? {
            Some(text) => {
                self.long.used(text.as_bytes())?;
                Ok(Arc::clone(text))
            }
            None => Ok("".into()),
        }
    }

    /// The same; `None` where there is no such string.
    fn any_string(&self, index: i32) -> Result<Option<Arc<str>>, ReadError> {
        match self.string(index) {
            Err(ReadError::Dangling { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Counts what is copied of facts that become a process and labels.
    pub(super) fn copied(&self, facts: &Facts) -> Result<(), ReadError> {
        facts
            .texts()
            .try_for_each(|text| self.long.used(text.as_bytes()))
    }

    /// Adds what a resource's attribute says; keys and values may be indices.
    pub(super) fn apply(&self, attribute: &KeyValue, facts: &mut Facts) -> Result<(), ReadError> {
        if attribute.key_strindex == 0 {
            return self.apply_value(&attribute.key, attribute.value.as_ref(), facts);
        }
        match self.any_string(attribute.key_strindex)? {
            Some(key) => self.apply_value(&key, attribute.value.as_ref(), facts),
            None => Ok(()),
        }
    }

    /// Adds what an entry of the attribute table says.
    pub(super) fn apply_indexed(&self, index: i32, facts: &mut Facts) -> Result<(), ReadError> {
        if let Some(attribute) = some_entry(&self.attributes, index, "attribute")? {
            let key = self.string(attribute.key_strindex)?;
            self.apply_value(&key, attribute.value.as_ref(), facts)?;
        }
        Ok(())
    }

    fn apply_value(
        &self,
        key: &str,
        value: Option<&AnyValue>,
        facts: &mut Facts,
    ) -> Result<(), ReadError> {
        match value.and_then(|value| value.value.as_ref()) {
            Some(AnyValueKind::StringValue(text)) => {
                self.long.used(text.as_bytes())?;
                facts.text(key, text);
            }
            Some(AnyValueKind::StringValueStrindex(index)) => {
                if let Some(text) = self.any_string(*index)? {
                    facts.text(key, &text);
                }
            }
            Some(AnyValueKind::IntValue(number)) => facts.number(key, *number),
            _ => {}
        }
        Ok(())
    }

    /// The text of the attribute with this key.
    fn text_of(&self, indices: &[i32], key: &str) -> Result<Option<Arc<str>>, ReadError> {
        for index in indices {
            let Some(attribute) = some_entry(&self.attributes, *index, "attribute")? else {
                continue;
            };
            if *self.string(attribute.key_strindex)? == *key {
                return match attribute
                    .value
                    .as_ref()
                    .and_then(|value| value.value.as_ref())
                {
                    Some(AnyValueKind::StringValue(text)) => {
                        self.long.used(text.as_bytes())?;
                        Ok(Some(text.as_str().into()))
                    }
                    Some(AnyValueKind::StringValueStrindex(index)) => self.string(*index).map(Some),
                    _ => Ok(None),
                };
            }
        }
        Ok(None)
    }

    /// A link; none where its ids are not as long as ids are.
    pub(super) fn link(&self, index: i32) -> Result<Option<Link>, ReadError> {
        let link = some_entry(&self.links, index, "link")?;
        Ok(link.and_then(|link| {
            Some(Link {
                trace_id: link.trace_id.as_slice().try_into().ok()?,
                span_id: link.span_id.as_slice().try_into().ok()?,
            })
        }))
    }

    /// Adds a stack to `builder`, and its locations where they are not `known`.
    pub(super) fn stack(
        &self,
        index: i32,
        builder: &mut ProfileBuilder,
        known: &mut HashMap<i32, LocationIndex>,
        elements: &mut Budget,
    ) -> Result<StackIndex, ReadError> {
        let Some(stack) = some_entry(&self.stacks, index, "stack")? else {
            return Ok(builder.stack(&[]));
        };
        let mut locations = Vec::with_capacity(stack.len());
        for index in stack {
            elements.take(1)?;
            locations.push(match known.get(index) {
                Some(known) => *known,
                None => {
                    let location = entry(&self.locations, *index, "location")?;
                    let location = self.location(location, builder)?;
                    let new = builder.location(location);
                    known.insert(*index, new);
                    new
                }
            });
        }
        Ok(builder.stack(&locations))
    }

    fn location(
        &self,
        location: &proto::Location,
        builder: &mut ProfileBuilder,
    ) -> Result<Location, ReadError> {
        let mapping = some_entry(&self.mappings, location.mapping_index, "mapping")?;
        let file = match mapping {
            Some(mapping) => Some(self.string(mapping.filename_strindex)?),
            None => None,
        };
        let file = file.as_deref();
        let mut lines = Vec::with_capacity(location.lines.len().max(1));
        let mut source: Arc<str> = "".into();
        let mut kind = LocationKind::Unnamed;
        for line in &location.lines {
            let function = entry(&self.functions, line.function_index, "function")?;
            let name = self.string(function.name_strindex)?;
            source = self.string(function.filename_strindex)?;
            self.long.used(file.unwrap_or("").as_bytes())?;
            kind = location_kind_of(&name, file);
            lines.push(LineEntry {
                function: builder.function(Function {
                    name,
                    system_name: self.string(function.system_name_strindex)?,
                    file: Arc::clone(&source),
                    start_line: u32::try_from(function.start_line).unwrap_or(0),
                }),
                line: u32::try_from(line.line).unwrap_or(0),
                column: u32::try_from(line.column).unwrap_or(0),
            });
        }
        if lines.is_empty() {
            let name: Arc<str> = made_up_name(file, location.address).into();
            lines.push(LineEntry {
                function: builder.function(Function {
                    system_name: Arc::clone(&name),
                    name,
                    file: "".into(),
                    start_line: 0,
                }),
                line: 0,
                column: 0,
            });
        }
        let frame_type = self.text_of(&location.attribute_indices, FRAME_TYPE)?;
        let frame_type = frame_type.and_then(|name| FrameType::from_name(&name));
        Ok(Location {
            mapping: match mapping {
                Some(mapping) => Some(self.mapping(mapping, builder)?),
                None => None,
            },
            address: location.address,
            lines: lines.into(),
            frame_type: frame_type.unwrap_or_else(|| frame_type_of(file, &source)),
            kind,
        })
    }

    fn mapping(
        &self,
        mapping: &proto::Mapping,
        builder: &mut ProfileBuilder,
    ) -> Result<MappingIndex, ReadError> {
        let bytes = |key| -> Result<Option<Vec<u8>>, ReadError> {
            let text = self.text_of(&mapping.attribute_indices, key)?;
            Ok(text.and_then(|text| bytes_of(&text)))
        };
        let hash = bytes(BUILD_ID_HTLHASH)?.and_then(|bytes| bytes.try_into().ok());
        Ok(builder.mapping(Mapping {
            file: self.string(mapping.filename_strindex)?,
            memory_start: mapping.memory_start,
            memory_limit: mapping.memory_limit,
            file_offset: mapping.file_offset,
            build_id: bytes(BUILD_ID_GNU)?.and_then(|bytes| BuildId::new(&bytes)),
            htl_hash: hash.map(HtlHash),
        }))
    }
}

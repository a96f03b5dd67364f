//! The tables of a request: each entry once, found by content, entry 0 the zero value.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::profiles::v1development as proto;

use super::{BUILD_ID_GNU, BUILD_ID_HTLHASH, FRAME_TYPE};
use crate::export::read::made_up_name;
use crate::profile::distinct::Distinct;
use crate::profile::{Link, Location, LocationIndex, Profile, StackIndex};

/// What `proto::Location` holds, comparable.
#[derive(Default, PartialEq, Eq, Hash)]
struct LocationEntry {
    mapping_index: i32,
    address: u64,
    lines: Vec<proto::Line>,
    attribute_indices: Vec<i32>,
}

/// What `proto::KeyValueAndUnit` holds, comparable.
#[derive(PartialEq, Eq, Hash)]
enum Attribute {
    None,
    Text(i32, Box<str>),
    Number(i32, i64),
}

/// The tables, while a request is built from parts of `profile`.
pub(super) struct Dictionary<'a> {
    profile: &'a Profile,
    strings: Distinct<Box<str>>,
    attributes: Distinct<Attribute>,
    functions: Distinct<proto::Function>,
    mappings: Distinct<proto::Mapping>,
    locations: Distinct<LocationEntry>,
    stacks: Distinct<proto::Stack>,
    links: Distinct<proto::Link>,
    /// Entry of each of the profile's own, once it is there.
    known_functions: Vec<Option<i32>>,
    known_mappings: Vec<Option<i32>>,
    known_locations: Vec<Option<i32>>,
    known_stacks: Vec<Option<i32>>,
}

impl<'a> Dictionary<'a> {
    pub(super) fn new(profile: &'a Profile) -> Self {
        let mut new = Self {
            profile,
            strings: Distinct::default(),
            attributes: Distinct::default(),
            functions: Distinct::default(),
            mappings: Distinct::default(),
            locations: Distinct::default(),
            stacks: Distinct::default(),
            links: Distinct::default(),
            known_functions: vec![None; profile.functions.len()],
            known_mappings: vec![None; profile.mappings.len()],
            known_locations: vec![None; profile.locations.len()],
            known_stacks: vec![None; profile.stacks.len()],
        };
        new.strings.intern_str("");
        new.attributes.intern(Attribute::None);
        new.functions.intern(proto::Function::default());
        new.mappings.intern(proto::Mapping::default());
        new.locations.intern(LocationEntry::default());
        new.stacks.intern(proto::Stack::default());
        new.links.intern(proto::Link::default());
        new
    }

    pub(super) fn string(&mut self, text: &str) -> i32 {
        self.strings.intern_str(text) as i32
    }

    pub(super) fn text_attribute(&mut self, key: &str, value: &str) -> i32 {
        let key = self.string(key);
        self.attributes.intern(Attribute::Text(key, value.into())) as i32
    }

    pub(super) fn number_attribute(&mut self, key: &str, value: i64) -> i32 {
        let key = self.string(key);
        self.attributes.intern(Attribute::Number(key, value)) as i32
    }

    pub(super) fn link(&mut self, link: Option<&Link>) -> i32 {
        let Some(link) = link else { return 0 };
        self.links.intern(proto::Link {
            trace_id: link.trace_id.to_vec(),
            span_id: link.span_id.to_vec(),
        }) as i32
    }

    pub(super) fn stack(&mut self, index: StackIndex) -> i32 {
        if let Some(known) = self.known_stacks[index.0 as usize] {
            return known;
        }
        let profile = self.profile;
        let locations = profile.stacks.get(index).iter();
        let location_indices = locations.map(|index| self.location(*index)).collect();
        let new = self.stacks.intern(proto::Stack { location_indices }) as i32;
        self.known_stacks[index.0 as usize] = Some(new);
        new
    }

    pub(super) fn location(&mut self, index: LocationIndex) -> i32 {
        if let Some(known) = self.known_locations[index.0 as usize] {
            return known;
        }
        let location = &self.profile.locations[index.0 as usize];
        let entry = self.location_entry(location);
        let new = self.locations.intern(entry) as i32;
        self.known_locations[index.0 as usize] = Some(new);
        new
    }

    fn location_entry(&mut self, location: &Location) -> LocationEntry {
        let mapping_index = location
            .mapping
            .map_or(0, |index| self.mapping(index.0 as usize));
        let lines = location.lines.iter().map(|line| proto::Line {
            function_index: self.function(line.function.0 as usize),
            line: i64::from(line.line),
            column: i64::from(line.column),
        });
        let mut lines: Vec<_> = lines.collect();
        if lines.is_empty() {
            lines.push(self.made_up_line(location));
        }
        LocationEntry {
            mapping_index,
            address: location.address,
            lines,
            attribute_indices: vec![self.text_attribute(FRAME_TYPE, location.frame_type.name())],
        }
    }

    /// Receivers leave a location without lines out of their flame graphs.
    fn made_up_line(&mut self, location: &Location) -> proto::Line {
        let mapping = location.mapping.map(|index| index.0 as usize);
        let file = mapping.map(|index| &*self.profile.mappings[index].file);
        let name = self.string(&made_up_name(file, location.address));
        proto::Line {
            function_index: self.functions.intern(proto::Function {
                name_strindex: name,
                system_name_strindex: name,
                ..Default::default()
            }) as i32,
            ..Default::default()
        }
    }

    fn mapping(&mut self, index: usize) -> i32 {
        if let Some(known) = self.known_mappings[index] {
            return known;
        }
        let mapping = &self.profile.mappings[index];
        let mut attribute_indices = Vec::new();
        if let Some(id) = &mapping.build_id {
            attribute_indices.push(self.text_attribute(BUILD_ID_GNU, &id.to_string()));
        }
        if let Some(hash) = &mapping.htl_hash {
            attribute_indices.push(self.text_attribute(BUILD_ID_HTLHASH, &hash.to_string()));
        }
        let entry = proto::Mapping {
            memory_start: mapping.memory_start,
            memory_limit: mapping.memory_limit,
            file_offset: mapping.file_offset,
            filename_strindex: self.string(&mapping.file),
            attribute_indices,
        };
        let new = self.mappings.intern(entry) as i32;
        self.known_mappings[index] = Some(new);
        new
    }

    fn function(&mut self, index: usize) -> i32 {
        if let Some(known) = self.known_functions[index] {
            return known;
        }
        let function = &self.profile.functions[index];
        // Receivers drop a frame without a name: then its callers seem to call its callees.
        let name = match &*function.name {
            "" => "[unknown]",
            name => name,
        };
        let entry = proto::Function {
            name_strindex: self.string(name),
            system_name_strindex: self.string(&function.system_name),
            filename_strindex: self.string(&function.file),
            start_line: i64::from(function.start_line),
        };
        let new = self.functions.intern(entry) as i32;
        self.known_functions[index] = Some(new);
        new
    }

    pub(super) fn finish(self) -> proto::ProfilesDictionary {
        let attribute = |attribute| {
            let (key_strindex, value) = match attribute {
                Attribute::None => return proto::KeyValueAndUnit::default(),
                Attribute::Text(key, text) => (key, Value::StringValue(text.into())),
                Attribute::Number(key, number) => (key, Value::IntValue(number)),
            };
            proto::KeyValueAndUnit {
                key_strindex,
                value: Some(AnyValue { value: Some(value) }),
                unit_strindex: 0,
            }
        };
        let location = |entry: LocationEntry| proto::Location {
            mapping_index: entry.mapping_index,
            address: entry.address,
            lines: entry.lines,
            attribute_indices: entry.attribute_indices,
        };
        let strings = self.strings.into_values().into_iter();
        let attributes = self.attributes.into_values().into_iter();
        let locations = self.locations.into_values().into_iter();
        proto::ProfilesDictionary {
            mapping_table: self.mappings.into_values(),
            location_table: locations.map(location).collect(),
            function_table: self.functions.into_values(),
            link_table: self.links.into_values(),
            string_table: strings.map(String::from).collect(),
            attribute_table: attributes.map(attribute).collect(),
            stack_table: self.stacks.into_values(),
        }
    }
}

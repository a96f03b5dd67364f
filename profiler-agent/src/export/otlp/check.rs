//! The observable rules of the official checker, and those of the data model that it leaves out; the suites hold
//! what the agent sends against them too.

use std::collections::HashSet;
use std::fmt::Debug;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::profiles::v1development::{Profile, ProfilesDictionary};

/// Panics with what is wrong.
pub fn check(request: &ExportProfilesServiceRequest) {
    let dictionary = request.dictionary.as_ref().expect("a dictionary");
    let mut references = References::new(dictionary);
    for resource_profiles in &request.resource_profiles {
        let resource = resource_profiles.resource.as_ref().expect("a resource");
        let mut keys = HashSet::new();
        for attribute in &resource.attributes {
            assert_eq!(attribute.key_strindex, 0, "keys are spelled out");
            assert!(!attribute.key.is_empty() && keys.insert(&attribute.key));
            let value = attribute.value.as_ref().expect("a value");
            let shown = format!("{value:?}");
            assert!(
                !shown.contains("Strindex"),
                "values are spelled out: {shown}"
            );
        }
        assert!(keys.contains(&"service.name".to_owned()));
        assert_eq!(resource_profiles.scope_profiles.len(), 1);
        for profile in resource_profiles
            .scope_profiles
            .iter()
            .flat_map(|s| &s.profiles)
        {
            references.profile(profile);
        }
    }
    references.tables();
}

/// Which entries of each table something refers to.
struct References<'a> {
    dictionary: &'a ProfilesDictionary,
    strings: Vec<bool>,
    attributes: Vec<bool>,
    functions: Vec<bool>,
    mappings: Vec<bool>,
    locations: Vec<bool>,
    stacks: Vec<bool>,
    links: Vec<bool>,
}

fn refer(table: &mut [bool], index: i32) {
    table[usize::try_from(index).expect("not negative")] = true;
}

impl<'a> References<'a> {
    fn new(dictionary: &'a ProfilesDictionary) -> Self {
        let table = |length: usize| {
            assert!(length > 0, "each table has its zero element");
            (0..length).map(|index| index == 0).collect::<Vec<_>>()
        };
        Self {
            dictionary,
            strings: table(dictionary.string_table.len()),
            attributes: table(dictionary.attribute_table.len()),
            functions: table(dictionary.function_table.len()),
            mappings: table(dictionary.mapping_table.len()),
            locations: table(dictionary.location_table.len()),
            stacks: table(dictionary.stack_table.len()),
            links: table(dictionary.link_table.len()),
        }
    }

    fn attributes(&mut self, indices: &[i32]) {
        let mut keys = HashSet::new();
        for index in indices {
            assert_ne!(*index, 0);
            refer(&mut self.attributes, *index);
            let attribute = &self.dictionary.attribute_table[*index as usize];
            assert!(keys.insert(attribute.key_strindex), "a key occurs once");
        }
    }

    fn profile(&mut self, profile: &Profile) {
        let sample_type = profile.sample_type.as_ref().expect("a sample type");
        let period_type = profile.period_type.as_ref();
        for value_type in [Some(sample_type), period_type].into_iter().flatten() {
            refer(&mut self.strings, value_type.type_strindex);
            refer(&mut self.strings, value_type.unit_strindex);
        }
        let counts = self.dictionary.string_table[sample_type.unit_strindex as usize] == "count";
        assert_eq!(
            period_type.is_some(),
            counts,
            "a period for what is counted alone"
        );
        assert_eq!(profile.period > 0, counts);
        self.attributes(&profile.attribute_indices);
        let mut shapes = HashSet::new();
        let mut identities = HashSet::new();
        for sample in &profile.samples {
            let (values, times) = (&sample.values, &sample.timestamps_unix_nano);
            shapes.insert((values.is_empty(), times.is_empty()));
            assert!(values.len() + times.len() > 0);
            if counts {
                assert!(
                    times.is_empty() || values.is_empty(),
                    "times only or values only"
                );
            }
            let most = if counts { 1 } else { times.len().max(1) };
            assert!(values.len() <= most, "one aggregate, or one for each time");
            let end = profile.time_unix_nano + profile.duration_nano;
            assert!(
                times
                    .iter()
                    .all(|t| (profile.time_unix_nano..end).contains(t))
            );
            refer(&mut self.stacks, sample.stack_index);
            refer(&mut self.links, sample.link_index);
            self.attributes(&sample.attribute_indices);
            let mut attributes = sample.attribute_indices.clone();
            attributes.sort_unstable();
            let identity = (sample.stack_index, attributes, sample.link_index);
            assert!(identities.insert(identity), "an identity occurs once");
        }
        assert!(shapes.len() <= 1, "one shape");
    }

    fn tables(&mut self) {
        let dictionary = self.dictionary;
        for stack in &dictionary.stack_table {
            for index in &stack.location_indices {
                assert_ne!(*index, 0);
                refer(&mut self.locations, *index);
            }
        }
        for location in &dictionary.location_table[1..] {
            assert!(!location.lines.is_empty(), "every location has a line");
            for line in &location.lines {
                assert_ne!(line.function_index, 0);
                refer(&mut self.functions, line.function_index);
            }
            refer(&mut self.mappings, location.mapping_index);
            assert_eq!(location.attribute_indices.len(), 1, "a frame type");
            self.attributes(&location.attribute_indices);
        }
        for function in &dictionary.function_table {
            refer(&mut self.strings, function.name_strindex);
            refer(&mut self.strings, function.system_name_strindex);
            refer(&mut self.strings, function.filename_strindex);
        }
        for mapping in &dictionary.mapping_table {
            refer(&mut self.strings, mapping.filename_strindex);
            self.attributes(&mapping.attribute_indices);
        }
        for attribute in &dictionary.attribute_table {
            refer(&mut self.strings, attribute.key_strindex);
            refer(&mut self.strings, attribute.unit_strindex);
        }
        for link in &dictionary.link_table[1..] {
            assert_eq!((link.trace_id.len(), link.span_id.len()), (16, 8));
        }
        table("string", &dictionary.string_table, &self.strings);
        table("attribute", &dictionary.attribute_table, &self.attributes);
        table("function", &dictionary.function_table, &self.functions);
        table("mapping", &dictionary.mapping_table, &self.mappings);
        table("location", &dictionary.location_table, &self.locations);
        table("stack", &dictionary.stack_table, &self.stacks);
        table("link", &dictionary.link_table, &self.links);
    }
}

/// Zero element, duplicates, orphans.
fn table<T: Debug + Default + PartialEq>(name: &str, entries: &[T], referred: &[bool]) {
    assert_eq!(entries[0], T::default(), "{name} 0");
    let distinct: HashSet<_> = entries.iter().map(|entry| format!("{entry:?}")).collect();
    assert_eq!(distinct.len(), entries.len(), "no duplicate {name}");
    for (index, referred) in referred.iter().enumerate() {
        assert!(
            *referred,
            "{name} {index} is an orphan: {:?}",
            entries[index]
        );
    }
}

//! What a collector received, as its file exporter wrote it: a request as OTLP JSON in each line.
//!
//! The collector keeps strings of resources as indices into the dictionary (`keyStrindex`,
//! `stringValueStrindex`), whatever form they were sent in.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::pprof::{Frame, Mapping, Profile, Sample};

/// All that was received so far.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The samples of all requests.
    pub samples: Vec<ReceivedSample>,
    mappings: Vec<Mapping>,
}

/// A sample with all that it refers to.
#[derive(Clone, Debug)]
pub struct ReceivedSample {
    /// Start of its profile, in ms since 1970.
    pub window: u64,
    /// Who it belongs to.
    pub resource: Arc<BTreeMap<String, String>>,
    /// `type/unit` of its value and of its profile's period.
    pub kind: Arc<(String, String)>,
    /// Its count, frames and attributes.
    pub sample: Sample,
    /// `profile.frame.type` of each frame.
    pub frame_types: Vec<String>,
}

impl ReceivedSample {
    /// An attribute of its resource; empty where there is none.
    #[must_use]
    pub fn resource(&self, key: &str) -> &str {
        self.resource.get(key).map_or("", String::as_str)
    }
}

impl Received {
    /// Adds a request.
    ///
    /// # Panics
    ///
    /// When it is no request, or an index leads nowhere.
    pub fn add(&mut self, line: &str) {
        let request: Value = serde_json::from_str(line).expect("a line is a request");
        let dictionary = Dictionary(&request["dictionary"]);
        let first_mapping = self.mappings.len() as u64;
        let mappings = list(&request["dictionary"]["mappingTable"]).iter();
        self.mappings
            .extend(mappings.map(|mapping| dictionary.mapping(mapping)));
        for group in list(&request["resourceProfiles"]) {
            let resource = Arc::new(dictionary.attributes(list(&group["resource"]["attributes"])));
            let scopes = list(&group["scopeProfiles"]).iter();
            for profile in scopes.flat_map(|scope| list(&scope["profiles"])) {
                let kind = |value: &Value| {
                    let [kind, unit] = ["typeStrindex", "unitStrindex"]
                        .map(|key| dictionary.string(&value[key]).to_owned());
                    format!("{kind}/{unit}")
                };
                let kind = Arc::new((kind(&profile["sampleType"]), kind(&profile["periodType"])));
                for sample in list(&profile["samples"]) {
                    let (frames, frame_types) = dictionary.frames(sample, first_mapping);
                    self.samples.push(ReceivedSample {
                        window: number(&profile["timeUnixNano"]) / 1_000_000,
                        resource: Arc::clone(&resource),
                        kind: Arc::clone(&kind),
                        sample: Sample {
                            values: vec![count(sample)],
                            frames,
                            labels: dictionary.referred(&sample["attributeIndices"]),
                        },
                        frame_types,
                    });
                }
            }
        }
    }

    /// Samples by the start of their window in ms.
    #[must_use]
    pub fn windows(&self) -> BTreeMap<u64, u64> {
        let mut windows = BTreeMap::new();
        for sample in &self.samples {
            *windows.entry(sample.window).or_default() += sample.sample.count().cast_unsigned();
        }
        windows
    }

    /// The samples that the condition holds for, in the form in which claims are made.
    #[must_use]
    pub fn profile(&self, condition: impl Fn(&ReceivedSample) -> bool) -> Profile {
        let samples = self.samples.iter().filter(|sample| condition(sample));
        Profile {
            samples: samples.map(|sample| sample.sample.clone()).collect(),
            mappings: (0..).zip(self.mappings.iter().cloned()).collect(),
            ..Profile::default()
        }
    }
}

/// A request's dictionary.
#[derive(Clone, Copy)]
struct Dictionary<'a>(&'a Value);

impl<'a> Dictionary<'a> {
    fn entry(self, table: &str, index: &Value) -> &'a Value {
        let index = usize::try_from(number(index)).expect("an index");
        list(&self.0[table])
            .get(index)
            .unwrap_or_else(|| panic!("{table} has no entry {index}"))
    }

    fn string(self, index: &Value) -> &'a str {
        self.entry("stringTable", index)
            .as_str()
            .expect("a table of strings")
    }

    /// Attributes by key; their values as text.
    fn attributes<'v>(
        self,
        attributes: impl IntoIterator<Item = &'v Value>,
    ) -> BTreeMap<String, String> {
        let text = |plain: &Value, index: &Value| match plain.as_str() {
            Some(text) => text.to_owned(),
            None => self.string(index).to_owned(),
        };
        let pair = |attribute: &Value| {
            let value = &attribute["value"];
            let key = text(&attribute["key"], &attribute["keyStrindex"]);
            let value = match &value["intValue"] {
                Value::Null => text(&value["stringValue"], &value["stringValueStrindex"]),
                integer => number(integer).to_string(),
            };
            (key, value)
        };
        attributes.into_iter().map(pair).collect()
    }

    /// The attributes that a list of indices refers to.
    fn referred(self, indices: &Value) -> BTreeMap<String, String> {
        let indices = list(indices).iter();
        self.attributes(indices.map(|index| self.entry("attributeTable", index)))
    }

    fn mapping(self, mapping: &Value) -> Mapping {
        let attributes = self.referred(&mapping["attributeIndices"]);
        Mapping {
            start: number(&mapping["memoryStart"]),
            limit: number(&mapping["memoryLimit"]),
            offset: number(&mapping["fileOffset"]),
            file: self.string(&mapping["filenameStrindex"]).to_owned(),
            build_id: attributes
                .get("process.executable.build_id.gnu")
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// A sample's frames from the root to the leaf, and their types.
    fn frames(self, sample: &Value, first_mapping: u64) -> (Vec<Frame>, Vec<String>) {
        let stack = self.entry("stackTable", &sample["stackIndex"]);
        let (mut frames, mut types) = (Vec::new(), Vec::new());
        for location in list(&stack["locationIndices"]).iter().rev() {
            let location = self.entry("locationTable", location);
            let kind = self.referred(&location["attributeIndices"]);
            for (outward, line) in list(&location["lines"]).iter().rev().enumerate() {
                let function = self.entry("functionTable", &line["functionIndex"]);
                frames.push(Frame {
                    function: self.string(&function["nameStrindex"]).to_owned(),
                    file: self.string(&function["filenameStrindex"]).to_owned(),
                    line: u32::try_from(number(&line["line"])).expect("a line"),
                    mapping: first_mapping + number(&location["mappingIndex"]),
                    address: number(&location["address"]),
                    inlined: outward > 0,
                });
                types.push(kind.get("profile.frame.type").cloned().unwrap_or_default());
            }
        }
        (frames, types)
    }
}

/// How often a sample was taken: its value, or its timestamps, each of which is once.
fn count(sample: &Value) -> i64 {
    match list(&sample["values"]) {
        [] => list(&sample["timestampsUnixNano"]).len() as i64,
        values => values.iter().map(|value| number(value).cast_signed()).sum(),
    }
}

/// A list, which is left out where it is empty.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A number, which is left out where it is zero, and is text where it may have 64 bits.
fn number(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::String(text) => text.parse().expect("a number as text"),
        other => other.as_u64().expect("a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{
        "resourceProfiles": [{
            "resource": {"attributes": [
                {"keyStrindex": 1, "value": {"stringValueStrindex": 2}},
                {"key": "process.pid", "value": {"intValue": "12"}}
            ]},
            "scopeProfiles": [{"profiles": [{
                "sampleType": {"typeStrindex": 3, "unitStrindex": 4},
                "samples": [
                    {"stackIndex": 1, "timestampsUnixNano": ["1", "2"], "attributeIndices": [2]},
                    {"stackIndex": 1, "values": ["5"]}
                ],
                "timeUnixNano": "7000000"
            }]}]
        }],
        "dictionary": {
            "mappingTable": [{}, {"memoryStart": "4096", "filenameStrindex": 2}],
            "locationTable": [{}, {
                "mappingIndex": 1, "address": "4100", "attributeIndices": [1],
                "lines": [{"functionIndex": 1, "line": "9"}, {"functionIndex": 2}]
            }],
            "functionTable": [{}, {"nameStrindex": 5}, {"nameStrindex": 6}],
            "stringTable": ["", "service.name", "shop", "samples", "count", "inner", "outer", "profile.frame.type"],
            "attributeTable": [
                {}, {"keyStrindex": 7, "value": {"stringValue": "rust"}},
                {"key": "thread.id", "value": {"intValue": "13"}}
            ],
            "stackTable": [{}, {"locationIndices": [1]}]
        }
    }"#;

    #[test]
    fn indices_are_resolved_in_their_own_request() {
        let mut received = Received::default();
        received.add(REQUEST);
        received.add(REQUEST);
        assert_eq!(received.windows(), BTreeMap::from([(7, 14)]));
        let sample = &received.samples[2];
        assert_eq!(
            (
                sample.resource("service.name"),
                sample.resource("process.pid")
            ),
            ("shop", "12")
        );
        assert_eq!(sample.kind.0, "samples/count");
        assert_eq!(sample.frame_types, ["rust", "rust"]);
        let profile = received.profile(|sample| sample.sample.label("thread.id") == "13");
        assert_eq!(profile.count(), 4);
        let frames = &profile.samples[1].frames;
        assert_eq!(profile.samples[1].functions(), ["outer", "inner"]);
        assert_eq!((frames[1].inlined, frames[1].line), (true, 9));
        assert_eq!(profile.file(&frames[1]), "shop");
    }

    #[test]
    #[should_panic(expected = "stringTable has no entry 9")]
    fn an_index_that_leads_nowhere_is_refused() {
        let request = REQUEST.replace(r#""filenameStrindex": 2"#, r#""filenameStrindex": 9"#);
        Received::default().add(&request);
    }
}

//! Reads a saved profile with an independent reader: the text of `go tool pprof -raw`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A saved profile.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// `type/unit` of each value of a sample.
    pub sample_types: Vec<String>,
    /// `PeriodType` as type and unit.
    pub period_type: String,
    /// Distance of two samples, in units of the period type.
    pub period: i64,
    /// Its samples.
    pub samples: Vec<Sample>,
    /// Its mappings by id.
    pub mappings: BTreeMap<u64, Mapping>,
}

/// A sample.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// One value a sample type.
    pub values: Vec<i64>,
    /// Frames from the root to the leaf; what is inlined into a function follows it.
    pub frames: Vec<Frame>,
    /// Labels by key; numbers as text.
    pub labels: BTreeMap<String, String>,
}

/// One function of a location.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Name, demangled.
    pub function: String,
    /// Source file; may be empty.
    pub file: String,
    /// Line in it; 0 for unknown.
    pub line: u32,
    /// Id of its mapping; 0 for none.
    pub mapping: u64,
    /// Address in the mapping's file.
    pub address: u64,
    /// Is it inlined into the one before it?
    pub inlined: bool,
}

/// A mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub limit: u64,
    /// Offset of the first address in the file.
    pub offset: u64,
    /// File.
    pub file: String,
    /// Build id; may be empty.
    pub build_id: String,
}

impl Sample {
    /// How many times it was taken.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.values.first().copied().unwrap_or(0)
    }
    /// Function names from the root to the leaf.
    #[must_use]
    pub fn functions(&self) -> Vec<&str> {
        self.frames
            .iter()
            .map(|frame| frame.function.as_str())
            .collect()
    }
    /// A label's value; empty where there is none.
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

impl Profile {
    /// Reads a file.
    ///
    /// # Panics
    ///
    /// When the independent reader refuses it.
    #[must_use]
    pub fn read(file: &Path) -> Self {
        let output = Command::new("go")
            .args(["tool", "pprof", "-symbolize=none", "-raw"])
            .arg(file)
            .output()
            .expect("go is installed (`cargo xtask test` sees to it)");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "pprof refuses {}: {errors}",
            file.display()
        );
        Self::parse(&text)
    }

    /// Number of samples.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.samples.iter().map(Sample::count).sum()
    }

    /// Only the samples that the condition holds for.
    #[must_use]
    pub fn only(mut self, condition: impl Fn(&Sample) -> bool) -> Self {
        self.samples.retain(condition);
        self
    }

    /// The file of a frame's mapping; empty for none.
    #[must_use]
    pub fn file(&self, frame: &Frame) -> &str {
        self.mappings
            .get(&frame.mapping)
            .map_or("", |mapping| &mapping.file)
    }

    /// How many samples the condition holds for, as a share of all (0 to 1).
    #[must_use]
    pub fn share(&self, condition: impl Fn(&Sample) -> bool) -> f64 {
        let matching: i64 = self
            .samples
            .iter()
            .filter(|sample| condition(sample))
            .map(Sample::count)
            .sum();
        matching as f64 / self.count().max(1) as f64
    }

    fn parse(text: &str) -> Self {
        let mut profile = Self::default();
        let mut locations: BTreeMap<u64, Vec<Frame>> = BTreeMap::new();
        let mut stacks: Vec<Vec<u64>> = Vec::new();
        let mut section = "";
        let mut location = 0;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("PeriodType: ") {
                rest.clone_into(&mut profile.period_type);
            } else if let Some(rest) = line.strip_prefix("Period: ") {
                profile.period = rest.parse().expect("a period");
            } else if ["Samples:", "Locations", "Mappings"].contains(&line) {
                section = line;
            } else if section == "Samples:" {
                if profile.sample_types.is_empty() {
                    // A default sample type is marked.
                    let types = line.split_whitespace();
                    profile.sample_types = types.map(|kind| kind.replace("[dflt]", "")).collect();
                } else if line.starts_with("                ") && !is_sample(line) {
                    let sample = profile
                        .samples
                        .last_mut()
                        .expect("labels follow their sample");
                    sample.labels.extend(labels(line));
                } else if let Some((values, stack)) = line.split_once(':') {
                    let values = values
                        .split_whitespace()
                        .map(|value| value.parse().expect("a value"));
                    let sample = Sample {
                        values: values.collect(),
                        ..Sample::default()
                    };
                    profile.samples.push(sample);
                    stacks.push(
                        stack
                            .split_whitespace()
                            .map(|id| id.parse().expect("an id"))
                            .collect(),
                    );
                }
            } else if section == "Locations" {
                let frames = if let Some((id, rest)) = location_start(line) {
                    location = id;
                    let (mapping, address, rest) = location_head(rest);
                    let frames = locations.entry(id).or_default();
                    frames.push(Frame {
                        mapping,
                        address,
                        ..function(rest)
                    });
                    continue;
                } else {
                    locations.entry(location).or_default()
                };
                let first = frames
                    .first()
                    .expect("a location starts with its head")
                    .clone();
                frames.push(Frame {
                    mapping: first.mapping,
                    address: first.address,
                    ..function(line.trim())
                });
            } else if section == "Mappings" {
                profile.mappings.extend(mapping(line));
            }
        }
        for (sample, stack) in profile.samples.iter_mut().zip(stacks) {
            for id in stack.iter().rev() {
                let frames = &locations[id];
                for (outward, frame) in frames.iter().rev().enumerate() {
                    sample.frames.push(Frame {
                        inlined: outward > 0,
                        ..frame.clone()
                    });
                }
            }
        }
        profile
    }
}

/// A line of values and location ids, as opposed to one of labels.
fn is_sample(line: &str) -> bool {
    line.split_once(':').is_some_and(|(values, _)| {
        values
            .split_whitespace()
            .all(|value| value.parse::<i64>().is_ok())
    })
}

/// `comm:[a b] pid:[12]`: a value ends at the bracket before the next key or the end.
fn labels(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while let Some((key, after)) = rest.split_once(":[") {
        let end = after
            .match_indices(']')
            .map(|(at, _)| at)
            .find(|at| {
                let next = &after[at + 1..];
                next.is_empty() || (next.starts_with(' ') && next.contains(":["))
            })
            .unwrap_or(after.len());
        found.push((key.trim().to_owned(), after[..end].to_owned()));
        rest = after.get(end + 1..).unwrap_or("");
    }
    found
}

/// `     1: 0x4011a0 M=1 main /src/main.c:12:0 s=3`.
fn location_start(line: &str) -> Option<(u64, &str)> {
    let (id, rest) = line.split_once(": 0x")?;
    Some((id.trim().parse().ok()?, rest))
}

fn location_head(rest: &str) -> (u64, u64, &str) {
    let (address, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut mapping = 0;
    if let Some(after) = rest.strip_prefix("M=") {
        let (id, after) = after.split_once(' ').unwrap_or((after, ""));
        mapping = id.parse().expect("a mapping's id");
        rest = after;
    }
    let address = u64::from_str_radix(address, 16).expect("an address");
    (mapping, address, rest.strip_prefix("[F] ").unwrap_or(rest))
}

/// `NAME FILE:LINE:COLUMN s=START(SYSTEM NAME)`; names have spaces, files have none here.
fn function(text: &str) -> Frame {
    let text = text.rfind(" s=").map_or(text, |at| &text[..at]);
    let mut parts = text.rsplitn(3, ':');
    let _column = parts.next();
    let line = parts.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let name_and_file = parts.next().unwrap_or(text);
    let (name, file) = name_and_file
        .rsplit_once(' ')
        .unwrap_or((name_and_file, ""));
    Frame {
        function: name.to_owned(),
        file: file.to_owned(),
        line,
        ..Frame::default()
    }
}

/// `1: 0x400000/0x500000/0x1000 /bin/program 4cb6d2 [FN][FL]`.
fn mapping(line: &str) -> Option<(u64, Mapping)> {
    let (id, rest) = line.split_once(": ")?;
    let mut words = rest.split(' ');
    let mut numbers = words.next()?.split('/').map(|number| {
        u64::from_str_radix(number.trim_start_matches("0x"), 16).expect("a mapping's number")
    });
    let mapping = Mapping {
        start: numbers.next()?,
        limit: numbers.next()?,
        offset: numbers.next()?,
        file: words.next().unwrap_or("").to_owned(),
        build_id: words
            .next()
            .filter(|id| !id.starts_with('['))
            .unwrap_or("")
            .to_owned(),
    };
    Some((id.parse().ok()?, mapping))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `go tool pprof -raw` prints it.
    const RAW: &str = "\
PeriodType: cpu nanoseconds
Period: 1001001
Time: 2026-11-21 08:00:00 +0000 UTC
Duration: 3.0
Samples:
samples/count cpu/nanoseconds[dflt]
          2    2002002: 1 2 
                comm:[a b] thread:[c]
                pid:[12] tid:[13]
          1    1001001: 2 
Locations
     1: 0x1139 M=1 void inner<int>(int) /src/a.cpp:7:0 s=6(_Z5inner)
             outer(int) /src/a.cpp:12:3 s=10
     2: 0x401 M=2 main :0:0 s=0
Mappings
1: 0x1000/0x2000/0x1000 /bin/a 00ff [FN][FL]
2: 0x400/0x500/0x0 [kernel]  
";

    #[test]
    fn the_text_is_read_as_it_is_printed() {
        let profile = Profile::parse(RAW);
        assert_eq!(profile.sample_types, ["samples/count", "cpu/nanoseconds"]);
        assert_eq!(
            (profile.period_type.as_str(), profile.period),
            ("cpu nanoseconds", 1_001_001)
        );
        assert_eq!(profile.count(), 3);
        let first = &profile.samples[0];
        assert_eq!(
            first.functions(),
            ["main", "outer(int)", "void inner<int>(int)"]
        );
        assert_eq!(first.label("comm"), "a b");
        assert_eq!((first.label("pid"), first.label("tid")), ("12", "13"));
        assert_eq!((first.frames[2].line, first.frames[2].inlined), (7, true));
        assert_eq!(first.frames[1].address, 0x1139);
        assert_eq!(profile.mappings[&1].build_id, "00ff");
        assert_eq!(profile.file(&first.frames[0]), "[kernel]");
        assert!((profile.share(|sample| sample.label("comm") == "a b") - 2.0 / 3.0).abs() < 1e-9);
    }
}

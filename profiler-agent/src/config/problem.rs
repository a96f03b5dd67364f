//! What is wrong with a configuration, where, and what to write instead.

use std::fmt::{self, Display, Formatter};

use crate::export::settings::Wrong;

/// Where something is written in a file: both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; none where nothing is written (a key that is missing, a default).
    pub place: Option<Place>,
    /// The keys that lead there, outermost first.
    pub path: Vec<String>,
    /// What is wrong, and the fix.
    pub message: String,
}

impl Problem {
    /// A problem whose place is found out by who called.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            place: None,
            path: Vec::new(),
            message: message.into(),
        }
    }

    /// A problem with a setting of an exporter. Its key leads one level down at most: what follows the first `.` is one key,
    /// which may have dots itself, as names of headers and labels do.
    pub(super) fn of_exporter(name: &str, wrong: Wrong) -> Self {
        let keys = ["exporters", name].into_iter();
        let keys = keys.chain(wrong.key.splitn(2, '.'));
        Self {
            path: keys.map(str::to_owned).collect(),
            ..Self::new(wrong.fix)
        }
    }

    /// A problem at a place.
    pub(super) fn at(place: Place, message: impl Into<String>) -> Self {
        Self {
            place: Some(place),
            ..Self::new(message)
        }
    }

    /// The problem as seen from one level further out.
    pub(super) fn within(mut self, key: &str, place: Place) -> Self {
        self.path.insert(0, key.to_owned());
        self.place.get_or_insert(place);
        self
    }
}

impl Display for Problem {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(formatter, "line {line}, column {column}: ")?;
        }
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path.join("."))?;
        }
        formatter.write_str(&self.message)
    }
}

/// That of `known` which somebody who wrote `written` may have meant.
pub(super) fn meant<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = written.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|name| (distance(&written, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be changed, added, left out or swapped with their neighbours (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) =
        (from.chars().take(64).collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let changed = last[j] + usize::from(a != b);
            let mut least = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found() {
        let known = ["frequency", "window", "max_size", "max_age"];
        for (written, expected) in [
            ("frequencyy", Some("frequency")),
            ("freqeuncy", Some("frequency")),
            ("Window", Some("window")),
            ("max-size", Some("max_size")),
            ("maxsize", Some("max_size")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(meant(written, &known), expected, "{written}");
        }
    }

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("abc", "abc", 0),
            ("a", "xyz", 3),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_problem_says_where_and_what() {
        let place = Place { line: 3, column: 5 };
        let problem = Problem::new("no")
            .within("window", place)
            .within("sampling", Place { line: 2, column: 1 });
        assert_eq!(problem.to_string(), "line 3, column 5: sampling.window: no");
    }
}

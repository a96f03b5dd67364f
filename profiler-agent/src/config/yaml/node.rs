//! A document as a tree.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::each::MAX_PROBLEMS;
use super::environment::substitute;
use crate::config::problem::{Place, Problem};

/// Levels of lists and maps within each other.
const MAX_DEPTH: usize = 16;
/// Values in a document, over all of its parts where it is read by parts.
pub(super) const MAX_NODES: usize = 20_000;

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A value as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Value {
    /// Anything that is neither list nor map.
    Scalar {
        /// The text, without its quotes and with what the environment says.
        text: String,
        /// Is it written without quotes, and may so be a number?
        plain: bool,
        /// Does it hold something of the environment? Then it is not shown.
        hidden: bool,
    },
    /// `[..]`, `- ..`.
    List(Vec<Node>),
    /// `key: value`, in the order in which they are written.
    Map(Vec<(Key, Node)>),
    /// What could not be read: that was said, and readers leave it out.
    Unread,
}

/// A key and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Key {
    /// Where it begins.
    pub place: Place,
    /// The key.
    pub text: String,
}

impl Node {
    /// The document, an empty map where there is none, and all that is wrong with it: what is no YAML, what is not used
    /// here, and variables that are not set. Where the syntax is broken, each top-level key is read by itself, so that a
    /// mistake in one hides none in the others; up to [`MAX_NODES`] values, and until more is wrong than is shown.
    pub(in crate::config) fn parse(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let whole = Builder::new(environment, 0, &mut problems, &mut 0).document(text);
        let broken = match whole {
            Ok(root) => return (root, problems),
            Err(broken) => broken,
        };
        problems.clear();
        let mut is_found = false;
        let mut entries: Vec<(Key, Self)> = Vec::new();
        let mut keys = Keys::default();
        let mut nodes = 0;
        for (first_line, part) in parts(text) {
            if nodes > MAX_NODES || problems.len() > MAX_PROBLEMS {
                break;
            }
            let part =
                Builder::new(environment, first_line, &mut problems, &mut nodes).document(part);
            match part {
                Ok(Self {
                    value: Value::Map(part),
                    ..
                }) => {
                    for (key, value) in part {
                        match keys.add(&key) {
                            Err(problem) => problems.push(problem),
                            Ok(()) => entries.push((key, value)),
                        }
                    }
                }
                Ok(root) if root.is_null() => {}
                Ok(root) => problems.push(Problem::at(root.place, NOT_A_MAP)),
                Err(problem) => {
                    is_found = true;
                    problems.push(problem);
                }
            }
        }
        if !is_found {
            problems.push(broken);
        }
        let root = Self {
            place: Place { line: 1, column: 1 },
            value: Value::Map(entries),
        };
        (root, problems)
    }

    /// Is nothing written here?
    pub(in crate::config) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true, .. } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// Was the value of this path read? Neither is one that stands in what was not read, nor one that is not written
    /// where another value beside it was not read and may be it.
    pub(in crate::config) fn is_read(&self, path: &[String]) -> bool {
        let mut node = self;
        for step in path {
            let Value::Map(entries) = &node.value else {
                break;
            };
            let written = entries.iter().find(|(key, _)| key.text == *step);
            let Some((_, inner)) = written else {
                return entries
                    .iter()
                    .all(|(_, beside)| beside.value != Value::Unread);
            };
            node = inner;
        }
        node.value != Value::Unread
    }

    /// Where the value of this path is written, or what of the path there is.
    pub(in crate::config) fn place_of(&self, path: &[String]) -> Place {
        let mut node = self;
        for step in path {
            let Value::Map(entries) = &node.value else {
                break;
            };
            let Some((_, inner)) = entries.iter().find(|(key, _)| key.text == *step) else {
                break;
            };
            node = inner;
        }
        node.place
    }
}

/// What is wrong with a value, or a whole file, that should be a map.
pub(in crate::config) const NOT_A_MAP: &str =
    "keys with values are expected: write `key: value`, one a line";

/// The keys of a map, each with where it is written first: by hash, as a map may have as many as a document has values.
#[derive(Debug, Default)]
struct Keys(HashMap<String, Place>);

impl Keys {
    /// Adds a key; a problem where it is there already.
    fn add(&mut self, key: &Key) -> Result<(), Problem> {
        let text = &key.text;
        match self.0.entry(text.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(key.place);
                Ok(())
            }
            Entry::Occupied(first) => {
                let line = first.get().line;
                Err(Problem::at(
                    key.place,
                    format!("`{text}` is there already, in line {line}: write it once"),
                ))
            }
        }
    }
}

/// The parts of a text that begin with a key in the first column, each with the number of lines before it.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![(0, 0)];
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let begins = |c: char| !c.is_whitespace() && !"#-]}.".contains(c);
        if at > 0 && line.starts_with(begins) {
            starts.push((number, at));
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, start)| *start);
    let ends: Vec<usize> = ends.chain([text.len()]).collect();
    let part = |((line, start), end): ((usize, usize), usize)| (line, &text[start..end]);
    starts.into_iter().zip(ends).map(part).collect()
}

struct Builder<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    /// Lines of the file before the text.
    first_line: usize,
    /// What is wrong and does not keep the rest from being read.
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    root: Option<Node>,
    /// Values so far.
    nodes: &'a mut usize,
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    /// The key whose value comes next.
    key: Option<Key>,
    /// A map's keys so far.
    keys: Keys,
    /// Does the value belong to a key that is there already?
    is_repeated: bool,
}

impl<'a> Builder<'a> {
    fn new(
        environment: &'a dyn Fn(&str) -> Option<String>,
        first_line: usize,
        problems: &'a mut Vec<Problem>,
        nodes: &'a mut usize,
    ) -> Self {
        Self {
            environment,
            first_line,
            problems,
            open: Vec::new(),
            root: None,
            nodes,
        }
    }

    fn document(mut self, text: &str) -> Result<Node, Problem> {
        for next in Parser::new_from_str(text) {
            let (event, span) = next.map_err(|error| {
                let marker = error.marker();
                Problem::at(self.place(marker.line(), marker.col()), error.info())
            })?;
            self.add(event, span)?;
        }
        Ok(self.root.unwrap_or(Node {
            place: Place { line: 1, column: 1 },
            value: Value::Map(Vec::new()),
        }))
    }

    fn place(&self, line: usize, column_from_zero: usize) -> Place {
        Place {
            line: line + self.first_line,
            column: column_from_zero + 1,
        }
    }

    /// An error where the rest cannot be read.
    fn add(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = self.place(span.start.line(), span.start.col());
        let unused = |what: &str| {
            Problem::at(
                at,
                format!("{what} are not used in a configuration: write the value itself"),
            )
        };
        match event {
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(_, anchor, _)
            | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                self.problems.push(unused("anchors (`&name`)"));
            }
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(.., Some(_))
            | Event::MappingStart(.., Some(_)) => self.problems.push(unused("tags (`!name`)")),
            _ => {}
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(unused("several documents")),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.problems.push(unused("aliases (`*name`)"));
                self.finished(Node {
                    place: at,
                    value: Value::Unread,
                })
            }
            Event::Scalar(text, style, ..) => self.scalar(at, &text, style == ScalarStyle::Plain),
            Event::SequenceStart(..) => self.start(at, Value::List(Vec::new())),
            Event::MappingStart(..) => self.start(at, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.finished(open.node),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, at: Place, text: &str, plain: bool) -> Result<(), Problem> {
        if let Some(Open {
            node,
            key: key @ None,
            keys,
            is_repeated,
        }) = self.open.last_mut()
            && matches!(node.value, Value::Map(_))
        {
            let new = Key {
                place: at,
                text: text.to_owned(),
            };
            if let Err(problem) = keys.add(&new) {
                self.problems.push(problem);
                *is_repeated = true;
            }
            *key = Some(new);
            return Ok(());
        }
        let value = match substitute(text, self.environment) {
            Ok(substituted) => Value::Scalar {
                hidden: substituted.is_some(),
                text: substituted.unwrap_or_else(|| text.to_owned()),
                plain,
            },
            Err(fix) => {
                self.problems.push(Problem::at(at, fix));
                Value::Unread
            }
        };
        self.finished(Node { place: at, value })
    }

    fn start(&mut self, at: Place, value: Value) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::at(
                at,
                "lists and maps lie too deep within each other",
            ));
        }
        if let Some(Open {
            node, key: None, ..
        }) = self.open.last()
            && matches!(node.value, Value::Map(_))
        {
            return Err(Problem::at(at, "a key is a text, not a list or a map"));
        }
        self.open.push(Open {
            node: Node { place: at, value },
            key: None,
            keys: Keys::default(),
            is_repeated: false,
        });
        Ok(())
    }

    fn finished(&mut self, node: Node) -> Result<(), Problem> {
        *self.nodes += 1;
        if *self.nodes > MAX_NODES {
            return Err(Problem::at(node.place, "the file has too many values"));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::Map(_), Some(_)) if std::mem::take(&mut open.is_repeated) => {}
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::List(items), _) => items.push(node),
            // A key that is no scalar was refused at its start.
            _ => return Err(Problem::at(node.place, "a key is a text")),
        }
        Ok(())
    }
}

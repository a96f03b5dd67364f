//! A document as a tree.

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::environment::substitute;
use crate::config::problem::{Place, Problem};

/// Levels of lists and maps within each other.
const MAX_DEPTH: usize = 16;
/// Values in a document.
const MAX_NODES: usize = 20_000;

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
    /// The document; an empty map where there is none.
    ///
    /// # Errors
    /// What is no YAML, what is not used here, and variables that are not set.
    pub(in crate::config) fn parse(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Problem> {
        let mut builder = Builder {
            environment,
            open: Vec::new(),
            root: None,
            nodes: 0,
        };
        for next in Parser::new_from_str(text) {
            let (event, span) = next.map_err(|error| {
                Problem::at(
                    place(error.marker().line(), error.marker().col()),
                    error.info(),
                )
            })?;
            builder.add(event, span)?;
        }
        Ok(builder.root.unwrap_or(Self {
            place: place(1, 0),
            value: Value::Map(Vec::new()),
        }))
    }

    /// Is nothing written here?
    pub(in crate::config) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true, .. } if matches!(text.as_str(), "" | "~" | "null"))
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

fn place(line: usize, column_from_zero: usize) -> Place {
    Place {
        line,
        column: column_from_zero + 1,
    }
}

struct Builder<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    /// The key whose value comes next.
    key: Option<Key>,
}

impl Builder<'_> {
    fn add(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = place(span.start.line(), span.start.col());
        let refuse = |what: &str| {
            Err(Problem::at(
                at,
                format!("{what} are not used in a configuration: write the value itself"),
            ))
        };
        match event {
            Event::DocumentStart(..) if self.root.is_some() => refuse("several documents"),
            Event::Alias(_) | Event::UnresolvedAlias(_) => refuse("aliases (`*name`)"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(_, anchor, _)
            | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                refuse("anchors (`&name`)")
            }
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(.., Some(_))
            | Event::MappingStart(.., Some(_)) => refuse("tags (`!name`)"),
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
        }) = self.open.last_mut()
            && let Value::Map(entries) = &node.value
        {
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.text == text) {
                let line = first.place.line;
                return Err(Problem::at(
                    at,
                    format!("`{text}` is there already, in line {line}: write it once"),
                ));
            }
            *key = Some(Key {
                place: at,
                text: text.to_owned(),
            });
            return Ok(());
        }
        let substituted = substitute(text, self.environment).map_err(|fix| Problem::at(at, fix))?;
        let hidden = substituted.is_some();
        self.finished(Node {
            place: at,
            value: Value::Scalar {
                text: substituted.unwrap_or_else(|| text.to_owned()),
                plain,
                hidden,
            },
        })
    }

    fn start(&mut self, at: Place, value: Value) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::at(
                at,
                "lists and maps lie too deep within each other",
            ));
        }
        if let Some(Open { node, key: None }) = self.open.last()
            && matches!(node.value, Value::Map(_))
        {
            return Err(Problem::at(at, "a key is a text, not a list or a map"));
        }
        self.open.push(Open {
            node: Node { place: at, value },
            key: None,
        });
        Ok(())
    }

    fn finished(&mut self, node: Node) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::at(node.place, "the file has too many values"));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::List(items), _) => items.push(node),
            // A key that is no scalar was refused at its start.
            _ => return Err(Problem::at(node.place, "a key is a text")),
        }
        Ok(())
    }
}

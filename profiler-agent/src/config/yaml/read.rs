//! A tree as a value of a type that serde knows.

use std::fmt::{self, Display};

use serde::de::{
    self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::{Deserialize, Deserializer};

use super::node::{Key, NOT_A_MAP, Node, Value};
use crate::config::problem::{Problem, meant};

/// The value that `node` says.
///
/// # Errors
/// The first problem, with its place and path below `node`.
pub(in crate::config) fn read<'a, T: Deserialize<'a>>(node: &'a Node) -> Result<T, Problem> {
    T::deserialize(node).map_err(|problem| hide(node, problem))
}

/// The same of what `deserialize` knows to read; none where it knows nothing.
pub(in crate::config) fn read_with<'a, T>(
    node: &'a Node,
    deserialize: impl FnOnce(&'a Node) -> Option<Result<T, Problem>>,
) -> Option<Result<T, Problem>> {
    let read = deserialize(node)?;
    Some(read.map_err(|problem| hide(node, problem)))
}

/// A message does not show what the environment said.
fn hide(node: &Node, mut problem: Problem) -> Problem {
    if let Value::Scalar {
        text, hidden: true, ..
    } = &node.value
        && !text.is_empty()
    {
        problem.message = problem.message.replace(text.as_str(), "..");
    }
    problem
}

impl std::error::Error for Problem {}

/// Readers leave out what was not read before they come here.
fn unread() -> Problem {
    Problem::new("it could not be read")
}

fn choice(what: &str, written: &str, known: &[&str]) -> Problem {
    Problem::new(match meant(written, known) {
        Some(name) => format!("{what} `{written}`; did you mean `{name}`?"),
        None if known.is_empty() => format!("{what} `{written}`"),
        None => format!("{what} `{written}`; there are {}", known.join(", ")),
    })
}

impl de::Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!(
            "{unexpected} is not what is expected here: {expected}"
        ))
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        choice("there is no key", field, expected)
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        choice("there is no", variant, expected)
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }
}

impl Node {
    fn scalar(&self, expected: &str) -> Result<&str, Problem> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Ok(text),
            Value::Scalar { .. } => Err(Problem::new(format!(
                "nothing is written here: write {expected}"
            ))),
            Value::List(_) => Err(Problem::new(format!(
                "a list is written here: write {expected}"
            ))),
            Value::Map(_) => Err(Problem::new(format!(
                "a map is written here: write {expected}"
            ))),
            Value::Unread => Err(unread()),
        }
    }

    fn number<N: std::str::FromStr>(&self, expected: &str) -> Result<N, Problem> {
        let text = self.scalar(expected)?;
        text.parse()
            .map_err(|_| Problem::new(format!("`{text}` is not {expected}")))
    }
}

macro_rules! number {
    ($($method:ident $visit:ident $type:ty, $expected:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            visitor.$visit(self.number::<$type>($expected)?)
        })*
    };
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => visitor.visit_unit(),
            Value::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Unread => Err(unread()),
        }
    }

    number! {
        deserialize_i8 visit_i8 i8, "a whole number";
        deserialize_i16 visit_i16 i16, "a whole number";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u8 visit_u8 u8, "a whole number, not negative";
        deserialize_u16 visit_u16 u16, "a whole number, not negative";
        deserialize_u32 visit_u32 u32, "a whole number, not negative";
        deserialize_u64 visit_u64 u64, "a whole number, not negative";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.scalar("true or false")? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => Err(Problem::new(format!("`{other}` is neither true nor false"))),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_borrowed_str(self.scalar("a text")?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.value {
            Value::List(items) => visitor.visit_seq(Items { items, number: 0 }),
            Value::Scalar { .. } if self.is_null() => visitor.visit_seq(Items {
                items: &[],
                number: 0,
            }),
            _ => Err(Problem::new("a list is expected: write [first, second]")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Map(entries) => visitor.visit_map(Entries {
                entries,
                value: None,
            }),
            // A section of which every line is commented out.
            Value::Scalar { .. } if self.is_null() => visitor.visit_map(Entries {
                entries: &[],
                value: None,
            }),
            _ => Err(Problem::new(NOT_A_MAP)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let expected = format!("one of {}", variants.join(", "));
        visitor.visit_enum(self.scalar(&expected)?.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct }
}

struct Items<'de> {
    items: &'de [Node],
    number: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let first = loop {
            let Some((first, rest)) = self.items.split_first() else {
                return Ok(None);
            };
            self.items = rest;
            self.number += 1;
            if first.value != Value::Unread {
                break first;
            }
        };
        seed.deserialize(first)
            .map(Some)
            .map_err(|problem| hide(first, problem).within(&self.number.to_string(), first.place))
    }
}

struct Entries<'de> {
    entries: &'de [(Key, Node)],
    value: Option<(&'de Key, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let (key, value) = loop {
            let Some(((key, value), rest)) = self.entries.split_first() else {
                return Ok(None);
            };
            self.entries = rest;
            if value.value != Value::Unread {
                break (key, value);
            }
        };
        self.value = Some((key, value));
        let text = de::value::BorrowedStrDeserializer::new(&key.text);
        seed.deserialize(text)
            .map(Some)
            .map_err(|mut problem: Problem| {
                problem.place.get_or_insert(key.place);
                problem
            })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some((key, value)) = self.value.take() else {
            return Err(Problem::new("a value was asked for before its key"));
        };
        // Where nothing is written, the key is what can be pointed at.
        let place = if value.is_null() {
            key.place
        } else {
            value.place
        };
        seed.deserialize(value)
            .map_err(|problem| hide(value, problem).within(&key.text, place))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

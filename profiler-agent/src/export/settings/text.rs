//! Texts of settings that are more than texts: headers and passwords, which are never shown.

use std::fmt::{self, Debug, Formatter};

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::export::connection::{HeaderSource, Secret};

/// What stands for a secret where a configuration is shown.
const HIDDEN: &str = "****";

/// A header's value: a text, which is never shown, or `{file: PATH}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Header(pub HeaderSource);

impl Debug for Header {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Header;
            fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, or {file: PATH}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Header, E> {
                Ok(Header(HeaderSource::Value(Secret::new(text))))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut path = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "file" {
                        return Err(de::Error::unknown_field(&key, &["file"]));
                    }
                    path = Some(map.next_value::<std::path::PathBuf>()?);
                }
                path.map(|path| Header(HeaderSource::File(path)))
                    .ok_or_else(|| de::Error::missing_field("file"))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            HeaderSource::Value(_) => serializer.serialize_str(HIDDEN),
            HeaderSource::File(path) => serializer.collect_map([("file", path)]),
        }
    }
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Secret);

impl Debug for Password {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

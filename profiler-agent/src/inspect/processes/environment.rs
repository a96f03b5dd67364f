//! The environment that a process was started with, as far as OpenTelemetry gives it a meaning: `OTEL_SERVICE_NAME` and
//! `OTEL_RESOURCE_ATTRIBUTES` ("Environment Variable Specification" and "Resource SDK" of OpenTelemetry). Pure.
//!
//! - Variables are `NAME=VALUE`, each with a zero byte behind it. Of two with one name the first one counts, as for `getenv`.
//! - `OTEL_RESOURCE_ATTRIBUTES` is `key=value,key=value` with percent-encoded keys and values. All of it is discarded where one
//!   pair is malformed. Of two pairs with one key the last one counts. All values are texts.
//! - `OTEL_SERVICE_NAME`, where it is not empty, is `service.name`, whatever the list has.
//!
//! A process may write over its environment, so this is what it says now. What is beyond the bounds is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::profile::pairs::pairs;
use crate::profile::{AttributeValue, Process, ResourceAttribute};

/// Bytes of an environment that are read.
pub const MAX_BYTES: usize = 128 << 10;
/// Attributes that are kept.
pub const MAX_ATTRIBUTES: usize = 64;
/// Bytes of a key that are kept, and of a value; longer ones are left out.
pub const MAX_KEY: usize = 256;
/// See [`MAX_KEY`].
pub const MAX_VALUE: usize = 4096;

/// What an environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Attributes, sorted by key, each key once.
    pub attributes: Arc<[ResourceAttribute]>,
    /// What is wrong with a variable, which was discarded then.
    pub malformed: Option<String>,
}

/// Reads the content of `/proc/PID/environ`, of which at most [`MAX_BYTES`] are looked at.
#[must_use]
pub fn parse(content: &[u8]) -> Environment {
    let mut malformed = None;
    let mut known = BTreeMap::new();
    let list = variable(content, b"OTEL_RESOURCE_ATTRIBUTES").map(|list| {
        let list = std::str::from_utf8(list).map_err(|_| "it is no UTF-8".to_owned())?;
        pairs(list)
    });
    match list {
        Some(Ok(list)) => known.extend(list),
        Some(Err(reason)) => malformed = Some(format!("OTEL_RESOURCE_ATTRIBUTES: {reason}")),
        None => {}
    }
    match variable(content, b"OTEL_SERVICE_NAME").map(std::str::from_utf8) {
        Some(Ok(name)) if !name.trim().is_empty() => {
            known.insert(Process::SERVICE_NAME.to_owned(), name.trim().to_owned());
        }
        Some(Err(_)) => malformed = Some("OTEL_SERVICE_NAME: it is no UTF-8".to_owned()),
        _ => {}
    }
    let attributes = known
        .into_iter()
        .filter(|(key, value)| key.len() <= MAX_KEY && value.len() <= MAX_VALUE)
        .map(|(key, value)| ResourceAttribute {
            key: key.into(),
            value: AttributeValue::Text(value.into()),
        });
    Environment {
        attributes: bounded(attributes.collect()),
        malformed,
    }
}

/// At most [`MAX_ATTRIBUTES`], the name of the service among them.
fn bounded(mut attributes: Vec<ResourceAttribute>) -> Arc<[ResourceAttribute]> {
    let is_name = |attribute: &ResourceAttribute| *attribute.key == *Process::SERVICE_NAME;
    if let Some(at) = attributes.iter().position(is_name)
        && at >= MAX_ATTRIBUTES
    {
        attributes.swap(at, MAX_ATTRIBUTES - 1);
    }
    attributes.truncate(MAX_ATTRIBUTES);
    attributes.into()
}

/// The value of a variable, where it is there whole.
fn variable<'a>(content: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let content = &content[..content.len().min(MAX_BYTES)];
    // What has no end was cut.
    let end = content.iter().rposition(|byte| *byte == 0)?;
    let mut variables = content[..end].split(|byte| *byte == 0);
    variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The variables, and what they say: `key=value` for each attribute, `!` for what is malformed.
    fn check(variables: &[&str], expect: &[&str]) {
        let content: String = variables.iter().map(|text| format!("{text}\0")).collect();
        assert_eq!(said(&parse(content.as_bytes())), expect, "{variables:?}");
    }

    fn said(environment: &Environment) -> Vec<String> {
        let attributes = environment.attributes.iter();
        let text = |attribute: &ResourceAttribute| match &attribute.value {
            AttributeValue::Text(value) => format!("{}={value}", attribute.key),
            other => panic!("{other:?}"),
        };
        let malformed = environment.malformed.iter().map(|_| "!".to_owned());
        attributes.map(text).chain(malformed).collect()
    }

    #[test]
    fn what_the_specification_gives_a_meaning() {
        check(&[], &[]);
        check(&["PATH=/bin", "OTEL_SERVICE_NAMES=x"], &[]);
        check(&["OTEL_SERVICE_NAME=shop"], &["service.name=shop"]);
        check(&["OTEL_SERVICE_NAME="], &[]);
        check(
            &["OTEL_RESOURCE_ATTRIBUTES=b=2, a = 1 ,service.name=list,"],
            &["a=1", "b=2", "service.name=list"],
        );
        check(
            &[
                "OTEL_RESOURCE_ATTRIBUTES=service.name=list",
                "OTEL_SERVICE_NAME=own",
            ],
            &["service.name=own"],
        );
        check(
            &[
                "OTEL_RESOURCE_ATTRIBUTES=service.name=list",
                "OTEL_SERVICE_NAME=",
            ],
            &["service.name=list"],
        );
        check(
            &["OTEL_SERVICE_NAME=first", "OTEL_SERVICE_NAME=second"],
            &["service.name=first"],
        );
    }

    #[test]
    fn values_are_percent_decoded() {
        check(
            &["OTEL_RESOURCE_ATTRIBUTES=team=a%2Cb%3dc,caf%C3%A9=%20x"],
            &["caf\u{e9}= x", "team=a,b=c"],
        );
        check(&["OTEL_RESOURCE_ATTRIBUTES=a=1,a=2"], &["a=2"]);
        check(&["OTEL_RESOURCE_ATTRIBUTES=a=b=c,d="], &["a=b=c", "d="]);
        // The name of the service is as it is.
        check(&["OTEL_SERVICE_NAME=a%2Cb"], &["service.name=a%2Cb"]);
    }

    #[test]
    fn what_is_malformed_is_discarded_whole() {
        for list in ["a=1,b", "a=1,=2", "a=%2", "a=%zz", "a=%FF", "a=1,%"] {
            let list = format!("OTEL_RESOURCE_ATTRIBUTES={list}");
            check(&[&list], &["!"]);
            check(
                &["OTEL_SERVICE_NAME=own", &list],
                &["service.name=own", "!"],
            );
        }
        let bytes = b"OTEL_SERVICE_NAME=\xff\0OTEL_RESOURCE_ATTRIBUTES=a=1\0";
        assert_eq!(said(&parse(bytes)), ["a=1", "!"]);
    }

    #[test]
    fn what_is_cut_or_beyond_the_bounds_is_left_out() {
        assert_eq!(said(&parse(b"OTEL_SERVICE_NAME=sho")), [""; 0]);
        let mut long = vec![b'x'; MAX_BYTES - 8];
        long.extend(b"\0OTEL_SERVICE_NAME=shop\0");
        assert_eq!(said(&parse(&long)), [""; 0]);
        let value = "v".repeat(MAX_VALUE + 1);
        check(
            &[&format!("OTEL_RESOURCE_ATTRIBUTES=a={value},b=1")],
            &["b=1"],
        );
        let many: Vec<String> = (0..1000).map(|number| format!("k{number:04}=1")).collect();
        let many = format!("OTEL_RESOURCE_ATTRIBUTES={}", many.join(","));
        let content = format!("{many}\0OTEL_SERVICE_NAME=shop\0");
        let environment = parse(content.as_bytes());
        assert_eq!(environment.attributes.len(), MAX_ATTRIBUTES);
        let last = environment.attributes.last().map(|last| &*last.key);
        assert_eq!(last, Some("service.name"));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut content = b"OTEL_RESOURCE_ATTRIBUTES=".to_vec();
            content.extend(&bytes);
            content.push(0);
            let environment = parse(&content);
            let sorted = environment.attributes.is_sorted_by(|one, other| one.key < other.key);
            prop_assert!(sorted);
        }
    }
}

//! Attributes of one process by source. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::profile::{AttributeValue, Process, ResourceAttribute};

/// Who says something of a process, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The process itself, by the context that it publishes.
    ProcessContext,
    /// The environment that the process was started with.
    Environment,
    /// Its executable, by its file name.
    Executable,
}

/// What is said of one process. Empty layers are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    layers: BTreeMap<Source, Arc<[ResourceAttribute]>>,
}

impl Layers {
    /// Takes what `source` says now in the place of what it said before; true where that is something else.
    pub fn put(&mut self, source: Source, attributes: Arc<[ResourceAttribute]>) -> bool {
        if attributes.is_empty() {
            return self.layers.remove(&source).is_some();
        }
        let is_new = self.layers.get(&source) != Some(&attributes);
        self.layers.insert(source, attributes);
        is_new
    }

    /// What counts: each key once, as its strongest layer has it; sorted by key. A name of the service that is empty, or
    /// no text, says nothing.
    #[must_use]
    pub fn attributes(&self) -> Arc<[ResourceAttribute]> {
        let mut strongest = BTreeMap::new();
        for attribute in self.layers.values().flat_map(|layer| layer.iter()) {
            if !is_unnamed(attribute) {
                strongest.entry(&attribute.key).or_insert(attribute);
            }
        }
        strongest.into_values().cloned().collect()
    }
}

fn is_unnamed(attribute: &ResourceAttribute) -> bool {
    *attribute.key == *Process::SERVICE_NAME
        && !matches!(&attribute.value, AttributeValue::Text(name) if !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(pairs: &[(&str, &str)]) -> Arc<[ResourceAttribute]> {
        let attribute = |(key, value): &(&str, &str)| ResourceAttribute {
            key: (*key).into(),
            value: AttributeValue::Text((*value).into()),
        };
        pairs.iter().map(attribute).collect()
    }

    /// Puts the layers in this order and in the other one: what counts is the same.
    fn check(layers: &[(Source, &[(&str, &str)])], expect: &[(&str, &str)]) {
        let mut forward = Layers::default();
        let mut backward = Layers::default();
        for (source, pairs) in layers {
            assert_eq!(forward.put(*source, layer(pairs)), !pairs.is_empty());
        }
        for (source, pairs) in layers.iter().rev() {
            backward.put(*source, layer(pairs));
        }
        assert_eq!(*forward.attributes(), *layer(expect));
        assert_eq!(forward, backward);
    }

    #[test]
    fn the_strongest_layer_with_a_key_counts_whenever_it_comes() {
        use Source::{Environment, ProcessContext};
        check(&[], &[]);
        check(&[(Environment, &[("a", "1")])], &[("a", "1")]);
        check(
            &[
                (Environment, &[("a", "weak"), ("b", "weak")]),
                (ProcessContext, &[("b", "strong"), ("c", "strong")]),
            ],
            &[("a", "weak"), ("b", "strong"), ("c", "strong")],
        );
    }

    #[test]
    fn the_executable_is_the_weakest() {
        use Source::{Environment, Executable, ProcessContext};
        let by_file = (Executable, &[("service.name", "java")][..]);
        check(&[by_file], &[("service.name", "java")]);
        let others = (Environment, &[("a", "1")][..]);
        check(&[by_file, others], &[("a", "1"), ("service.name", "java")]);
        for source in [Environment, ProcessContext] {
            let named = (source, &[("service.name", "shop")][..]);
            check(&[by_file, named], &[("service.name", "shop")]);
            let unnamed = (source, &[("service.name", "")][..]);
            check(&[by_file, unnamed], &[("service.name", "java")]);
        }
    }

    #[test]
    fn an_empty_name_of_a_service_says_nothing() {
        use Source::{Environment, ProcessContext};
        check(
            &[
                (ProcessContext, &[("service.name", ""), ("x", "")]),
                (Environment, &[("service.name", "shop"), ("x", "y")]),
            ],
            &[("service.name", "shop"), ("x", "")],
        );
        check(&[(Environment, &[("service.name", "")])], &[]);
    }

    #[test]
    fn a_name_of_a_service_that_is_no_text_hides_none_that_is() {
        let mut layers = Layers::default();
        let number = ResourceAttribute {
            key: Process::SERVICE_NAME.into(),
            value: AttributeValue::Integer(7),
        };
        layers.put(Source::ProcessContext, Arc::new([number]));
        assert!(layers.attributes().is_empty());
        layers.put(Source::Environment, layer(&[("service.name", "shop")]));
        assert_eq!(*layers.attributes(), *layer(&[("service.name", "shop")]));
    }

    #[test]
    fn a_layer_replaces_itself_alone() {
        let mut layers = Layers::default();
        assert!(layers.put(Source::Environment, layer(&[("a", "1"), ("b", "1")])));
        assert!(layers.put(Source::ProcessContext, layer(&[("a", "2")])));
        assert!(!layers.put(Source::ProcessContext, layer(&[("a", "2")])));
        assert_eq!(*layers.attributes(), *layer(&[("a", "2"), ("b", "1")]));
        assert!(layers.put(Source::ProcessContext, layer(&[("c", "3")])));
        let expected = layer(&[("a", "1"), ("b", "1"), ("c", "3")]);
        assert_eq!(*layers.attributes(), *expected);
        assert!(layers.put(Source::ProcessContext, layer(&[])));
        assert!(!layers.put(Source::ProcessContext, layer(&[])));
        assert_eq!(*layers.attributes(), *layer(&[("a", "1"), ("b", "1")]));
    }
}

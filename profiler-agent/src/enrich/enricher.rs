//! The layers of all processes.

use std::sync::Arc;

use hashbrown::HashMap;

use super::layers::{Layers, Source};
use crate::profile::{BootTime, ResourceAttribute};

/// What is said of one process image.
#[derive(Debug)]
struct Known {
    image: BootTime,
    layers: Layers,
}

/// A process whose attributes are others than before.
#[derive(Debug, PartialEq, Eq)]
pub struct Amended {
    /// Its pid.
    pub pid: u32,
    /// When its image began.
    pub image: BootTime,
    /// All of them, sorted by key, each key once.
    pub attributes: Arc<[ResourceAttribute]>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Enricher {
    known: HashMap<u32, Known>,
}

impl Enricher {
    /// Takes what sources say of a process image, each in the place of what it said before. What counts then, where that is
    /// something else.
    pub fn put(
        &mut self,
        pid: u32,
        image: BootTime,
        said: impl IntoIterator<Item = (Source, Arc<[ResourceAttribute]>)>,
    ) -> Option<Amended> {
        let new = || Known {
            image,
            layers: Layers::default(),
        };
        let known = self.known.entry(pid).or_insert_with(new);
        if known.image != image {
            *known = new();
        }
        let mut changed = false;
        for (source, attributes) in said {
            changed |= known.layers.put(source, attributes);
        }
        changed.then(|| Amended {
            pid,
            image,
            attributes: known.layers.attributes(),
        })
    }

    /// Forgets the processes of which nothing more is to come.
    pub fn prune(&mut self, is_known: impl Fn(u32, BootTime) -> bool) {
        self.known.retain(|pid, known| is_known(*pid, known.image));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::AttributeValue;

    fn named(name: &str) -> Arc<[ResourceAttribute]> {
        Arc::new([ResourceAttribute {
            key: "service.name".into(),
            value: AttributeValue::Text(name.into()),
        }])
    }

    #[test]
    fn what_counts_is_told_when_it_changes_and_of_its_own_image() {
        let mut enricher = Enricher::default();
        let (first, second) = (BootTime(1), BootTime(2));
        let environment = |name| [(Source::Environment, named(name))];
        let amended = enricher.put(7, first, environment("shop")).unwrap();
        assert_eq!((amended.pid, amended.image), (7, first));
        assert_eq!(amended.attributes, named("shop"));
        assert_eq!(enricher.put(7, first, environment("shop")), None);
        // Another image begins with nothing.
        let context = [(Source::ProcessContext, named("own"))];
        let both = environment("weak").into_iter().chain(context);
        let amended = enricher.put(7, second, both).unwrap();
        assert_eq!((amended.image, amended.attributes), (second, named("own")));
        enricher.prune(|pid, image| (pid, image) == (7, second));
        assert_eq!(enricher.known.len(), 1);
        enricher.prune(|_, _| false);
        assert!(enricher.known.is_empty());
    }
}

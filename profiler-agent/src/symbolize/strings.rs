//! Each distinct string once.

use std::sync::Arc;

use hashbrown::HashSet;

/// Bytes that a string costs besides its text: two counts, a pointer and its length in the set.
const OVERHEAD: usize = 40;

/// The strings that cached names share.
#[derive(Debug, Default)]
pub(super) struct Strings {
    known: HashSet<Arc<str>>,
    bytes: usize,
}

impl Strings {
    /// The one copy of `text`.
    pub(super) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.bytes += new.len() + OVERHEAD;
        self.known.insert(Arc::clone(&new));
        new
    }

    /// Bytes held.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the strings that nobody else holds.
    pub(super) fn sweep(&mut self) {
        let mut freed = 0;
        self.known.retain(|text| {
            let used = Arc::strong_count(text) > 1;
            if !used {
                freed += text.len() + OVERHEAD;
            }
            used
        });
        self.bytes -= freed;
        self.known.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_are_one_and_unused_ones_go() {
        let mut strings = Strings::default();
        let first = strings.intern("main");
        let second = strings.intern("main");
        assert!(Arc::ptr_eq(&first, &second));
        strings.intern("gone");
        let before = strings.bytes();
        strings.sweep();
        assert_eq!(strings.bytes(), before - 4 - OVERHEAD);
        assert!(Arc::ptr_eq(&first, &strings.intern("main")));
    }
}

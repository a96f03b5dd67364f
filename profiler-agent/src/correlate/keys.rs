//! Which keys of labels are wanted.

use std::fmt;

/// A key, or with a trailing `*` all keys that begin with what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    text: Box<str>,
    any_ending: bool,
}

impl KeyPattern {
    /// The pattern as it is written; `None` where it is empty or has a `*` before its end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (text, any_ending) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        let says_something = any_ending || !text.is_empty();
        (says_something && !text.contains('*')).then(|| Self {
            text: text.into(),
            any_ending,
        })
    }

    fn matches(&self, key: &str) -> bool {
        if self.any_ending {
            key.starts_with(&*self.text)
        } else {
            *key == *self.text
        }
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)?;
        formatter.write_str(if self.any_ending { "*" } else { "" })
    }
}

/// The wanted keys: those that `include` matches and `exclude` does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// What is wanted.
    pub include: Vec<KeyPattern>,
    /// What of that is not.
    pub exclude: Vec<KeyPattern>,
}

impl Default for Keys {
    /// All of them.
    fn default() -> Self {
        Self {
            include: KeyPattern::parse("*").into_iter().collect(),
            exclude: Vec::new(),
        }
    }
}

impl Keys {
    pub(super) fn wants(&self, key: &str) -> bool {
        let any = |patterns: &[KeyPattern]| patterns.iter().any(|pattern| pattern.matches(key));
        any(&self.include) && !any(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyPattern, Keys};

    fn keys(include: &[&str], exclude: &[&str]) -> Keys {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|t| KeyPattern::parse(t).unwrap())
                .collect()
        };
        Keys {
            include: parse(include),
            exclude: parse(exclude),
        }
    }

    #[test]
    fn a_key_is_wanted_where_it_is_included_and_not_excluded() {
        let everything = Keys::default();
        assert!(everything.wants("endpoint") && everything.wants("*"));
        let some = keys(&["endpoint", "http.*"], &["http.user*", "http.path"]);
        for wanted in ["endpoint", "http.", "http.method", "http.paths"] {
            assert!(some.wants(wanted), "{wanted}");
        }
        for unwanted in ["", "endpoints", "http", "http.path", "http.user_agent"] {
            assert!(!some.wants(unwanted), "{unwanted}");
        }
        assert!(!keys(&[], &[]).wants("endpoint"));
    }

    #[test]
    fn a_star_stands_at_the_end_alone() {
        for wrong in ["", "*.method", "a*b", "**"] {
            assert_eq!(KeyPattern::parse(wrong), None, "{wrong}");
        }
    }
}

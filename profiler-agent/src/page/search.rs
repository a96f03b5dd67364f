//! Which functions a search means: a part of a name or module, or a regular expression.

use std::collections::BTreeSet;
use std::fmt::{self, Debug, Formatter};

use regex_lite::{Regex, RegexBuilder};
use serde::Serialize;

use super::engine::QueryError;
use super::kind::Kind;
use super::names::Names;
use super::query::Misunderstood;
use super::run::Run;
use super::stacks::StackSet;

/// Bytes of an expression.
const MAX_EXPRESSION: usize = 1_000;
/// Bytes of memory of a compiled expression: the time that it takes grows with it, and with the text.
const MAX_PROGRAM: usize = 64 << 10;
/// Bytes of a name that an expression sees.
const MAX_NAME: usize = 2_000;

/// What is searched for, without regard to case.
pub(super) enum Search {
    /// Everything.
    All,
    /// A part of a name or module, in lower case.
    Part(String),
    /// What an expression matches. It takes time proportional to the text, whatever it is.
    Expression(Regex),
}

impl Debug for Search {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Part(part) => write!(f, "Part({part:?})"),
            Self::Expression(expression) => write!(f, "Expression({:?})", expression.as_str()),
        }
    }
}

impl Search {
    /// Understands a text: `/.../` is a regular expression.
    ///
    /// # Errors
    /// The expression is wrong or too large.
    pub(super) fn parse(text: &str) -> Result<Self, Misunderstood> {
        if text.is_empty() {
            return Ok(Self::All);
        }
        let inner = text
            .strip_prefix('/')
            .and_then(|text| text.strip_suffix('/'));
        let Some(expression) = inner.filter(|inner| !inner.is_empty()) else {
            return Ok(Self::Part(text.to_lowercase()));
        };
        let wrong = |why: String| {
            Misunderstood(format!(
                "the regular expression {text} cannot be used: {why}; without the slashes it is searched for as it is"
            ))
        };
        if expression.len() > MAX_EXPRESSION {
            return Err(wrong(format!("it is longer than {MAX_EXPRESSION} bytes")));
        }
        RegexBuilder::new(expression)
            .case_insensitive(true)
            .size_limit(MAX_PROGRAM)
            .nest_limit(50)
            .build()
            .map(Self::Expression)
            .map_err(|error| wrong(error.to_string()))
    }

    fn finds(&self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Part(part) => text.to_lowercase().contains(part),
            Self::Expression(expression) => {
                expression.is_match(&text[..text.floor_char_boundary(MAX_NAME)])
            }
        }
    }

    /// Which frames are functions that are found, by index. The run is checked by the bytes that were looked at: an
    /// expression may take its time with each.
    ///
    /// # Errors
    /// The run is to end.
    pub(super) fn frames(&self, names: &Names, run: &Run) -> Result<Vec<bool>, QueryError> {
        let mut pace = run.pace();
        // Frames share names and modules: each text is looked at once.
        let mut found: Vec<Option<bool>> = vec![None; names.text_count()];
        let mut frames = Vec::with_capacity(names.frame_count());
        for index in 0..names.frame_count() {
            let frame = names.of_frame(index as u32);
            let mut has = |text: u32| -> Result<bool, QueryError> {
                if let Some(known) = found[text as usize] {
                    return Ok(known);
                }
                let name = names.of_text(text);
                pace.spend(name.len())?;
                Ok(*found[text as usize].insert(self.finds(name)))
            };
            frames.push(frame.kind != Kind::Group && (has(frame.name)? || has(frame.module)?));
            pace.spend(1)?;
        }
        Ok(frames)
    }
}

/// Functions of an answer.
const MAX_FUNCTIONS: usize = 20_000;

/// What a search finds. Numbers are samples.
#[derive(Debug, Serialize)]
pub(super) struct SearchAnswer {
    /// What is measured.
    r#type: &'static str,
    /// Time that one sample stands for, in ns.
    period_ns: u64,
    /// All samples.
    samples: u64,
    /// Samples whose stack has a function that is found.
    matched: u64,
    /// All samples of the base, in a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_samples: Option<u64>,
    /// Those of the base whose stack has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_matched: Option<u64>,
    /// How many functions are found.
    found: usize,
    /// Name and module of the first of them.
    functions: Vec<[String; 2]>,
}

/// What is found in a set, where `found` holds for frames.
///
/// # Errors
/// The run is to end.
pub(super) fn search_answer(
    set: &StackSet,
    compared: bool,
    found: &[bool],
    run: &Run,
) -> Result<SearchAnswer, QueryError> {
    let mut matched = [0u64; 2];
    let mut has_samples = vec![false; found.len()];
    set.visit(run, |stack, samples| {
        let mut has = false;
        for step in stack {
            let frame = step.frame() as usize;
            if found[frame] {
                has = true;
                has_samples[frame] = true;
            }
        }
        if has {
            for (sum, count) in matched.iter_mut().zip(samples) {
                *sum = sum.saturating_add(count);
            }
        }
    })?;
    let functions: BTreeSet<[&str; 2]> = (0..)
        .zip(&has_samples)
        .filter(|(_, has)| **has)
        .map(|(index, _)| {
            let frame = set.names.of_frame(index);
            [frame.name, frame.module].map(|text| set.names.of_text(text))
        })
        .collect();
    let [samples, base] = set.whole();
    Ok(SearchAnswer {
        r#type: set.kind.name(),
        period_ns: set.quantum,
        samples,
        matched: matched[0],
        base_samples: compared.then_some(base),
        base_matched: compared.then_some(matched[1]),
        found: functions.len(),
        functions: functions
            .into_iter()
            .take(MAX_FUNCTIONS)
            .map(|texts| texts.map(str::to_owned))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::{QueryError, Search};
    use crate::page::kind::Kind;
    use crate::page::names::Names;
    use crate::page::run::scripted::short_after;

    fn finds(search: &str, text: &str) -> bool {
        Search::parse(search).unwrap().finds(text)
    }

    #[test]
    fn a_part_or_an_expression_is_found_without_regard_to_case() {
        assert!(finds("SERV", "main.serve") && !finds("SERV", "main"));
        assert!(finds("/^main\\.s.*e$/", "Main.Serve") && !finds("/^serve/", "main.serve"));
        // What is no expression is a text.
        assert!(finds("a.b", "a.b") && !finds("a.b", "axb") && finds("/", "net/http"));
        assert!(finds("", "anything"));
    }

    #[test]
    fn what_is_wrong_or_too_large_is_said() {
        let wrong = |text: &str| Search::parse(text).unwrap_err().0;
        assert!(wrong("/(/").contains("/(/ cannot be used"));
        assert!(wrong(&format!("/{}/", "a".repeat(2_000))).contains("longer than 1000 bytes"));
        let large = wrong("/((a{100}){100}){100}/");
        assert!(large.contains("cannot be used"), "{large}");
        assert!(
            wrong(&format!("/{}a{}/", "(".repeat(90), ")".repeat(90))).contains("cannot be used")
        );
    }

    #[test]
    fn an_expression_takes_no_more_time_than_its_text_is_long() {
        let began = std::time::Instant::now();
        assert!(!finds("/(a+)+$/", &format!("{}b", "a".repeat(1_900))));
        assert!(began.elapsed().as_secs() < 10);
    }

    #[test]
    fn a_search_asks_whether_it_goes_on_by_the_bytes_of_names() {
        let mut names = Names::new(usize::MAX);
        // 100 names of 2,000 bytes: fewer than any number of names to check after, and three times 64 KiB.
        for number in 0..100 {
            names.fixed(&format!("{number}{}", "a".repeat(1_998)), Kind::Native);
        }
        for search in ["b", "/b/"] {
            let search = Search::parse(search).unwrap();
            let (run, checks) = short_after(usize::MAX);
            assert_eq!(search.frames(&names, &run).unwrap(), [false; 100]);
            assert_eq!(checks.load(Ordering::Relaxed), 3);
            let (run, _) = short_after(0);
            let ended = search.frames(&names, &run);
            assert!(matches!(ended, Err(QueryError::MemoryShort)));
        }
    }
}

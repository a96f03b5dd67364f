//! `docs/glossary.md`: every name that has an explanation. `cargo xtask generate` writes it, and a test compares it.

use profiler_common::unwind::Outcome;

use super::mark;
use super::{Degradation, DeliveryCause, Explanation, Mark, SampleLoss};

/// Where the text is in the repository, seen from the crate.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/glossary.md");
/// Set where the text is to be written.
const WRITE: &str = "PROFILER_WRITE_GLOSSARY";

const HEAD: &str = "# Glossary

<!-- Written by `cargo xtask generate` from the code: do not edit. -->

Names that the agent has for what is lost, less or cut: in `/metrics`, on its page, in what `record` says at its end, and in stacks.
";

/// A heading, what its names have in common, and the names.
type Section = (&'static str, &'static str, Vec<Explanation>);

fn sections() -> [Section; 5] {
    [
        (
            "Lost samples",
            "Samples that were due and are in no window: `profiler_samples_lost_total{cause=..}`.",
            SampleLoss::ALL.iter().map(|c| c.explanation()).collect(),
        ),
        (
            "Degradations",
            "What is less than it should be in windows that are there: `profiler_degradations_total{cause=..}`. Each counts in its own \
             unit.",
            Degradation::ALL.iter().map(|c| c.explanation()).collect(),
        ),
        (
            "Losses on the way to a destination",
            "What is in a window and did not reach a destination: `profiler_delivery_losses_total{destination=.., cause=..}`, and in \
             samples and bytes `profiler_delivery_lost_samples_total` and `profiler_delivery_lost_bytes_total`.",
            DeliveryCause::ALL.iter().map(|c| c.explanation()).collect(),
        ),
        (
            "Ends of stacks",
            "How user stacks ended: `profiler_stacks_total{outcome=..}`. One that did not reach its root has a frame in the place of what is \
             missing, `[unwind: no_rule]` and its like; that of `truncated` is `[truncated]`.",
            Outcome::ALL.into_iter().map(mark::explain).collect(),
        ),
        (
            "Names in brackets",
            "Frames, and mappings of frames, that are no function of a program.",
            Mark::ALL.iter().map(|mark| mark.explanation()).collect(),
        ),
    ]
}

/// A clause as a sentence.
fn sentence(clause: &str) -> String {
    let mut characters = clause.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    let text: String = first.chain(characters).collect();
    format!("{}.", text.trim_end_matches('.'))
}

fn text() -> String {
    let mut text = HEAD.to_owned();
    for (heading, introduction, explanations) in sections() {
        text += &format!("\n## {heading}\n\n{introduction}\n");
        for explanation in explanations {
            let Explanation {
                name,
                unit,
                what,
                cause,
                fix,
            } = explanation;
            let what = sentence(&format!("{unit} {what}"));
            let fix = sentence(fix);
            text += &format!("\n### `{name}`\n\n{what} {cause}\n\n**What helps:** {fix}\n");
        }
    }
    text
}

#[test]
fn the_glossary_is_that_of_the_code() {
    let text = text();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PATH, &text).expect("the glossary is written");
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        written == text,
        "docs/glossary.md is stale: run `cargo xtask generate`"
    );
}

#[test]
fn explanations_read_as_they_are_put_together() {
    let mut names = std::collections::BTreeSet::new();
    for (heading, _, explanations) in sections() {
        for explanation in explanations {
            let name = explanation.name;
            assert!(names.insert(name), "{heading}: {name} is there twice");
            for clause in [explanation.unit, explanation.what, explanation.fix] {
                assert!(!clause.is_empty(), "{name}");
                assert!(!clause.ends_with('.'), "{name}: {clause}");
                assert!(!clause.contains("  "), "{name}: {clause}");
            }
            assert!(explanation.cause.ends_with('.'), "{name}");
            assert!(!explanation.cause.contains("  "), "{name}");
        }
    }
}

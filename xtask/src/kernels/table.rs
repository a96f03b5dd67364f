//! Tables of kernels and CPUs, from the results of the last `cargo xtask test --kernels`: a short one in the README, a row
//! for each guest in `docs/kernels.md`.
//!
//! That run leaves `target/kernels/results.json`; `cargo xtask generate` copies it to `docs/kernels.json` and writes each
//! table between two markers. Results and tables are committed, and `cargo xtask tidy` compares them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Cpu, SERIES};

/// What `tests/src/kernels/results.rs` writes of a check.
#[derive(Clone, Debug, Deserialize)]
struct Checked {
    kernel: String,
    release: String,
    cpu: String,
    #[serde(default)]
    hardware: String,
    check: String,
    passed: bool,
    facts: Facts,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Facts {
    /// Verified instructions of each program; `None` where the kernel does not count them.
    programs: BTreeMap<String, Option<u64>>,
    /// Another way in which the kernel was booted.
    variant: bool,
}

const BEGIN: &str =
    "<!-- Written by `cargo xtask generate` from docs/kernels.json: do not edit. -->\n";
const END: &str = "<!-- End of what is generated. -->\n";
const RESULTS: &str = "docs/kernels.json";

/// Makes a table of the results.
type Render = fn(&[Checked]) -> String;
/// The documents with a table.
const DOCUMENTS: [(&str, Render); 2] = [("README.md", render_short), ("docs/kernels.md", render)];
/// The check that is no profile.
const LOAD: &str = "load";

/// Takes the results of the last run, if there was a whole one, and writes the table.
pub(crate) fn generate(root: &Path) -> Result<()> {
    let committed = root.join(RESULTS);
    if let Ok(text) = fs::read_to_string(root.join("target/kernels/results.json")) {
        match missing(&parse(&text)?) {
            None => fs::write(&committed, text).context(RESULTS)?,
            Some(missing) => println!("{RESULTS} stays: the last run has no results of {missing}"),
        }
    }
    for (document, text) in written(root)? {
        fs::write(root.join(document), text).context(document)?;
    }
    Ok(())
}

/// Are the tables those that the committed results make?
pub(crate) fn check(root: &Path) -> Result<()> {
    for (document, text) in written(root)? {
        ensure!(
            fs::read_to_string(root.join(document)).context(document)? == text,
            "{document}: its table of kernels is not that of {RESULTS} (cargo xtask generate)"
        );
    }
    Ok(())
}

/// Each document with the table of the committed results.
fn written(root: &Path) -> Result<Vec<(&'static str, String)>> {
    let results = fs::read_to_string(root.join(RESULTS)).context(RESULTS)?;
    let results = parse(&results)?;
    let documents = DOCUMENTS.into_iter().map(|(document, render)| {
        let text = fs::read_to_string(root.join(document)).context(document)?;
        let text = replaced(&text, &render(&results)).context(document)?;
        Ok((document, text))
    });
    documents.collect()
}

fn parse(text: &str) -> Result<Vec<Checked>> {
    serde_json::from_str(text).context("results of kernels")
}

/// The first kernel that was not loaded or not profiled.
fn missing(results: &[Checked]) -> Option<String> {
    for series in SERIES {
        for cpu in Cpu::ALL {
            let of_kernel = |result: &&Checked| {
                result.kernel == series && result.cpu == cpu.name() && result.hardware.is_empty()
            };
            let of_kernel: Vec<&Checked> = results.iter().filter(of_kernel).collect();
            let loads = of_kernel.iter().any(|result| result.check == LOAD);
            if !loads || of_kernel.len() < 2 {
                return Some(format!("{series} on {}", cpu.name()));
            }
        }
    }
    None
}

/// The text with another table between the markers.
fn replaced(text: &str, table: &str) -> Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .context("no place for the table of kernels")?;
    let (_, after) = rest
        .split_once(END)
        .context("the table of kernels does not end")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// One row for each kernel, in the order of the results: how many of its checks passed on each CPU.
fn render_short(results: &[Checked]) -> String {
    let mut series: Vec<&str> = results.iter().map(|result| &*result.kernel).collect();
    series.dedup();
    let mut text = "| Linux | x86_64 | arm64 |\n|---|---|---|\n".to_owned();
    for series in series {
        let cell = |cpu: Cpu| {
            let of_cpu = |result: &&Checked| result.kernel == series && result.cpu == cpu.name();
            summary(results.iter().filter(of_cpu))
        };
        let [x86_64, arm64] = Cpu::ALL.map(cell);
        let _infallible = writeln!(text, "| {series} | {x86_64} | {arm64} |");
    }
    text
}

/// One row for each kernel, CPU and kind of hardware, in the order of the results.
fn render(results: &[Checked]) -> String {
    let mut rows: Vec<Vec<&Checked>> = Vec::new();
    for result in results {
        let same = |row: &Vec<&Checked>| key(row[0]) == key(result);
        match rows.iter_mut().find(|row| same(row)) {
            Some(row) => row.push(result),
            None => rows.push(vec![result]),
        }
    }
    let mut text = "| kernel of Debian | CPU | programs | profiles | booted otherwise |\n|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let first = row[0];
        let cpu = match first.hardware.as_str() {
            "" => first.cpu.clone(),
            hardware => format!("{}, {hardware}", first.cpu),
        };
        let of = |variant: bool| {
            let others = row.iter().filter(|result| result.check != LOAD);
            others.filter(move |result| result.facts.variant == variant)
        };
        let load = row.iter().find(|result| result.check == LOAD);
        let _infallible = writeln!(
            text,
            "| {} | {cpu} | {} | {} | {} |",
            first.release,
            load.map_or_else(String::new, |load| programs(load)),
            summary(of(false).copied()),
            variants(of(true).copied()),
        );
    }
    text
}

fn key(result: &Checked) -> [&str; 3] {
    [&result.kernel, &result.cpu, &result.hardware]
}

fn programs(load: &Checked) -> String {
    if !load.passed {
        return "**refused**".to_owned();
    }
    let most = load.facts.programs.values().flatten().max();
    most.map_or_else(
        || "verified".to_owned(),
        |most| format!("verified, {most} instructions at most"),
    )
}

fn summary<'a>(checks: impl Iterator<Item = &'a Checked> + Clone) -> String {
    let all = checks.clone().count();
    let failed: Vec<&str> = checks
        .filter(|check| !check.passed)
        .map(|check| check.check.as_str())
        .collect();
    match (all, failed.len()) {
        (0, _) => String::new(),
        (all, 0) => format!("{all} of {all}"),
        (all, count) => format!("{} of {all}; not {}", all - count, failed.join(", ")),
    }
}

fn variants<'a>(checks: impl Iterator<Item = &'a Checked>) -> String {
    let names = checks.map(|check| {
        if check.passed {
            check.check.clone()
        } else {
            format!("**not** {}", check.check)
        }
    });
    names.collect::<Vec<String>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"[
        {"kernel":"6.1","release":"6.1.0-57","cpu":"x86_64","hardware":"","check":"chain","passed":true,"facts":{"samples":9}},
        {"kernel":"6.1","release":"6.1.0-57","cpu":"x86_64","hardware":"","check":"load","passed":true,
            "facts":{"programs":{"sample":20,"fork":3,"other":null}}},
        {"kernel":"6.1","release":"6.1.0-57","cpu":"x86_64","hardware":"","check":"Rust","passed":false,"facts":{}},
        {"kernel":"6.1","release":"6.1.0-57","cpu":"x86_64","hardware":"","check":"nosmp","passed":true,"facts":{"variant":true}},
        {"kernel":"7.3","release":"7.3.4","cpu":"arm64","hardware":"16 KiB pages","check":"load","passed":false,"facts":{}}
    ]"#;

    #[test]
    fn a_row_says_what_passed_and_what_did_not() {
        let table = render(&parse(TEXT).unwrap());
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| 6.1.0-57 | x86_64 | verified, 20 instructions at most | 1 of 2; not Rust | nosmp |",
                "| 7.3.4 | arm64, 16 KiB pages | **refused** |  |  |",
            ]
        );
    }

    #[test]
    fn the_short_table_counts_the_checks_of_a_kernel() {
        let table = render_short(&parse(TEXT).unwrap());
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| 6.1 | 3 of 4; not Rust |  |",
                "| 7.3 |  | 0 of 1; not load |"
            ]
        );
    }

    #[test]
    fn a_run_that_was_not_whole_is_no_source_of_the_table() {
        assert_eq!(
            missing(&parse(TEXT).unwrap()).as_deref(),
            Some("5.10 on x86_64")
        );
    }

    #[test]
    fn what_is_around_the_table_stays() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}new\n{END}b\n"));
        assert!(replaced("a\n", "new\n").is_err());
    }
}

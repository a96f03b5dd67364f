//! The house rules that the compiler does not know, made executable.
//!
//! - Stages know only what lies below all of them, but `inspect` stands on `unwind`; dependencies point one way (`profile` <- stages <- `config` <-
//!   `app` <- `cli`); what speaks BPF, protobuf or to a symbolizer stays in its stage.
//! - Folders that were once free of circles stay so: no two modules in them import each other, directly or through others.
//! - Files stay short; modules have names that say something.
//! - Nothing is left undone, silenced or waited for.
//! - The agent neither reads nor names a version of the kernel.
//! - Every dependency has its reason in ARCHITECTURE.md.
//! - The tables of kernels in README and docs/kernels.md are those of the committed results.
//! - Links between documents lead somewhere.

mod circles;
mod dependency;
mod direction;
mod imports;
mod links;
mod source;
mod version;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::kernels::table;
use crate::workspace;
use circles::Circles;
use source::Source;

/// Lines from which a file is worth a second look.
const LOOK_TWICE: usize = 400;
/// Lines above which a file fails.
const TOO_LONG: usize = 600;
/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

const FORBIDDEN_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "manager", "types", "misc",
];

/// What no source may hold, with what to do instead.
const FORBIDDEN_CODE: &[(&str, &str)] = &[
    ("todo!", "write it"),
    ("unimplemented!", "write it"),
    ("#[allow(", "use #[expect(.., reason = \"..\")]"),
    ("#![allow(", "use #![expect(.., reason = \"..\")]"),
    ("dbg!", "remove it"),
];

/// What no source may hold even in a comment.
const FORBIDDEN_WORDS: &[&str] = &["FIXME", "TODO", "XXX"];

/// Checks every source; an error that lists what is against the rules.
pub(crate) fn run() -> Result<()> {
    let root = workspace();
    let mut findings = Vec::new();
    let mut circles = Circles::default();
    for directory in [
        "profiler-common",
        "profiler-ebpf",
        "profiler-agent",
        "xtask",
        "tests",
    ] {
        for path in rust_files(&root.join(directory))? {
            let relative = path.strip_prefix(&root).expect("found in the workspace");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let source = Source::new(relative, &text);
            check(&source, &mut findings);
            circles.add(&source);
        }
    }
    circles.check(&mut findings);
    direction::check_tables(&modules(&root.join("profiler-agent/src"))?, &mut findings);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml")?;
    let architecture =
        fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    dependency::check(&manifest, &architecture, &mut findings)?;
    links::check(&root, &mut findings)?;
    if let Err(error) = table::check(&root) {
        findings.push(format!("{error:#}"));
    }
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    bail!("{} findings", findings.len());
}

fn check(source: &Source<'_>, findings: &mut Vec<String>) {
    check_length(source, findings);
    check_name(source, findings);
    check_content(source, findings);
    direction::check(source, findings);
    version::check(source, findings);
}

fn check_length(source: &Source<'_>, findings: &mut Vec<String>) {
    let lines = source.text.lines().count();
    let path = source.path.display();
    let limit = if source.path == Path::new("profiler-agent/src/main.rs") {
        60
    } else {
        TOO_LONG
    };
    if lines > limit
        && !LONG_FILES
            .iter()
            .any(|(long, _)| source.path == Path::new(long))
    {
        findings.push(format!("{path}: {lines} lines, {limit} are too long"));
    } else if lines > LOOK_TWICE {
        println!("look twice: {path} has {lines} lines");
    }
}

fn check_name(source: &Source<'_>, findings: &mut Vec<String>) {
    // The crate `profiler-common` is named by the house; its modules are not exempt.
    for part in source.path.iter().filter_map(|part| part.to_str()) {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        if FORBIDDEN_NAMES.contains(&name) {
            findings.push(format!("{}: `{name}` names nothing", source.path.display()));
        }
    }
}

fn check_content(source: &Source<'_>, findings: &mut Vec<String>) {
    let path = source.path.display();
    for (number, line) in (1..).zip(source.code.lines()) {
        for (code, instead) in FORBIDDEN_CODE {
            if line.contains(code) {
                findings.push(format!("{path}:{number}: `{code}`: {instead}"));
            }
        }
        let waits = line.contains("thread::sleep") || line.contains("time::sleep");
        if waits && source.path.starts_with("tests") {
            findings.push(format!(
                "{path}:{number}: a test that sleeps: wait for what it waits for"
            ));
        }
    }
    // This file has to spell them.
    if source.path == Path::new("xtask/src/tidy.rs") {
        return;
    }
    for (number, line) in (1..).zip(source.text.lines()) {
        for word in FORBIDDEN_WORDS {
            if line
                .split(|c: char| !c.is_alphanumeric())
                .any(|part| part == *word)
            {
                findings.push(format!("{path}:{number}: `{word}`: do it or file an issue"));
            }
        }
    }
}

/// The modules of a crate, by their files and directories.
fn modules(source: &Path) -> Result<BTreeSet<String>> {
    let mut modules = BTreeSet::new();
    for entry in fs::read_dir(source).with_context(|| source.display().to_string())? {
        let path = entry?.path();
        let is_module = path.is_dir() || path.extension().is_some_and(|found| found == "rs");
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if is_module && name != "lib" && name != "main" {
            modules.insert(name.into_owned());
        }
    }
    Ok(modules)
}

fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        if !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Source::new(Path::new(path), text), &mut findings);
        findings
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(findings("profiler-agent/src/unwind/utils.rs", "").len(), 1);
        assert_eq!(findings("profiler-agent/src/common/rows.rs", "").len(), 1);
        assert!(findings("profiler-common/src/layout/sample.rs", "").is_empty());
    }

    #[test]
    fn what_is_undone_or_silenced_is_found_in_code_and_not_in_strings() {
        assert_eq!(findings("tests/src/a.rs", "fn a() { todo!() }").len(), 1);
        assert_eq!(
            findings("tests/src/a.rs", "#[allow(dead_code)] fn a() {}").len(),
            1
        );
        assert!(findings("tests/src/a.rs", "const A: &str = \"todo!\"; // todo!").is_empty());
        assert_eq!(findings("tests/src/a.rs", "// FIXME: later").len(), 1);
    }

    #[test]
    fn a_sleep_is_found_in_tests_alone() {
        let text = "fn a() { std::thread::sleep(A) }";
        assert_eq!(findings("tests/suites/a.rs", text).len(), 1);
        assert!(findings("profiler-agent/src/collect/a.rs", text).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(
            findings("xtask/src/a.rs", &"\n".repeat(TOO_LONG + 1)).len(),
            1
        );
        assert!(findings("xtask/src/a.rs", &"\n".repeat(TOO_LONG)).is_empty());
    }

    #[test]
    fn a_stage_that_imports_a_stage_is_found() {
        let path = "profiler-agent/src/process/table.rs";
        assert_eq!(findings(path, "use crate::collect::Ring;").len(), 1);
        assert!(findings(path, "use crate::profile::Pc;").is_empty());
    }
}

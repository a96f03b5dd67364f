//! Links between documents lead to files, and to headings, that are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

/// Where documents are.
const DIRECTORIES: [&str; 3] = ["", "docs", "profiler-agent/src/page"];

/// Checks the relative links of every document.
pub(super) fn check(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let read = |path: &Path| {
        let content = fs::read(root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&content).into_owned())
    };
    for directory in DIRECTORIES {
        for entry in fs::read_dir(root.join(directory)).context(directory)? {
            let document = Path::new(directory).join(entry.context(directory)?.file_name());
            if document.extension().is_some_and(|ending| ending == "md") {
                check_document(&document, read, findings);
            }
        }
    }
    Ok(())
}

/// `read` gives the text of a file of the project.
fn check_document(
    document: &Path,
    read: impl Fn(&Path) -> Option<String>,
    findings: &mut Vec<String>,
) {
    let text = read(document).unwrap_or_default();
    let directory = document.parent().unwrap_or(Path::new(""));
    for link in links(&text) {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = match file {
            "" => document.to_path_buf(),
            file => plain(&directory.join(file)),
        };
        let missing = match read(&target) {
            None => "file",
            Some(text) if !heading.is_empty() && !anchors(&text).contains(heading) => "heading",
            Some(_) => continue,
        };
        findings.push(format!(
            "{}: {link} leads to no {missing}",
            document.display()
        ));
    }
}

/// Targets of the links that lead to files of the project.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

/// What headings are linked by: small letters, digits and hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        if let (false, Some(heading)) = (in_code, line.strip_prefix('#')) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            anchors.insert(kept.collect::<String>().replace(' ', "-"));
        }
    }
    anchors
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_found() {
        let readme = "# A\n[1](docs/b.md) [2](docs/b.md#two-words) [3](#a) [4](docs/c.md) [5](docs/b.md#three) [6](#b)\n\
             [7](https://example.org/x)\n```\n# no heading\n```\n[8](#no-heading)\n";
        let read = |path: &Path| match path.to_str() {
            Some("README.md") => Some(readme.to_owned()),
            Some("docs/b.md") => Some("## Two `words`\n[1](../README.md)\n".to_owned()),
            _ => None,
        };
        let mut findings = Vec::new();
        check_document(Path::new("README.md"), read, &mut findings);
        check_document(Path::new("docs/b.md"), read, &mut findings);
        assert_eq!(
            findings,
            [
                "README.md: docs/c.md leads to no file",
                "README.md: docs/b.md#three leads to no heading",
                "README.md: #b leads to no heading",
                "README.md: #no-heading leads to no heading",
            ]
        );
    }
}

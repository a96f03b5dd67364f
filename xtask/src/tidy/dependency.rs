//! Every dependency has its reason.

use anyhow::{Context, Result};

/// Each dependency of the workspace has a row of its own in ARCHITECTURE.md's table, and each row a
/// dependency.
pub(super) fn check(manifest: &str, architecture: &str, findings: &mut Vec<String>) -> Result<()> {
    let manifest: toml::Table = manifest.parse().context("Cargo.toml")?;
    let dependencies = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(toml::Value::as_table)
        .context("Cargo.toml: no [workspace.dependencies]")?;
    let rows: Vec<&str> = architecture.lines().filter_map(row_name).collect();
    for (name, dependency) in dependencies {
        if dependency.get("path").is_none() && !rows.contains(&name.as_str()) {
            findings.push(format!(
                "ARCHITECTURE.md: no reason for the dependency `{name}`"
            ));
        }
    }
    for row in rows {
        if !dependencies.contains_key(row) {
            findings.push(format!("ARCHITECTURE.md: `{row}` is no dependency"));
        }
    }
    Ok(())
}

/// The name in a row of the table of dependencies: "| crate `name` | reason |".
fn row_name(line: &str) -> Option<&str> {
    let (name, reason) = line.strip_prefix("| crate `")?.split_once("` |")?;
    (reason.trim_matches(['|', ' ']).len() > 10).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::check;

    const MANIFEST: &str = "[workspace.dependencies]\ngimli = \"1\"\nown = { path = \"own\" }\n";

    fn findings(architecture: &str) -> usize {
        let mut findings = Vec::new();
        check(MANIFEST, architecture, &mut findings).unwrap();
        findings.len()
    }

    #[test]
    fn a_reason_is_asked_for_and_must_be_one() {
        assert_eq!(
            findings("| crate `gimli` | reads call frame information |"),
            0
        );
        assert_eq!(findings("| crate `gimli` |  |"), 1);
        assert_eq!(findings("uses `gimli`"), 1);
    }

    #[test]
    fn a_row_of_a_dependency_that_is_gone_is_found() {
        let text = "| crate `gimli` | reads call frame information |\n| crate `gone` | did something once |";
        assert_eq!(findings(text), 1);
    }
}

//! docs/commands.md has every command with every option of it, and none that there is not.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Arg, CommandFactory as _};

use super::Arguments;

/// Options of every command, which the document does not repeat.
const EVERYWHERE: [&str; 2] = ["help", "version"];

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/commands.md");
    std::fs::read_to_string(path).unwrap()
}

/// What stands below the heading of a command, up to the next.
fn section<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let heading = format!("\n## {name}\n");
    let start = document.find(&heading)? + heading.len();
    let rest = &document[start..];
    Some(rest.find("\n## ").map_or(rest, |end| &rest[..end]))
}

/// The long options that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let is_of_option = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let behind_dashes = text.match_indices("--").map(|(at, _)| &text[at + 2..]);
    let options = behind_dashes.filter_map(|rest| {
        let end = rest.find(|c| !is_of_option(c)).unwrap_or(rest.len());
        let begins = rest.starts_with(|c: char| c.is_ascii_lowercase());
        (begins && !EVERYWHERE.contains(&&rest[..end])).then_some(&rest[..end])
    });
    options.collect()
}

#[test]
fn every_option_is_documented_and_every_documented_one_exists() {
    let document = document();
    let command = Arguments::command();
    assert!(command.get_subcommands().count() >= 5);
    for command in command.get_subcommands() {
        let name = command.get_name();
        let section = section(&document, name).unwrap_or_else(|| panic!("no section ## {name}"));
        let options: Vec<&Arg> = command.get_arguments().collect();
        let long: BTreeSet<&str> = options
            .iter()
            .filter_map(|option| option.get_long())
            .collect();
        assert_eq!(named(section), long, "docs/commands.md, {name}");
        for short in options.iter().filter_map(|option| option.get_short()) {
            assert!(section.contains(&format!("`-{short}")), "{name} -{short}");
        }
    }
}

#[test]
fn options_are_found_in_a_text() {
    let text = "# A\n\n## one\n`-p`, `--pid PID` --off-cpu-threshold=2 | --- | -- COMMAND --help\n### x\n--json.\n\n## two\n--no\n";
    let one = section(text, "one").unwrap();
    assert_eq!(
        named(one),
        BTreeSet::from(["json", "off-cpu-threshold", "pid"])
    );
    assert_eq!(named(section(text, "two").unwrap()), BTreeSet::from(["no"]));
    assert_eq!(section(text, "three"), None);
}

//! Which module of the agent may know which.

use std::collections::BTreeSet;
use std::path::Path;

use super::imports::{From, paths, statements};
use super::source::Source;

/// What lies below the stages, each with what it may import; everything above may import them.
const FOUNDATIONS: &[(&str, &[&str])] = &[
    ("profile", &[]),
    ("bounded_file", &["profile"]),
    ("confine", &["profile"]),
    ("elf", &["profile"]),
    ("go", &["profile", "elf"]),
    ("listen", &["profile"]),
    ("thread_local", &["profile", "elf"]),
];

/// Modules above the stages, each with what it may import beside the foundations.
const LAYERS: &[(&str, &[&str])] = &[
    ("config", &["*stages"]),
    ("app", &["*stages", "config"]),
    ("cli", &["*stages", "config", "app"]),
];

const STAGES: &[&str] = &[
    "aggregate",
    "collect",
    "correlate",
    "enrich",
    "export",
    "inspect",
    "page",
    "process",
    "spool",
    "store",
    "symbolize",
    "telemetry",
    "unwind",
];

/// The stage that stands on another one, whose work it does on threads of its own, each with what it stands on. What
/// every stage may know is a foundation; a second pair here wants as good a reason.
const STANDS_ON: (&str, &str) = ("inspect", "unwind");

/// Crates that stay in one place of the agent. Files of tests may have them: servers that the agent talks to.
const CONFINED: &[(&str, &[&str])] = &[
    ("aya", &["collect"]),
    ("aya_obj", &["collect"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_proto", &["export"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("axum", &["listen", "page", "telemetry"]),
    ("redb", &["bounded_file", "store", "spool"]),
    ("anyhow", &["cli"]),
    ("clap", &["cli"]),
];

/// Checks the tables above against the agent's `modules`: a module that is in none of them may import whatever it likes.
pub(super) fn check_tables(modules: &BTreeSet<String>, findings: &mut Vec<String>) {
    const TABLES: &str = "xtask/src/tidy/direction.rs";
    for module in modules.iter().filter(|module| !is_module(module)) {
        findings.push(format!(
            "{TABLES}: the agent's module `{module}` is in no table: say what it may import"
        ));
    }
    let foundations = FOUNDATIONS.iter().map(|(module, _)| *module);
    let layers = LAYERS.iter().map(|(layer, _)| *layer);
    let known = foundations.chain(layers).chain(STAGES.iter().copied());
    for module in known.filter(|module| !modules.contains(*module)) {
        findings.push(format!(
            "{TABLES}: the agent has no module `{module}`: remove it"
        ));
    }
}

/// Checks the imports of one source of the agent.
pub(super) fn check(source: &Source<'_>, findings: &mut Vec<String>) {
    let Ok(inside) = source.path.strip_prefix("profiler-agent/src") else {
        return;
    };
    let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
    let Some(module) = parts
        .first()
        .map(|part| part.strip_suffix(".rs").unwrap_or(part))
    else {
        return;
    };
    if parts.len() == 1 && matches!(module, "main" | "lib") {
        return;
    }
    for (number, line) in (1..).zip(statements(&source.code)) {
        for imported in imported_modules(&line, depth(inside)) {
            if imported != module && is_module(&imported) && !may_import(module, &imported) {
                let path = source.path.display();
                findings.push(format!(
                    "{path}: statement {number}: `{module}` imports `{imported}`"
                ));
            }
        }
        let of_tests = inside.to_string_lossy().ends_with("tests.rs");
        for (confined, places) in CONFINED {
            if !of_tests && !places.contains(&module) && names_crate(&line, confined) {
                let path = source.path.display();
                findings.push(format!(
                    "{path}: statement {number}: `{confined}` outside of {places:?}"
                ));
            }
        }
    }
}

fn may_import(module: &str, imported: &str) -> bool {
    if let Some((_, allowed)) = foundation(module) {
        return allowed.contains(&imported);
    }
    let allowed = LAYERS
        .iter()
        .find(|(layer, _)| *layer == module)
        .map_or(&[][..], |(_, allowed)| allowed);
    foundation(imported).is_some()
        || STANDS_ON == (module, imported)
        || allowed.contains(&imported)
        || (allowed.contains(&"*stages") && STAGES.contains(&imported))
}

fn foundation(name: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    FOUNDATIONS.iter().find(|(module, _)| *module == name)
}

fn is_module(name: &str) -> bool {
    STAGES.contains(&name)
        || foundation(name).is_some()
        || LAYERS.iter().any(|(layer, _)| *layer == name)
}

/// Number of `super` from this file to the crate's root.
fn depth(inside: &Path) -> usize {
    let parts = inside.iter().count();
    if inside.file_name().is_some_and(|name| name == "mod.rs") {
        parts - 1
    } else {
        parts
    }
}

/// The first names of the paths from the crate's root that a statement has.
fn imported_modules(statement: &str, depth: usize) -> Vec<String> {
    let from_root = paths(statement).into_iter().filter(|path| match path.from {
        From::Root => true,
        From::Above(above) => above >= depth,
    });
    from_root
        .filter_map(|path| path.names.into_iter().next())
        .collect()
}

fn names_crate(statement: &str, name: &str) -> bool {
    statement.match_indices(name).any(|(at, _)| {
        let before = statement[..at].chars().next_back();
        let after = &statement[at + name.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.')
            && after.starts_with("::")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        let mut findings = Vec::new();
        check(&Source::new(Path::new(path), text), &mut findings);
        findings.len()
    }

    #[test]
    fn every_way_to_write_an_import_is_seen() {
        let path = "profiler-agent/src/process/table.rs";
        for text in [
            "use crate::collect::Ring;",
            "use crate::{profile::Pc, collect::Ring};",
            "use crate::{\n    profile::{Pc, app},\n    collect,\n};",
            "fn f(r: crate::collect::Ring) {}",
            "use super::super::collect::Ring;",
            "pub(crate) use crate::app::build;",
        ] {
            assert_eq!(findings(path, text), 1, "{text}");
        }
        for text in [
            "use crate::profile::{Pc, process::Process};",
            "use crate::process::maps;",
            "use super::collect;",
            "// use crate::collect::Ring;",
            "use crate::{profile::{collect, app}};",
        ] {
            assert_eq!(findings(path, text), 0, "{text}");
        }
    }

    #[test]
    fn the_tables_name_the_modules_that_there_are() {
        let foundations = FOUNDATIONS.iter().map(|(module, _)| *module);
        let layers = LAYERS.iter().map(|(layer, _)| *layer);
        let known = foundations.chain(layers).chain(STAGES.iter().copied());
        let known: BTreeSet<String> = known.map(str::to_owned).collect();
        let findings = |modules: &BTreeSet<String>| {
            let mut findings = Vec::new();
            check_tables(modules, &mut findings);
            findings
        };
        assert_eq!(findings(&known), Vec::<String>::new());
        let mut more = known.clone();
        more.insert("new".to_owned());
        let found = findings(&more);
        assert!(
            found.len() == 1 && found[0].contains("`new` is in no table"),
            "{found:?}"
        );
        for gone in ["go", "config", "page"] {
            let mut fewer = known.clone();
            fewer.remove(gone);
            let found = findings(&fewer);
            let said = format!("no module `{gone}`");
            assert!(found.len() == 1 && found[0].contains(&said), "{found:?}");
        }
    }

    #[test]
    fn layers_point_one_way() {
        assert_eq!(
            findings(
                "profiler-agent/src/profile/time.rs",
                "use crate::unwind::Rows;"
            ),
            1
        );
        assert_eq!(
            findings("profiler-agent/src/config/mod.rs", "use crate::app::build;"),
            1
        );
        assert_eq!(
            findings("profiler-agent/src/app/build.rs", "use crate::cli::main;"),
            1
        );
        assert_eq!(
            findings(
                "profiler-agent/src/app/build.rs",
                "use crate::{config, collect};"
            ),
            0
        );
        assert_eq!(
            findings("profiler-agent/src/cli/record.rs", "use crate::app::build;"),
            0
        );
        assert_eq!(
            findings(
                "profiler-agent/src/collect/mod.rs",
                "use super::process::Table;"
            ),
            1
        );
    }

    #[test]
    fn what_lies_below_the_stages_knows_no_stage() {
        let path = "profiler-agent/src/go/find.rs";
        assert_eq!(findings(path, "use crate::symbolize::Symbolizer;"), 1);
        assert_eq!(findings(path, "use crate::confine::open_in_root;"), 1);
        assert_eq!(findings(path, "use crate::profile::ElfAddress;"), 0);
        assert_eq!(findings(path, "use crate::elf::Segments;"), 0);
        let path = "profiler-agent/src/elf/note.rs";
        assert_eq!(findings(path, "use crate::go::Version;"), 1);
        let path = "profiler-agent/src/unwind/build.rs";
        assert_eq!(
            findings(path, "use crate::{confine, go::LineTable, profile::Pc};"),
            0
        );
        let path = "profiler-agent/src/profile/time.rs";
        assert_eq!(findings(path, "use crate::go::Version;"), 1);
    }

    #[test]
    fn one_stage_stands_on_another_one() {
        let path = "profiler-agent/src/inspect/tables.rs";
        assert_eq!(findings(path, "use crate::unwind::Layout;"), 0);
        for other in ["collect", "process", "enrich", "app"] {
            assert_eq!(findings(path, &format!("use crate::{other}::X;")), 1);
        }
        let back = "profiler-agent/src/unwind/page.rs";
        assert_eq!(findings(back, "use crate::inspect::Order;"), 1);
    }

    #[test]
    fn crates_stay_where_they_belong() {
        assert_eq!(
            findings("profiler-agent/src/process/a.rs", "use aya::Ebpf;"),
            1
        );
        assert_eq!(
            findings("profiler-agent/src/collect/a.rs", "use aya::Ebpf;"),
            0
        );
        assert_eq!(
            findings("profiler-agent/src/page/a.rs", "fn f() { papaya::f() }"),
            0
        );
    }
}

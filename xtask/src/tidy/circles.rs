//! Modules of one folder that import each other, directly or through others: none of them can be read alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::imports::{From, paths, statements};
use super::source::Source;

/// The modules of the agent in whose folders there are no circles. More may be added, none may be left out again.
const FREE: &[&str] = &[
    "aggregate",
    "app",
    "bounded_file",
    "confine",
    "correlate",
    "elf",
    "enrich",
    "inspect",
    "listen",
    "store",
    "unwind",
];

type Module = Vec<String>;

/// The imports of all sources so far.
#[derive(Default)]
pub(super) struct Circles {
    /// Each module with the paths that it names.
    named: Vec<(Module, Module)>,
    modules: BTreeSet<Module>,
}

impl Circles {
    /// Takes in a source of the agent. What is compiled for tests alone does not count.
    pub(super) fn add(&mut self, source: &Source<'_>) {
        let Ok(inside) = source.path.strip_prefix("profiler-agent/src") else {
            return;
        };
        let module = module_of(inside);
        if !module.first().is_some_and(|first| FREE.contains(&&**first)) {
            return;
        }
        self.modules.insert(module.clone());
        if module.iter().any(|part| part.ends_with("tests")) {
            return;
        }
        let code = source.code.split("#[cfg(test)]\nmod ").next();
        for path in statements(code.unwrap_or_default()).flat_map(|line| paths(&line)) {
            let from = match path.from {
                From::Root => 0,
                From::Above(above) => module.len().saturating_sub(above),
            };
            let named = [&module[..from], &path.names].concat();
            self.named.push((module.clone(), named));
        }
    }

    /// Says which modules are in a circle.
    pub(super) fn check(&self, findings: &mut Vec<String>) {
        let mut imports: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        for (module, named) in &self.named {
            let both = module.iter().zip(named);
            let shared = both.take_while(|(one, other)| one == other).count();
            let (Some(importer), Some(imported)) = (module.get(shared), named.get(shared)) else {
                continue;
            };
            if shared > 0 && self.modules.contains(&named[..=shared]) {
                let of_folder = imports.entry(&module[..shared]).or_default();
                of_folder.entry(importer).or_default().insert(imported);
            }
        }
        for (folder, imports) in &imports {
            for (importer, imported) in imports {
                for name in imported
                    .iter()
                    .filter(|name| reaches(imports, name, importer))
                {
                    let folder = folder.join("/");
                    findings.push(format!(
                        "profiler-agent/src/{folder}: `{importer}` imports `{name}`, which leads back to it"
                    ));
                }
            }
        }
    }
}

/// Does `from` import `to`, directly or through others?
fn reaches(imports: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut left = vec![from];
    while let Some(module) = left.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            left.extend(imports.get(module).into_iter().flatten());
        }
    }
    false
}

fn module_of(inside: &Path) -> Module {
    let path = inside.with_extension("");
    let parts = path.iter().filter_map(|part| part.to_str());
    let mut module: Module = parts.map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(sources: &[(&str, &str)]) -> usize {
        let mut circles = Circles::default();
        for (path, text) in sources {
            let path = format!("profiler-agent/src/{path}");
            circles.add(&Source::new(Path::new(&path), text));
        }
        let mut findings = Vec::new();
        circles.check(&mut findings);
        findings.len()
    }

    #[test]
    fn modules_that_import_each_other_are_found() {
        let tables = ("app/tables.rs", "use super::queue::Order;");
        assert_eq!(findings(&[tables, ("app/queue.rs", "")]), 0);
        let back = ("app/queue.rs", "use crate::app::{tables::Page};");
        assert_eq!(findings(&[tables, back]), 2);
        // Through a file further inside, and through a third module.
        let inside = ("app/queue/one.rs", "use super::super::third::Third;");
        let third = ("app/third.rs", "use super::tables::Page;");
        let queue = ("app/queue.rs", "mod one;");
        assert_eq!(findings(&[tables, queue, inside, third]), 3);
    }

    #[test]
    fn a_parent_its_child_and_what_is_no_module_are_no_circle() {
        let parent = ("app/tables.rs", "use self::queue::Order;");
        let child = ("app/tables/queue.rs", "use super::Table;");
        assert_eq!(findings(&[parent, child]), 0);
    }

    #[test]
    fn what_is_for_tests_alone_does_not_count() {
        let tables = ("app/tables.rs", "use super::queue::Order;");
        let text = "#[cfg(test)]\nmod tests {\n    use crate::app::tables::Page;\n}";
        assert_eq!(findings(&[tables, ("app/queue.rs", text)]), 0);
        let tests = ("app/queue/tests.rs", "use crate::app::tables::Page;");
        assert_eq!(findings(&[tables, ("app/queue.rs", ""), tests]), 0);
    }
}

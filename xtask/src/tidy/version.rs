//! What the kernel can do is found by trying: the agent reads no version of it and names none. Comments may.

use std::path::Path;

use super::source::Source;

/// What reads the kernel's version; the latter two where `uname` is called, which also says the host's name.
const READERS: &[&str] = &["KernelVersion", ".release()", ".version()"];
/// Where it can be read.
const PLACES: &[&str] = &["/proc/version", "kernel/osrelease", "kernel/version"];

/// Checks one source of the agent or of its programs.
pub(super) fn check(source: &Source<'_>, findings: &mut Vec<String>) {
    let of_the_agent = [
        "profiler-agent/src",
        "profiler-common/src",
        "profiler-ebpf/src",
    ]
    .iter()
    .any(|directory| source.path.starts_with(directory));
    if !of_the_agent || is_of_tests(source.path) {
        return;
    }
    let path = source.path.display();
    // What tests name is no message.
    let until = source
        .text
        .lines()
        .position(|line| line.trim() == "#[cfg(test)]")
        .map_or(usize::MAX, |line| line + 1);
    let readers = if source.code.contains("uname(") {
        READERS
    } else {
        &READERS[..1]
    };
    for (number, line) in (1..until).zip(source.code.lines()) {
        for reader in readers.iter().filter(|reader| line.contains(**reader)) {
            findings.push(format!(
                "{path}:{number}: `{reader}`: find out what the kernel can do by trying"
            ));
        }
    }
    for (number, literal) in source.literals.iter().filter(|(line, _)| *line < until) {
        if PLACES.iter().any(|place| literal.contains(place)) {
            findings.push(format!(
                "{path}:{number}: the kernel's version is read: find out what it can do by trying"
            ));
        } else if let Some(version) = kernel_version(literal) {
            findings.push(format!(
                "{path}:{number}: `{version}` in a text: name what the kernel lacks, not its version"
            ));
        }
    }
}

fn is_of_tests(path: &Path) -> bool {
    path.iter()
        .any(|part| matches!(part.to_str(), Some("tests" | "tests.rs" | "truth")))
        || path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| stem.ends_with("_tests"))
}

/// A version of the kernel in a text: two numbers of which the first is one that Linux had since 2011 (3 to 7), or a
/// number behind its name.
fn kernel_version(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let mut at = 0;
    for word in text.split(|c: char| !is_part(c)) {
        let start = text[at..].find(word).map_or(at, |found| at + found);
        at = start + word.len();
        let number = word.trim_matches('.');
        if number.is_empty() {
            continue;
        }
        let before = text[..start].trim_end();
        let named = before.len() < start
            && ["Linux", "linux", "kernel", "Kernel"]
                .iter()
                .any(|name| before.ends_with(name));
        let parts: Vec<&str> = number.split('.').collect();
        let behind_a_letter = text[..start]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '{' || c == ':');
        let looks_like_one = (2..=3).contains(&parts.len())
            && matches!(parts[0], "3" | "4" | "5" | "6" | "7")
            && parts[1].len() <= 2
            && !behind_a_letter;
        if named || looks_like_one {
            return Some(number);
        }
    }
    None
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
    fn a_version_in_a_message_is_found_and_in_a_comment_not() {
        let path = "profiler-agent/src/collect/a.rs";
        for text in [
            "f(\"Linux 5.17 or later is needed\")",
            "f(\"a kernel 6 is needed\")",
            "f(r\"since 5.8\")",
            "f(b\"4.18.0\")",
            "fn f() {\n    fail(\"needs 7.0\")\n}",
        ] {
            assert_eq!(findings(path, text), 1, "{text}");
        }
        for text in [
            "// Linux 5.17 or later",
            "/// Kernels before 5.12 answer EINVAL.\nfn f() {}",
            "f(\"127.0.0.1 and 10.0.5.17\")",
            "f(\"text/plain; version=0.0.4\")",
            "f(\"TLS 1.3\")",
            "f(\"{seconds:.1} s of {0:5.2}\")",
            "f(\"the kernel has no memory for it\")",
            "f(\"CONFIG_BPF_SYSCALL=y\")",
            "f('5')",
            "let ratio = 5.17;",
            "f()\n#[cfg(test)]\nmod tests { const A: &str = \"5.17\"; }",
        ] {
            assert_eq!(findings(path, text), 0, "{text}");
        }
        assert_eq!(findings("xtask/src/a.rs", "f(\"Linux 5.17\")"), 0);
        assert_eq!(
            findings("profiler-agent/src/collect/a/tests.rs", "f(\"5.17\")"),
            0
        );
    }

    #[test]
    fn whoever_reads_the_version_is_found() {
        let path = "profiler-agent/src/app/a.rs";
        for text in [
            "use aya::util::KernelVersion;",
            "let uname = uname();\nlet release = uname.release();",
            "read(\"/proc/sys/kernel/osrelease\")",
            "read(\"/proc/version\")",
        ] {
            assert_eq!(findings(path, text), 1, "{text}");
        }
        for text in [
            "// uname().release() says it",
            "let name = uname().nodename();",
            "command.release();",
        ] {
            assert_eq!(findings(path, text), 0, "{text}");
        }
    }
}

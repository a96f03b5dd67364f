//! What a name in a perf map says about the function.
//!
//! - V8 (`node --perf-basic-prof`): `KIND:` and a mark of the tier, then the function and
//!   `FILE:LINE:COLUMN` of its start: `JS:*fib /srv/app.js:3:13`, `LazyCompile:~ node:fs:1:1`.
//! - CPython 3.12+ (`-X perf`): `py::QUALIFIED_NAME:FILE`.
//! - Java: `Lcom/a/B;::method` (perf-map-agent) or `void com.a.B.method(int)` (`jcmd
//!   Compiler.perfmap`).
//!
//! A person knows a script's function by its name and file, so both are in the name; the tier is
//! not, or one function would show as three.

use crate::profile::FrameType;

/// A JIT function's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct JitName {
    /// Readable.
    pub(in crate::symbolize) name: String,
    /// Its file; empty where unknown.
    pub(in crate::symbolize) file: String,
    /// Line on which it starts; 0 where unknown.
    pub(in crate::symbolize) start_line: u32,
    /// Whose code it is.
    pub(in crate::symbolize) frame_type: FrameType,
}

const V8_SCRIPT: [&str; 6] = [
    "JS:",
    "LazyCompile:",
    "Function:",
    "Script:",
    "Eval:",
    "InterpretedFunction:",
];
const V8_INTERNAL: [&str; 7] = [
    "Builtin:",
    "BytecodeHandler:",
    "Stub:",
    "RegExp:",
    "Handler:",
    "CppFunction:",
    "Wasm:",
];

/// Takes a perf map's name apart; `java` says that the process is a Java virtual machine.
pub(in crate::symbolize) fn parse(raw: &str, java: bool) -> JitName {
    if let Some(script) = V8_SCRIPT.iter().find_map(|kind| raw.strip_prefix(kind)) {
        return script_function(script);
    }
    if V8_INTERNAL.iter().any(|kind| raw.starts_with(kind)) {
        return plain(raw, FrameType::V8js);
    }
    if let Some(python) = raw.strip_prefix("py::") {
        return python_function(python);
    }
    if java || (raw.starts_with('L') && raw.contains(";::")) {
        return plain(&java_method(raw), FrameType::Jvm);
    }
    plain(raw, FrameType::Native)
}

fn plain(name: &str, frame_type: FrameType) -> JitName {
    JitName {
        name: name.to_owned(),
        file: String::new(),
        start_line: 0,
        frame_type,
    }
}

/// `*fib /srv/app.js:3:13`: tier mark, name (may be empty), file, line, column.
fn script_function(text: &str) -> JitName {
    let text = text.trim_start_matches(['*', '~', '^', '+', '\'']);
    let (function, place) = text.split_once(' ').unwrap_or((text, ""));
    let function = if function.is_empty() {
        "(anonymous)"
    } else {
        function
    };
    let place = place.strip_prefix("file://").unwrap_or(place);
    let Some((file, line)) = file_and_line(place) else {
        let name = if place.is_empty() {
            function.to_owned()
        } else {
            format!("{function} {place}")
        };
        return plain(&name, FrameType::V8js);
    };
    JitName {
        name: format!("{function} {file}:{line}"),
        file: file.to_owned(),
        start_line: line,
        frame_type: FrameType::V8js,
    }
}

/// `FILE:LINE:COLUMN` or `FILE:LINE`.
fn file_and_line(place: &str) -> Option<(&str, u32)> {
    let (before, last) = place.rsplit_once(':')?;
    let last: u32 = last.trim_end().parse().ok()?;
    if let Some((file, line)) = before.rsplit_once(':')
        && let Ok(line) = line.parse()
    {
        return (!file.is_empty()).then_some((file, line));
    }
    (!before.is_empty()).then_some((before, last))
}

/// `QUALIFIED_NAME:FILE`, shown as `FILE NAME`.
fn python_function(text: &str) -> JitName {
    match text.split_once(':') {
        Some((function, file)) if !file.is_empty() => JitName {
            name: format!("{function} {file}"),
            file: file.to_owned(),
            start_line: 0,
            frame_type: FrameType::Cpython,
        },
        _ => plain(text, FrameType::Cpython),
    }
}

/// `com/a/B.method` of either form; other names (`Interpreter`, `StubRoutines (1)`) as they are.
fn java_method(raw: &str) -> String {
    if let Some((class, method)) = raw.split_once(";::")
        && let Some(class) = class.strip_prefix('L')
    {
        let method = method.split('(').next().unwrap_or(method);
        return format!("{class}.{method}");
    }
    let Some((head, _)) = raw.split_once('(') else {
        return raw.to_owned();
    };
    // `RETURN_TYPE CLASS.METHOD`: what has no blank or no dot is no method.
    match head.rsplit_once(' ') {
        Some((kind, path)) if !kind.is_empty() => match path.rsplit_once('.') {
            Some((class, method)) if !method.is_empty() => {
                format!("{}.{method}", class.replace('.', "/"))
            }
            _ => raw.to_owned(),
        },
        _ => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, java: bool, name: &str, line: u32, frame_type: FrameType) {
        let parsed = parse(raw, java);
        assert_eq!(
            (parsed.name.as_str(), parsed.start_line, parsed.frame_type),
            (name, line, frame_type),
            "{raw}"
        );
    }

    #[test]
    fn scripts_keep_their_file_and_lose_their_tier() {
        check(
            "JS:*fib /srv/app.js:3:13",
            false,
            "fib /srv/app.js:3",
            3,
            FrameType::V8js,
        );
        check(
            "LazyCompile:~fib /srv/app.js:3:13",
            false,
            "fib /srv/app.js:3",
            3,
            FrameType::V8js,
        );
        check(
            "JS:~ node:internal/main:1:1",
            false,
            "(anonymous) node:internal/main:1",
            1,
            FrameType::V8js,
        );
        check(
            "JS:^run file:///srv/a b.mjs:10:2",
            false,
            "run /srv/a b.mjs:10",
            10,
            FrameType::V8js,
        );
        check("JS:*f", false, "f", 0, FrameType::V8js);
        check(
            "Builtin:ArrayMap",
            false,
            "Builtin:ArrayMap",
            0,
            FrameType::V8js,
        );
    }

    #[test]
    fn python_and_java() {
        check(
            "py::Service.run:/srv/app.py",
            false,
            "Service.run /srv/app.py",
            0,
            FrameType::Cpython,
        );
        check("Lcom/a/B;::run", false, "com/a/B.run", 0, FrameType::Jvm);
        check(
            "void com.a.B.run(int, java.lang.String)",
            true,
            "com/a/B.run",
            0,
            FrameType::Jvm,
        );
        check("Interpreter", true, "Interpreter", 0, FrameType::Jvm);
        check(
            "StubRoutines (1)",
            true,
            "StubRoutines (1)",
            0,
            FrameType::Jvm,
        );
        check(
            "my_jit_function",
            false,
            "my_jit_function",
            0,
            FrameType::Native,
        );
        check("", false, "", 0, FrameType::Native);
    }
}

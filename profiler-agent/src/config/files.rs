//! The files that a configuration names and the agent reads at its start: tokens, headers, certificates.

use std::path::Path;

use super::AgentConfig;
use super::problem::Problem;
use crate::confine;
use crate::export::settings::Checks;
use crate::page::Token;

/// Longer than any token, with white space around it.
const MAX_TOKEN_BYTES: u64 = 4096;

/// What is wrong with the files; one that is not named is right.
pub(super) fn problems(config: &AgentConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let token_file = &config.page.token_file;
    if !token_file.as_os_str().is_empty()
        && let Err(message) = token(token_file)
    {
        problems.push(Problem {
            path: vec!["page".to_owned(), "token_file".to_owned()],
            ..Problem::new(message)
        });
    }
    for (name, exporter) in &config.exporters {
        let mut checks = Checks::new(config.sampling.window.0);
        exporter.settings().check_files(&mut checks);
        let wrong = checks.wrong().into_iter();
        problems.extend(wrong.map(|wrong| Problem::of_exporter(name, wrong)));
    }
    problems
}

fn token(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let content = confine::read_configured(path, MAX_TOKEN_BYTES)
        .map_err(|error| format!("read {shown}: {error}"))?;
    Token::parse(&content)
        .map(drop)
        .map_err(|error| format!("{shown} holds no token for the page: {error}"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::config::AgentConfig;

    #[test]
    fn every_file_that_cannot_be_used_is_named_with_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=ca"])
            .args(["-keyout", &path("ca.key"), "-out", &path("ca.pem")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        std::fs::write(path("header"), "Bearer x\n").unwrap();
        std::fs::write(path("lines"), "two\nlines\n").unwrap();
        std::fs::write(path("short"), "abc").unwrap();
        let config = format!(
            "page: {{token_file: {short}}}\nexporters:\n  otlp_grpc:\n    endpoint: c:4317\n    headers:\n      \
             a: {{file: {header}}}\n      b.x: {{file: {lines}}}\n      c: {{file: /nowhere/c}}\n    tls:\n      \
             ca_file: {ca}\n      cert_file: {ca}\n      key_file: {short}\n  pyroscope:\n    \
             endpoint: https://p\n    tls: {{ca_file: {short}}}\n",
            short = path("short"),
            header = path("header"),
            lines = path("lines"),
            ca = path("ca.pem"),
        );
        let file = directory.path().join("agent.yaml");
        std::fs::write(&file, config).unwrap();
        assert!(AgentConfig::read(&file, &|_| None).is_ok());
        let error = AgentConfig::read_with_files(&file, &|_| None).unwrap_err();
        let text = error.to_string();
        let expected = [
            "line 1, column 20: page.token_file: ",
            "line 7, column 12: exporters.otlp_grpc.headers.b.x: ",
            "exporters.otlp_grpc.headers.c: read /nowhere/c",
            "line 12, column 17: exporters.otlp_grpc.tls.key_file: ",
            "line 15, column 20: exporters.pyroscope.tls.ca_file: ",
        ];
        assert_eq!(text.lines().count(), expected.len(), "{text}");
        for (line, expected) in text.lines().zip(expected) {
            assert!(line.contains(expected), "{line}");
        }
    }
}

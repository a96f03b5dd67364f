//! What is deployed (`deploy/`), read by an independent YAML parser.

use std::process::Command;

use serde_json::Value;

use crate::agent::run;
use crate::workspace;

/// A file below `deploy/`: its documents.
///
/// # Panics
///
/// When it is no YAML, or the parser is not there.
#[must_use]
pub fn documents(file: &str) -> Vec<Value> {
    let script = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";
    let mut command = Command::new("/usr/bin/python3");
    command
        .args(["-c", script])
        .arg(workspace().join("deploy").join(file));
    let output = run(&mut command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{errors} (`cargo xtask test` installs python3-yaml)"
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn of_kind(kind: &str) -> Value {
    let mut found = documents("daemonset.yaml")
        .into_iter()
        .filter(|document| document["kind"] == kind);
    let one = found.next().expect(kind);
    assert!(found.next().is_none(), "more than one {kind}");
    one
}

/// The manifest.
///
/// # Panics
///
/// When there is none, or more.
#[must_use]
pub fn daemonset() -> Value {
    of_kind("DaemonSet")
}

/// The agent's configuration that is deployed with it.
///
/// # Panics
///
/// When there is none, or more.
#[must_use]
pub fn configuration() -> String {
    let text = of_kind("ConfigMap")["data"]["agent.yaml"].clone();
    text.as_str().expect("agent.yaml").to_owned()
}

/// The manifest's only container.
///
/// # Panics
///
/// When there are more, or none.
#[must_use]
pub fn container(manifest: &Value) -> Value {
    let containers = &manifest["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().map(Vec::len), Some(1));
    containers[0].clone()
}

/// The capabilities that the container gets (`BPF`, without `CAP_`).
///
/// # Panics
///
/// When it does not list them.
#[must_use]
pub fn capabilities(container: &Value) -> Vec<String> {
    let added = container["securityContext"]["capabilities"]["add"].as_array();
    let added = added.expect("capabilities are added").iter();
    added
        .map(|capability| capability.as_str().expect("a name").to_owned())
        .collect()
}

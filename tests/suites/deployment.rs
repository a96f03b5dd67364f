//! `deploy/daemonset.yaml` is what the README says, and asks for nothing that is not there.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use profiler_agent::config::AgentConfig;
use profiler_tests::agent::{executable, run};
use profiler_tests::manifest::{capabilities, configuration, container, daemonset};
use profiler_tests::workspace;
use serde_json::Value;

fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let entries = list.as_array().expect("a list").iter();
    entries
        .map(|entry| entry[key].as_str().expect("text"))
        .collect()
}

#[test]
fn privileges_are_those_that_the_readme_lists() {
    let manifest = daemonset();
    let context = &container(&manifest)["securityContext"];
    let added: BTreeSet<String> = capabilities(&container(&manifest))
        .iter()
        .map(|capability| format!("CAP_{capability}"))
        .collect();
    let readme = fs::read_to_string(workspace().join("README.md")).expect("README.md");
    let documented: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `CAP_")?.split_once('`'))
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    assert_eq!(added, documented);
    assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(context["privileged"], false);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(manifest["spec"]["template"]["spec"]["hostPID"], true);
}

#[test]
fn what_is_mounted_is_there_and_only_state_is_written_to() {
    let manifest = daemonset();
    let pod = &manifest["spec"]["template"]["spec"];
    let container = container(&manifest);
    let mounts = &container["volumeMounts"];
    let volumes: BTreeSet<&str> = texts(&pod["volumes"], "name").into_iter().collect();
    let mounted: BTreeSet<&str> = texts(mounts, "name").into_iter().collect();
    assert_eq!(volumes, mounted);
    let writable = mounts
        .as_array()
        .expect("mounts")
        .iter()
        .filter(|mount| mount["readOnly"] != true);
    let writable: Vec<&str> = writable
        .map(|mount| mount["mountPath"].as_str().expect("a path"))
        .collect();
    assert_eq!(
        writable,
        ["/var/lib/profiler-agent", "/var/cache/profiler-agent"]
    );
}

#[test]
fn selectors_meet_and_variables_are_defined_before_their_use() {
    let manifest = daemonset();
    let labels = &manifest["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&manifest["spec"]["selector"]["matchLabels"], labels);
    let container = container(&manifest);
    let mut defined = BTreeSet::new();
    for variable in container["env"].as_array().expect("variables") {
        let value = variable["value"].as_str().unwrap_or("");
        for used in value.split("$(").skip(1) {
            let name = used.split(')').next().expect("a name");
            assert!(
                defined.contains(name),
                "{name} is used before it is defined"
            );
        }
        defined.insert(variable["name"].as_str().expect("a name"));
    }
}

#[test]
fn the_arguments_are_a_command_of_the_agent() {
    let container = container(&daemonset());
    let arguments = container["args"].as_array().expect("arguments");
    let mut command = Command::new(executable());
    command
        .args(
            arguments
                .iter()
                .map(|argument| argument.as_str().expect("text")),
        )
        .arg("--help");
    let output = run(&mut command);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(container["resources"]["limits"]["memory"].is_string());
}

#[test]
fn probes_and_scrapes_reach_what_the_configuration_listens_on() {
    let manifest = daemonset();
    let container = container(&manifest);
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("agent.yaml");
    fs::write(&file, configuration()).expect("a file");
    let config = AgentConfig::read(&file, &|_| None).expect("a configuration of the agent");
    assert!(
        config.page.endpoint.ip().is_loopback(),
        "only who may forward a port sees the page"
    );
    let endpoint = config.telemetry.endpoint.0.expect("an endpoint");
    assert!(
        endpoint.ip().is_unspecified(),
        "the kubelet asks the pod's address"
    );

    let port = &container["ports"][0];
    assert_eq!(port["containerPort"], endpoint.port());
    for (probe, path) in [
        ("startupProbe", "/readyz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], port["name"]);
    }
    let annotations = &manifest["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(
        annotations["prometheus.io/port"],
        endpoint.port().to_string()
    );
    assert_eq!(annotations["prometheus.io/path"], "/metrics");

    let read = container["args"].as_array().expect("arguments").last();
    let mounted = container["volumeMounts"].as_array().expect("mounts").iter();
    let mounted = mounted
        .filter(|mount| mount["name"] == "config")
        .map(|mount| {
            format!(
                "{}/agent.yaml",
                mount["mountPath"].as_str().expect("a path")
            )
        });
    assert_eq!(
        mounted.collect::<Vec<_>>(),
        [read.and_then(Value::as_str).expect("a path")]
    );
}

//! The alert rules and the dashboard in `deploy/` do what they say, with metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use profiler_agent::telemetry::metric::{Kind, Metric};
use profiler_tests::agent::run;
use profiler_tests::workspace;
use serde_json::Value;

fn file(name: &str) -> PathBuf {
    workspace().join("deploy").join(name)
}

/// What promtool says of a file, with success.
fn promtool(arguments: &[&str], name: &str) -> String {
    let output = run(Command::new("promtool").args(arguments).arg(file(name)));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

/// Names of the agent's metrics in a text, as Prometheus has them.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
        .filter(|word| word.starts_with("profiler_"))
        .collect()
}

/// Every name under which a metric's samples are found.
fn known() -> BTreeSet<String> {
    let suffixes = |kind| match kind {
        Kind::Histogram => &["_bucket", "_sum", "_count"][..],
        Kind::Counter | Kind::Gauge => &[""],
    };
    Metric::ALL
        .iter()
        .flat_map(|metric| {
            let suffixes = suffixes(metric.kind()).iter();
            suffixes.map(|suffix| format!("{}{suffix}", metric.name()))
        })
        .collect()
}

fn check_names(name: &str) {
    let text = fs::read_to_string(file(name)).expect(name);
    let named = named(&text);
    assert!(named.len() > 5, "{named:?}");
    let known = known();
    let unknown: Vec<_> = named
        .iter()
        .filter(|name| !known.contains(**name))
        .collect();
    assert!(
        unknown.is_empty(),
        "{name}: {unknown:?} are no metrics of the agent"
    );
}

#[test]
fn rules_are_valid_and_fire_when_they_should() {
    promtool(&["check", "rules"], "alerts.yaml");
    promtool(&["test", "rules"], "alerts_test.yaml");
}

#[test]
fn every_rule_has_a_test_in_which_it_fires() {
    let rules = fs::read_to_string(file("alerts.yaml")).expect("alerts.yaml");
    let tests = profiler_tests::manifest::documents("alerts_test.yaml");
    let mut firing = BTreeSet::new();
    for test in tests[0]["tests"].as_array().expect("tests") {
        for case in test["alert_rule_test"].as_array().expect("cases") {
            if case["exp_alerts"].is_array() {
                firing.insert(case["alertname"].as_str().expect("a name").to_owned());
            }
        }
    }
    let alerts: BTreeSet<String> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(str::to_owned)
        .collect();
    assert!(!alerts.is_empty());
    assert_eq!(alerts, firing);
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    for name in ["alerts.yaml", "alerts_test.yaml", "dashboard.json"] {
        check_names(name);
    }
}

#[test]
fn the_dashboard_shows_every_metric_in_panels_of_their_own() {
    let text = fs::read_to_string(file("dashboard.json")).expect("dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let place = &panel["gridPos"];
        let corner = ["x", "y"].map(|key| place[key].as_u64().expect("a place"));
        assert!(places.insert(corner), "{panel}");
        assert!(
            corner[0] + place["w"].as_u64().expect("a width") <= 24,
            "{panel}"
        );
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{panel}");
        }
    }
    let named = named(&text);
    let unseen: Vec<&str> = Metric::ALL
        .iter()
        .map(|metric| metric.name())
        .filter(|name| !named.iter().any(|shown| shown.starts_with(name)))
        .collect();
    assert!(unseen.is_empty(), "{unseen:?} are in no panel");
}

/// Prometheus parses every expression of the dashboard: each as a rule of its own.
#[test]
fn the_expressions_of_the_dashboard_are_valid() {
    let text = fs::read_to_string(file("dashboard.json")).expect("dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut rules = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            let expression = expression.replace("$__rate_interval", "5m");
            rules.push(serde_json::json!({
                "record": format!("expression_{}", rules.len()),
                "expr": expression.replace("$job", ".*").replace("$instance", ".*"),
            }));
        }
    }
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("rules.json");
    let group = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, group.to_string()).expect("a file");
    let output = run(Command::new("promtool").args(["check", "rules"]).arg(&file));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

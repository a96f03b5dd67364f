//! What processes publish of themselves (OTEP 4719) is their resource in OTLP, and what their environment says where they
//! publish nothing.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::profiles::v1development::ProfilesData;
use profiler_tests::agent::{command, cpu_seconds, samples, until};
use profiler_tests::build::c;
use profiler_tests::daemon::Daemon;
use profiler_tests::workload::Workload;
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};

/// The texts of the only resource of a recording of this much CPU time, while `meanwhile` is done.
fn resource(
    workload: &Workload,
    seconds: f64,
    meanwhile: impl FnOnce(),
) -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("profile.otlp");
    let pid = workload.pid();
    let mut command = command(&["record", "-d", "600", "-p", &pid.to_string(), "-o"]);
    let agent = command.arg(&file).stderr(Stdio::null()).spawn();
    let agent = agent.expect("the agent starts");
    until("the agent samples", || samples(agent.id()));
    let start = cpu_seconds(pid);
    meanwhile();
    until("the workload works", || cpu_seconds(pid) >= start + seconds);
    kill_process(Pid::from_child(&agent), Signal::INT).expect("the agent still runs");
    let output = agent.wait_with_output().expect("the agent ends");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    let bytes = fs::read(&file).expect("the profile is there");
    let data = ProfilesData::decode(&bytes[..]).expect("it is OTLP");
    assert_eq!(data.resource_profiles.len(), 1, "one process, one resource");
    let resource = data.resource_profiles[0].resource.as_ref();
    let attributes = &resource.expect("a resource").attributes;
    let texts = attributes
        .iter()
        .filter_map(|pair| match pair.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some((pair.key.clone(), text.clone())),
            _ => None,
        });
    texts.collect()
}

#[test]
fn a_process_has_the_resource_that_it_publishes() {
    let workload = Workload::start(&mut Command::new(c("resource")));
    let resource = resource(&workload, 1.0, || {});
    assert_eq!(resource["service.name"], "shop");
    assert_eq!(resource["service.version"], "1.2.3");
    assert_eq!(resource["process.executable.name"], "resource");
    workload.stop();
}

#[test]
fn a_process_has_the_resource_that_it_published_last() {
    let workload = Workload::start(&mut Command::new(c("resource")));
    let process = Pid::from_raw(workload.pid().cast_signed()).expect("a process id");
    let resource = resource(&workload, 8.0, || {
        kill_process(process, Signal::USR1).expect("the workload runs");
    });
    assert_eq!(resource["service.name"], "shop-2");
    workload.stop();
}

#[test]
fn a_process_that_publishes_nothing_is_called_after_its_file() {
    let workload = Workload::start(&mut Command::new(c("split")));
    let resource = resource(&workload, 1.0, || {});
    assert_eq!(resource["service.name"], "split");
    assert!(!resource.contains_key("service.version"));
    workload.stop();
}

#[test]
fn a_process_is_called_as_its_environment_says() {
    let mut command = Command::new(c("split"));
    command.env("OTEL_SERVICE_NAME", "checkout").env(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=weaker,service.version=2.0,team=a%2Cb",
    );
    let workload = Workload::start(&mut command);
    let resource = resource(&workload, 1.0, || {});
    assert_eq!(resource["service.name"], "checkout");
    assert_eq!(resource["service.version"], "2.0");
    assert_eq!(resource["team"], "a,b");
    assert_eq!(resource["process.executable.name"], "split");
    workload.stop();
}

#[test]
fn what_a_process_publishes_is_stronger_than_its_environment() {
    let mut command = Command::new(c("resource"));
    command.env("OTEL_SERVICE_NAME", "weaker").env(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.version=0,deployment.environment.name=production",
    );
    let workload = Workload::start(&mut command);
    let resource = resource(&workload, 1.0, || {});
    assert_eq!(resource["service.name"], "shop");
    assert_eq!(resource["service.version"], "1.2.3");
    assert_eq!(resource["deployment.environment.name"], "production");
    workload.stop();
}

#[test]
fn the_page_lists_services_by_the_name_in_their_environment() {
    let mut command = Command::new(c("split"));
    command.env("OTEL_SERVICE_NAME", "checkout");
    let workload = Workload::start(&mut command);
    let daemon = Daemon::with("");
    let pid = u64::from(workload.pid());
    let names = || -> Vec<String> {
        let answer = daemon.ask("/api/services");
        let services = answer["services"].as_array().expect("a list").iter();
        let its = services.filter(|service| {
            let processes = service["processes"].as_array().expect("a list");
            processes.iter().any(|process| process["pid"] == pid)
        });
        its.filter_map(|service| service["name"].as_str().map(str::to_owned))
            .collect()
    };
    until("the workload is listed as it is called", || {
        names().iter().any(|name| name == "checkout")
    });
    daemon.stop();
    workload.stop();
}

//! Files as people write them, right and wrong.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::correlate::{self, KeyPattern};
use crate::export::{directory, otlp, pyroscope};
use crate::telemetry::log::{LogFormat, LogLevel};
use crate::telemetry::otlp::Receiver;

fn environment(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("Bearer s3cret".to_owned()),
        "HZ" => Some("49".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<AgentConfig, String> {
    AgentConfig::parse(text, &environment).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

#[test]
fn an_empty_file_is_the_default() {
    for text in ["", "# nothing\nsampling: {}\n", "exporters:\nspool:\n"] {
        assert_eq!(parse(text).unwrap(), AgentConfig::default());
    }
    assert_eq!(
        AgentConfig::default().labels.correlation(),
        correlate::Config::default()
    );
}

#[test]
fn every_key_is_read() {
    let text = "sampling:\n  frequency: ${env:HZ}\n  window: 15s\ntables:\n  max_size: 8MiB\n  \
                cache_directory: /a\n  cache_max_size: 1GiB\nlabels:\n  include: [http.*, user]\n  \
                exclude: [http.path]\n  max_values: 10\n  goroutine_ids: true\nstore:\n  directory: /b\n  \
                max_size: 64MiB\n  max_age: 2h\npage:\n  endpoint: 127.0.0.1:1234\n  \
                host_names: [profiler.example]\n  trace_url: \
                \"https://ui.example/trace/{trace_id}?span={span_id}\"\nspool:\n  directory: /c\n  \
                max_size: 1GiB\n  max_age: 2d\n  write_after: 0s\n  sync: 30s\n\
                telemetry:\n  endpoint: 127.0.0.1:1235\n  logs: {level: warn, format: json}\n  \
                otlp: {endpoint: 'http://otel:4317', metrics: false, traces: true, logs: true, interval: 10s}\n";
    let config = parse(text).unwrap();
    assert_eq!(config.sampling.frequency, 49);
    assert_eq!(config.sampling.window.0, Duration::from_secs(15));
    assert_eq!(config.tables.max_size.0, 8 << 20);
    assert_eq!(config.tables.cache_directory, Path::new("/a"));
    assert_eq!(config.tables.cache_max_size.0, 1 << 30);
    let labels = config.labels.correlation();
    let pattern = |text| KeyPattern::parse(text).unwrap();
    assert_eq!(labels.keys.include, [pattern("http.*"), pattern("user")]);
    assert_eq!(labels.keys.exclude, [pattern("http.path")]);
    assert_eq!((labels.max_values, labels.goroutine_ids), (10, true));
    assert_eq!(config.store.directory, Path::new("/b"));
    assert_eq!(config.store.max_size.0, 64 << 20);
    assert_eq!(config.store.max_age.0, Duration::from_secs(7200));
    assert_eq!(config.page.endpoint.port(), 1234);
    assert_eq!(config.page.host_names, ["profiler.example"]);
    assert_eq!(
        config.page.trace_url.0.as_deref(),
        Some("https://ui.example/trace/{trace_id}?span={span_id}")
    );
    let endpoint = config.telemetry.endpoint.0;
    assert_eq!(endpoint.map(|endpoint| endpoint.port()), Some(1235));
    let logs = config.telemetry.logs.config();
    assert_eq!((logs.level, logs.format), (LogLevel::Warn, LogFormat::Json));
    let otlp = config.telemetry.otlp.config(|_| None, Vec::new()).unwrap();
    assert_eq!(otlp.metrics, None);
    assert_eq!(otlp.traces, Receiver::parse("http://otel:4317").ok());
    assert_eq!(otlp.logs, otlp.traces);
    assert_eq!(otlp.interval, Duration::from_secs(10));
    assert_eq!(config.spool.directory, Path::new("/c"));
    assert_eq!(config.spool.max_size.0, 1 << 30);
    assert_eq!(config.spool.max_age.0, Duration::from_secs(2 * 86_400));
    assert_eq!(config.spool.write_after.0, Duration::ZERO);
    assert!(matches!(config.spool.sync, Sync::Every(span) if span.0 == Duration::from_secs(30)));
}

/// All YAML of the documentation.
fn documented() -> Vec<&'static str> {
    let document = include_str!("../../../docs/configuration.md");
    let blocks = document.split("```yaml\n").skip(1);
    blocks
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect()
}

#[test]
fn the_documentation_shows_the_defaults() {
    assert_eq!(parse(documented()[0]).unwrap(), AgentConfig::default());
}

#[test]
fn the_documentation_shows_exporters() {
    let config = parse(documented()[1]).unwrap();
    let destinations = config.destinations();
    assert_eq!(destinations.len(), config.exporters.len());
    let mut all = destinations.iter();
    assert!(all.any(|one| target::<pyroscope::Config>(one).is_some()));
    let mut all = destinations.iter();
    assert!(all.any(|one| target::<directory::Config>(one).is_some()));
}

/// The target, where it is of this kind.
fn target<T: 'static>(destination: &Destination) -> Option<&T> {
    let target: &dyn std::any::Any = &*destination.target;
    target.downcast_ref()
}

const FULL: &str = "exporters:
  otlp_grpc/collector:
    endpoint: collector:4317
    headers:
      authorization: ${env:TOKEN}
      x-file: {file: /run/secrets/x}
    compression: zstd
    timeout: 3s
    tls: {ca_file: /ca.pem, cert_file: /c.pem, key_file: /k.pem, server_name_override: other}
    retry_on_failure: {initial_interval: 1s, max_interval: 10s}
    sending_queue: {num_consumers: 4, queue_size: 2MiB}
    max_request_size: 1MiB
    timestamps: false
    service_name: all
    resource: {deployment.environment.name: test}
  pyroscope:
    endpoint: http://pyroscope:4040
    tenant_id: team
    basic_auth: {username: me, password: '${env:TOKEN}'}
    external_labels: {region: north}
  file:
    directory: /profiles
    format: otlp
    max_size: 1MiB
    max_age: 1h
";

#[test]
fn exporters_are_destinations() {
    use crate::export::connection::HeaderSource;
    use crate::profile::Coding;

    let config = parse(FULL).unwrap();
    let destinations = config.destinations();
    let names: Vec<_> = destinations
        .iter()
        .map(|destination| destination.name.as_str())
        .collect();
    assert_eq!(names, ["file", "otlp_grpc/collector", "pyroscope"]);
    let Some(files) = target::<directory::Config>(&destinations[0]) else {
        panic!("{destinations:?}")
    };
    assert_eq!(
        (files.max_bytes, files.max_age),
        (1 << 20, Duration::from_secs(3600))
    );
    let Some(otlp) = target::<otlp::Config>(&destinations[1]) else {
        panic!("{destinations:?}")
    };
    assert_eq!(
        otlp.connection.endpoint.to_string(),
        "https://collector:4317/"
    );
    assert_eq!(otlp.connection.timeout, Duration::from_secs(3));
    assert_eq!(otlp.options.coding, Coding::Zstd);
    assert_eq!(otlp.options.max_bytes, 1 << 20);
    let shown: Vec<_> = otlp
        .connection
        .headers
        .iter()
        .map(|(name, value)| match value {
            HeaderSource::Value(secret) => format!("{name}={}", secret.reveal()),
            HeaderSource::File(path) => format!("{name}<{}", path.display()),
        })
        .collect();
    assert_eq!(
        shown,
        ["authorization=Bearer s3cret", "x-file</run/secrets/x"]
    );
    let queue = &destinations[1].queue;
    assert_eq!((queue.concurrency, queue.memory), (4, 2 << 20));
    assert_eq!(queue.backoff.initial, Duration::from_secs(1));
    let Some(pyroscope) = target::<pyroscope::Config>(&destinations[2]) else {
        panic!("{destinations:?}")
    };
    assert_eq!(pyroscope.tenant.as_deref(), Some("team"));
    let (_, HeaderSource::Value(basic)) = &pyroscope.connection.headers[0] else {
        panic!("a value")
    };
    assert_eq!(basic.reveal(), "Basic bWU6QmVhcmVyIHMzY3JldA==");
}

#[test]
fn what_is_in_effect_is_shown_without_secrets_and_read_back() {
    let config = parse(FULL).unwrap();
    for shown in [config.show(), format!("{config:?}")] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let again = parse(&config.show()).unwrap();
    assert_eq!(again.show(), config.show());
    assert_eq!(
        parse(&AgentConfig::default().show()).unwrap(),
        AgentConfig::default()
    );
}

/// Each with the beginning of what is said of it.
const BROKEN: [(&str, &str); 72] = [
    (
        "store: {directory: ''}",
        "line 1, column 20: store.directory: an absolute path is needed",
    ),
    (
        "store: {directory: here}",
        "line 1, column 20: store.directory: an absolute path is needed",
    ),
    (
        "spool: {directory: here}",
        "line 1, column 20: spool.directory: an absolute path is needed, or none",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'http://host:99999'}}",
        "line 1, column 35: exporters.otlp_grpc.endpoint: its port is no number from 1 to 65535",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'http://host:x'}}",
        "line 1, column 35: exporters.otlp_grpc.endpoint: it",
    ),
    (
        "telemetry: {endpoint: '4098'}",
        "line 1, column 23: telemetry.endpoint: `4098` is no address with a port: write 127.0.0.1:4098",
    ),
    (
        "telemetry: {logs: {level: loud}}",
        "line 1, column 27: telemetry.logs.level: there is no `loud`; there are off, error",
    ),
    (
        "sampling:\n  frequencyy: 99",
        "line 2, column 3: sampling: there is no key `frequencyy`; did you mean `frequency`?",
    ),
    (
        "samplin: {}",
        "line 1, column 1: samplin: there is no key `samplin`; did you mean `sampling`?",
    ),
    (
        "colours: {}",
        "line 1, column 1: colours: there is no key `colours`; there are sampling, tables",
    ),
    (
        "sampling: {frequency: 0}",
        "line 1, column 23: sampling.frequency: 1 to 10000",
    ),
    (
        "sampling: {frequency: 10001}",
        "line 1, column 23: sampling.frequency: 1 to 10000",
    ),
    (
        "sampling: {off_cpu: {threshold: 3s}}",
        "sampling.off_cpu.threshold: 10us to 2s",
    ),
    (
        "sampling: {off_cpu: {probability: 0}}",
        "write a number from 0.0001 to 1",
    ),
    (
        "sampling: {frequency: fast}",
        "line 1, column 23: sampling.frequency: `fast` is not a whole number",
    ),
    (
        "sampling: {frequency: 9.9}",
        "line 1, column 23: sampling.frequency: `9.9` is not",
    ),
    (
        "sampling: {frequency: }",
        "line 1, column 12: sampling.frequency: nothing is written here",
    ),
    (
        "sampling: {window: 1h}",
        "line 1, column 20: sampling.window: 1s to 10m",
    ),
    (
        "sampling: {window: 10}",
        "line 1, column 20: sampling.window: `10` is no duration: write 500ms, 10s",
    ),
    (
        "sampling: {window: -1s}",
        "line 1, column 20: sampling.window: `-1s` is no duration",
    ),
    (
        "sampling: [99]",
        "line 1, column 11: sampling: keys with values are expected",
    ),
    (
        "sampling: 99",
        "line 1, column 11: sampling: keys with values are expected",
    ),
    ("99", "line 1, column 1: keys with values are expected"),
    (
        "- sampling",
        "line 1, column 1: keys with values are expected",
    ),
    ("sampling:\n\tfrequency: 99", "line 2"),
    ("sampling: {frequency: 99", "line 1"),
    ("sampling:\n  frequency: 99\n window: 10s", "line 3"),
    (
        "sampling: {}\nsampling: {}",
        "line 2, column 1: `sampling` is there already, in line 1",
    ),
    (
        "tables: {max_size: 1KiB}",
        "line 1, column 20: tables.max_size: at least 1MiB",
    ),
    (
        "tables: {max_size: 8MB}",
        "line 1, column 20: tables.max_size: `8MB` is no size: write 64KiB",
    ),
    (
        "labels: {max_values: 0}",
        "line 1, column 22: labels.max_values: 1 to 10000",
    ),
    (
        "labels: {include: ['*.user']}",
        "line 1, column 20: labels.include.1: `*.user` is no key",
    ),
    (
        "labels: {include: user}",
        "line 1, column 19: labels.include: a list is expected",
    ),
    (
        "labels: {goroutine_ids: yes}",
        "line 1, column 25: labels.goroutine_ids: `yes` is neither true nor false",
    ),
    (
        "store: {max_size: 1MiB}",
        "line 1, column 19: store.max_size: at least 8MiB",
    ),
    (
        "store: {max_age: 1s}",
        "line 1, column 18: store.max_age: at least one window",
    ),
    (
        "page: {endpoint: localhost}",
        "line 1, column 18: page.endpoint:",
    ),
    (
        "page: {endpoint: '0.0.0.0:4099'}",
        "line 1, column 18: page.endpoint: everybody who reaches this address could read the names and labels of all \
         programs: set `page.token_file` to a file with a token (`openssl rand -hex 32`), or \
         `page.allow_unauthenticated: true`",
    ),
    (
        "page: {endpoint: '[::]:4099', allow_unauthenticated: false}",
        "line 1, column 18: page.endpoint: everybody",
    ),
    (
        "page: {endpoint: '0.0.0.0:4099', token_file: /t, allow_unauthenticated: true}",
        "line 1, column 73: page.allow_unauthenticated: `page.token_file` asks for a token",
    ),
    (
        "page: {token_file: /t, users: [ann]}",
        "line 1, column 31: page.users: they are for a page on loopback that asks for no token",
    ),
    (
        "page: {token_file: t}",
        "line 1, column 20: page.token_file: an absolute path is needed",
    ),
    (
        "page: {trace_url: 'javascript:x'}",
        "line 1, column 19: page.trace_url: `javascript:x` is not http",
    ),
    (
        "spool: {sync: sometimes}",
        "line 1, column 15: spool.sync: `sometimes` is no duration: write 500ms, 10s, 5m, 2h or 7d; or `always`",
    ),
    (
        "spool: {sync: 1h}",
        "line 1, column 15: spool.sync: `always`, or 100ms to 10m",
    ),
    (
        "spool: {max_size: 1MiB}",
        "line 1, column 19: spool.max_size: at least 8MiB",
    ),
    (
        "spool: {write_after: 2m}",
        "line 1, column 22: spool.write_after: 0s to 60s",
    ),
    (
        "exporters: [otlp_grpc]",
        "line 1, column 12: exporters: exporters have names",
    ),
    (
        "exporters: {otlp: {}}",
        "line 1, column 13: exporters.otlp: write `otlp_grpc` or `otlp_http`",
    ),
    (
        "exporters: {otlphttp: {}}",
        "line 1, column 13: exporters.otlphttp: write `otlp_http`",
    ),
    (
        "exporters: {pyroscop: {}}",
        "line 1, column 13: exporters.pyroscop: there is no exporter `pyroscop`; did you mean `pyroscope`?",
    ),
    (
        "exporters: {kafka: {}}",
        "line 1, column 13: exporters.kafka: there is no exporter `kafka`; there are otlp_grpc",
    ),
    (
        "exporters: {file/../x: {}}",
        "line 1, column 13: exporters.file/../x: what follows the `/`",
    ),
    (
        "exporters: {otlp_grpc: {}}",
        "exporters.otlp_grpc.endpoint: it is missing: write HOST:4317",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'ftp://x'}}",
        "line 1, column 35: exporters.otlp_grpc.endpoint: write HOST:4317",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'http://c:4318/v1'}}",
        "line 1, column 35: exporters.otlp_grpc.endpoint: gRPC has no path",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'http://u:p@c:1'}}",
        "line 1, column 35: exporters.otlp_grpc.endpoint: credentials go into `headers`",
    ),
    (
        "exporters: {otlp_http: {endpoint: 'collector:4318'}}",
        "line 1, column 35: exporters.otlp_http.endpoint: it has neither http:// nor https://",
    ),
    (
        "exporters: {otlp_http: {endpoint: 'http://'}}",
        "line 1, column 35: exporters.otlp_http.endpoint:",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'c:1', compression: lz4}}",
        "line 1, column 55: exporters.otlp_grpc.compression: there is no `lz4`; there are gzip, zstd, none",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'c:1', timeout: 0s}}",
        "line 1, column 51: exporters.otlp_grpc.timeout: 100ms to 10m",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'c:1', headers: {a b: c}}}",
        "exporters.otlp_grpc.headers.a b: this is no name of a header",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'c:1', headers: {a.b.c: \"x\\ny\"}}}",
        "line 1, column 59: exporters.otlp_grpc.headers.a.b.c: its value is not one line",
    ),
    (
        "exporters: {pyroscope: {endpoint: 'http://p', external_labels: {a.b: x}}}",
        "line 1, column 70: exporters.pyroscope.external_labels.a.b: names of labels are",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'c:1', headers: {a: {fil: x}}}}",
        "exporters.otlp_grpc.headers.a: there is no key `fil`; did you mean `file`?",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'c:1', tls: {cert_file: /c}}}",
        "exporters.otlp_grpc.tls: `cert_file` and `key_file` belong together",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'http://c:1', tls: {ca_file: /c}}}",
        "exporters.otlp_grpc.tls: the endpoint is not encrypted",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'c:1', sending_queue: {num_consumers: 0}}}",
        "exporters.otlp_grpc.sending_queue.num_consumers: 1 to 16",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: 'c:1', retry_on_failure: {initial_interval: 1m}}}",
        "exporters.otlp_grpc.retry_on_failure.max_interval: at least `initial_interval`",
    ),
    (
        "exporters: {pyroscope: {endpoint: 'http://p', basic_auth: {username: me}}}",
        "exporters.pyroscope.basic_auth: both `username`",
    ),
    (
        "exporters: {file: {directory: profiles}}",
        "line 1, column 31: exporters.file.directory: an absolute path is needed",
    ),
    (
        "exporters: {otlp_grpc: {endpoint: '${env:COLLECTOR}'}}",
        "line 1, column 35: the environment variable COLLECTOR is not set",
    ),
];

#[test]
fn what_is_wrong_is_named_with_its_place_and_the_fix() {
    let mut missing = Vec::new();
    for (text, expected) in BROKEN {
        let problem = parse(text).map_or_else(|problem| problem, |_| "nothing".to_owned());
        if !problem.lines().any(|line| line.contains(expected)) {
            missing.push(format!(
                "{text}\n  said:     {problem}\n  expected: {expected}"
            ));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_file_is_validated_as_a_whole() {
    let text = "sampling: {frequency: 0, window: 1h}\nlabels: {max_valuess: 1}\nexporters:\n  kafka: {}\n  otlp_grpc: {}\n";
    let problems = parse(text).unwrap_err();
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines.len(), 5, "{problems}");
    assert!(
        lines[0].starts_with("line 1") && lines[4].starts_with("line 5"),
        "{problems}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = AgentConfig::read(Path::new("/nowhere/agent.yaml"), &environment).unwrap_err();
    assert!(error.to_string().contains("/nowhere/agent.yaml"), "{error}");
}

#[test]
fn problems_that_are_left_out_are_counted() {
    let section = |name: &str, count: usize| {
        let keys: String = (0..count).map(|key| format!("  wrong{key}: 1\n")).collect();
        format!("{name}:\n{keys}")
    };
    let problems = |text: &str| AgentConfig::parse(text, &|_| None).unwrap_err();
    let all = problems(&section("sampling", 100));
    assert_eq!(all.len(), 100);
    assert!(all[99].to_string().contains("wrong99"), "{}", all[99]);
    for (text, more) in [
        (section("sampling", 101), "1 or more"),
        (section("sampling", 150), "1 or more"),
        (
            section("sampling", 80) + &section("store", 70),
            "50 or more",
        ),
    ] {
        let some = problems(&text);
        assert_eq!(some.len(), 101);
        let last = some[100].to_string();
        assert!(last.starts_with(more), "{last}");
        assert!(last.contains("left out: correct these 100 first"), "{last}");
    }
}

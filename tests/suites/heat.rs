//! The heat map of a program that says when it ran.

use std::process::Command;

use profiler_tests::agent::{FREQUENCY, until};
use profiler_tests::build::{c, text};
use profiler_tests::daemon::{Daemon, free_address};
use serde_json::Value;

const MILLISECOND: u64 = 1_000_000;

/// A time in which one function ran: its name, start and end by the clock, and its CPU time, in ns.
struct Stripe {
    name: String,
    from: u64,
    until: u64,
    cpu: u64,
}

fn stripes(seconds: u64) -> Vec<Stripe> {
    let program = c("stripes");
    let mut command = Command::new(text(&program));
    let output = command.arg(seconds.to_string()).output().expect("it runs");
    let output = String::from_utf8(output.stdout).expect("text");
    let stripe = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse().expect("a number");
        Stripe {
            name: words[0].to_owned(),
            from: number(1),
            until: number(2),
            cpu: number(3),
        }
    };
    output.lines().map(stripe).collect()
}

fn buckets(heat: &Value) -> Vec<u64> {
    let buckets = heat["buckets"].as_array().expect("buckets").iter();
    buckets
        .map(|bucket| bucket.as_u64().expect("a number"))
        .collect()
}

#[test]
fn stripes_are_where_the_program_says_and_lead_to_its_function() {
    let daemon = Daemon::start(free_address());
    let stripes = stripes(5);
    assert_eq!(stripes.len(), 10);
    let first = stripes[0].from / MILLISECOND / 1_000 * 1_000;
    let last = stripes[9].until / MILLISECOND + 1;
    until("the windows are stored", || {
        let windows = daemon.windows();
        windows
            .keys()
            .next_back()
            .is_some_and(|start| *start > last)
    });
    let heat = daemon.ask(&format!(
        "/api/heat?service=stripes&from={first}&until={last}"
    ));
    assert_eq!(heat["untimed_samples"], 0);
    let found = buckets(&heat);
    // A cell lies in a stripe where any part of it does.
    let is_in = |bucket: usize| {
        let start = (first + bucket as u64 * 20) * MILLISECOND;
        let mut all = stripes.iter();
        all.any(|stripe| start < stripe.until && start + 20 * MILLISECOND > stripe.from)
    };
    let within: u64 = (0..found.len())
        .filter(|bucket| is_in(*bucket))
        .map(|bucket| found[bucket])
        .sum();
    let all: u64 = found.iter().sum();
    assert_eq!(heat["samples"], all);
    let cpu: u64 = stripes.iter().map(|stripe| stripe.cpu).sum();
    let expected = cpu as f64 / 1e9 * f64::from(FREQUENCY);
    // What sleeps and prints takes hardly any time.
    assert!(within as f64 > 0.97 * all as f64, "{within} of {all}");
    assert!(
        (0.9 * expected..1.1 * expected).contains(&(within as f64)),
        "{within} of {expected}"
    );
    // Each stripe leads to its function, and to no other.
    for stripe in &stripes {
        let from = stripe.from.div_ceil(MILLISECOND);
        let until = stripe.until / MILLISECOND;
        let part = format!("service=stripes&taken_from={from}&taken_until={until}");
        let graph = daemon.ask(&format!("/api/flamegraph?{part}"));
        let names: Vec<&str> = graph["strings"]
            .as_array()
            .expect("strings")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for name in ["stripe", "other"] {
            assert_eq!(
                names.contains(&name),
                name == stripe.name,
                "{name} in {names:?}"
            );
        }
        let samples = graph["samples"].as_f64().expect("samples");
        let expected = stripe.cpu as f64 / 1e9 * f64::from(FREQUENCY);
        assert!(
            (samples - expected).abs() < 0.1 * expected + 4.0,
            "{samples} of {expected}"
        );
    }
    daemon.stop();
}

//! The client of OTLP against a real collector, which is built first (`cargo xtask test --with-peers`).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Uri;
use profiler_agent::export::otlp::{self, Options, Protocol};
use profiler_agent::profile::{Coding, Delivery, Destination, Profile, UnixTime, WindowUuid};
use profiler_tests::agent::until;
use profiler_tests::authority::Authority;
use profiler_tests::daemon::free_address;
use profiler_tests::peer::collector::{Collector, Exporter, Setup};
use profiler_tests::peer::received::Received;
use profiler_tests::receiver::check::check;
use prost::Message;

use crate::window;

/// A millisecond since 1970 in which the windows of these tests begin.
const START: u64 = 1_795_271_525_000;

fn profile(stacks: u64) -> Profile {
    window::window(UnixTime(START * 1_000_000), stacks)
}

fn received(received: &Received) -> BTreeMap<Vec<String>, i64> {
    let mut stacks = BTreeMap::new();
    for sample in &received.samples {
        assert_eq!(sample.window, START);
        assert_eq!(sample.resource("service.name"), "shop");
        let frames = sample.sample.functions().into_iter().map(str::to_owned);
        *stacks.entry(frames.collect()).or_default() += sample.sample.count();
    }
    stacks
}

fn config(collector: &Collector, protocol: Protocol, tls: Option<&Authority>) -> otlp::Config {
    let address = match protocol {
        Protocol::Grpc => collector.grpc(),
        Protocol::Http => collector.http(),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint: Uri = format!("{scheme}://{address}").parse().expect("an address");
    let mut config = otlp::Config::new(endpoint);
    config.protocol = protocol;
    if let Some(authority) = tls {
        config.connection.tls.ca = Some(authority.path("ca.pem"));
        let identity = (authority.path("client.pem"), authority.path("client.key"));
        config.connection.tls.identity = Some(identity);
    }
    config
}

/// The outcome of sending each part of the profile.
async fn send(config: otlp::Config, profile: &Profile, run: u64) -> Vec<Delivery> {
    let window = WindowUuid::new(profile.start, run);
    let payloads = otlp::encode(profile, window, &config.options);
    let plain = Options {
        coding: Coding::Identity,
        ..config.options.clone()
    };
    for payload in otlp::encode(profile, window, &plain) {
        check(&Message::decode(payload.bytes.as_slice()).expect("it is a request"));
    }
    let client = otlp::Client::new(config).expect("a client");
    let mut outcomes = Vec::new();
    for payload in payloads {
        outcomes.push(client.send(Arc::new(payload)).await);
    }
    outcomes
}

#[tokio::test]
#[ignore = "builds a collector first: cargo xtask test --with-peers"]
async fn a_collector_gets_every_sample_in_every_way() {
    let (profile, authority) = (profile(2_000), Authority::new());
    for tls in [None, Some(&authority)] {
        for protocol in [Protocol::Grpc, Protocol::Http] {
            for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
                let setup = Setup {
                    exporter: Exporter::File,
                    tls,
                    profiles: true,
                };
                let collector = Collector::set_up(free_address(), setup);
                let mut config = config(&collector, protocol, tls);
                config.options.coding = coding;
                let outcomes = send(config, &profile, 1).await;
                assert_eq!(outcomes, [Delivery::Accepted], "{protocol:?} {coding:?}");
                until("the request is in the file", || {
                    !collector.received().samples.is_empty()
                });
                assert_eq!(received(&collector.received()), window::sampled(&profile));
            }
        }
    }
}

#[tokio::test]
#[ignore = "builds a collector first: cargo xtask test --with-peers"]
async fn nobody_else_gets_through() {
    let (authority, other) = (Authority::new(), Authority::new());
    let setup = Setup {
        exporter: Exporter::Nop,
        tls: Some(&authority),
        profiles: true,
    };
    let collector = Collector::set_up(free_address(), setup);
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let mut untrusted = config(&collector, protocol, Some(&other));
        let outcomes = send(untrusted.clone(), &profile(1), 1).await;
        assert!(
            matches!(outcomes[..], [Delivery::Retry { .. }]),
            "{outcomes:?}"
        );
        // The collector is the right one, and this agent is not.
        untrusted.connection.tls.ca = Some(authority.path("ca.pem"));
        let outcomes = send(untrusted, &profile(1), 1).await;
        assert!(
            matches!(outcomes[..], [Delivery::Retry { .. }]),
            "{outcomes:?}"
        );
    }
}

#[tokio::test]
#[ignore = "builds a collector first: cargo xtask test --with-peers"]
async fn what_a_collector_finds_too_large_is_split() {
    let profile = profile(150_000);
    let collector = Collector::start(free_address(), Exporter::File);
    let whole = Options {
        max_bytes: usize::MAX,
        ..Options::default()
    };
    let mut large = config(&collector, Protocol::Grpc, None);
    large.options = whole;
    let outcomes = send(large, &profile, 1).await;
    let [Delivery::Refused { message }] = &outcomes[..] else {
        panic!("more than 4 MiB: {outcomes:?}");
    };
    assert!(message.contains("smaller requests"), "{message}");
    let outcomes = send(config(&collector, Protocol::Grpc, None), &profile, 2).await;
    assert!(outcomes.len() > 1, "{}", outcomes.len());
    let accepted = |outcome: &Delivery| *outcome == Delivery::Accepted;
    assert!(outcomes.iter().all(accepted), "{outcomes:?}");
    let samples = |received: &Received| -> i64 {
        let counts = received.samples.iter().map(|sample| sample.sample.count());
        counts.sum()
    };
    until("all parts are in the file", || {
        samples(&collector.received()) >= profile.sample_count() as i64
    });
    assert_eq!(received(&collector.received()), window::sampled(&profile));
}

#[tokio::test]
#[ignore = "builds a collector first: cargo xtask test --with-peers"]
async fn a_collector_without_profiles_is_explained() {
    let setup = Setup {
        exporter: Exporter::Nop,
        tls: None,
        profiles: false,
    };
    let collector = Collector::set_up(free_address(), setup);
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let outcomes = send(config(&collector, protocol, None), &profile(1), 1).await;
        let [Delivery::Refused { message }] = &outcomes[..] else {
            panic!("{protocol:?}: {outcomes:?}");
        };
        assert!(message.contains("service.profilesSupport"), "{message}");
    }
}

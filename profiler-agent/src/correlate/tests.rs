//! Bytes of requests to labels and links.

use std::sync::Arc;

use proptest::prelude::*;

use super::memory::{MAX_BYTES, MAX_KEYS, MAX_PROCESSES};
use super::{Config, Correlator, KeyPattern, Keys, OTHER};
use crate::profile::example::process;
use crate::profile::{
    BootTime, Degradation, Label, Link, LinkSource, Process, RawContext, RawLabel, SampleContext,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn raw(labels: &[(&[u8], &[u8])]) -> RawContext {
    let label = |(key, value): &(&[u8], &[u8])| RawLabel {
        key: (*key).into(),
        value: (*value).into(),
        cut: false,
    };
    RawContext {
        labels: labels.iter().map(label).collect(),
        ..RawContext::default()
    }
}

fn texts(labels: &[(&str, &str)]) -> RawContext {
    let bytes: Vec<_> = labels
        .iter()
        .map(|(key, value)| (key.as_bytes(), value.as_bytes()))
        .collect();
    raw(&bytes)
}

fn shown(context: Option<&Arc<SampleContext>>) -> Vec<String> {
    let labels = context.map_or(&[][..], |context| &context.labels.labels);
    let show = |Label { key, value }: &Label| format!("{key}={value}");
    labels.iter().map(show).collect()
}

fn server() -> Process {
    process(100, "/bin/server", None)
}

fn image(pid: u32, started: u64) -> Process {
    let mut process = process(pid, "/bin/server", None);
    process.key.started = BootTime(started);
    process
}

#[test]
fn labels_are_text_sorted_and_each_key_once() {
    let mut correlator = Correlator::new(Config::default());
    let context = correlator.context(
        &server(),
        raw(&[
            (b"user", b"\xff\xfe"),
            (b"endpoint", b"/cart"),
            (b"", b"nobody"),
            (b"endpoint", b"/second"),
            (b"empty", b""),
        ]),
    );
    assert_eq!(
        shown(context.as_ref()),
        ["empty=", "endpoint=/cart", "user=\u{fffd}\u{fffd}"]
    );
    assert!(correlator.take_losses().is_empty());
    assert_eq!(correlator.context(&server(), raw(&[(b"", b"x")])), None);
    assert_eq!(correlator.context(&server(), RawContext::default()), None);
}

#[test]
fn ids_become_the_link_and_are_no_labels() {
    let mut correlator = Correlator::new(Config::default());
    let labels = texts(&[
        ("span_name", "GET /cart"),
        ("trace_id", TRACE),
        ("span_id", SPAN),
    ]);
    let context = correlator.context(&server(), labels);
    assert_eq!(shown(context.as_ref()), ["span_name=GET /cart"]);
    let link = context.unwrap().link.unwrap();
    assert_eq!(
        (link.trace_id[0], link.span_id),
        (0x0a, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31])
    );
    let malformed = correlator.context(&server(), texts(&[("span_id", "17"), ("a", "b")]));
    assert_eq!(shown(malformed.as_ref()), ["a=b"]);
    assert_eq!(malformed.unwrap().link, None);
    assert_eq!(correlator.take_losses().of(Degradation::LinkMalformed), 1);
}

#[test]
fn the_first_source_is_believed() {
    let link = |byte: u8| Link {
        trace_id: [byte; 16],
        span_id: [byte; 8],
    };
    let all = [
        (LinkSource::Instrumentation, [4; 24]),
        (LinkSource::Elastic, [3; 24]),
        (LinkSource::ThreadContext, [1; 24]),
    ];
    let of_labels = [("trace_id", "02".repeat(16)), ("span_id", "02".repeat(8))];
    let of_labels: Vec<_> = of_labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let mut correlator = Correlator::new(Config::default());
    let mut believed = |labels: &[(&str, &str)], links: &[(LinkSource, [u8; 24])]| {
        let mut raw = texts(labels);
        raw.links = links.to_vec();
        correlator.context(&server(), raw).unwrap().link
    };
    assert_eq!(believed(&of_labels, &all), Some(link(1)));
    assert_eq!(believed(&of_labels, &all[..2]), Some(link(2)));
    assert_eq!(believed(&[], &all[..2]), Some(link(3)));
    assert_eq!(believed(&[], &all[..1]), Some(link(4)));
    // Zeros are no link: the next source is asked.
    let zeros = [(LinkSource::ThreadContext, [0; 24]), all[1]];
    assert_eq!(believed(&[], &zeros), Some(link(3)));
    assert_eq!(correlator.take_losses().of(Degradation::LinkMalformed), 1);
}

#[test]
fn only_wanted_keys_are_kept() {
    let pattern = |text: &str| KeyPattern::parse(text).unwrap();
    let mut correlator = Correlator::new(Config {
        keys: Keys {
            include: vec![pattern("http.*")],
            exclude: vec![pattern("http.user")],
        },
        ..Config::default()
    });
    let labels = texts(&[
        ("http.user", "me"),
        ("http.path", "/"),
        ("trace_id", TRACE),
        ("span_id", SPAN),
        ("other", "x"),
    ]);
    let context = correlator.context(&server(), labels);
    assert_eq!(shown(context.as_ref()), ["http.path=/"]);
    assert!(context.unwrap().link.is_some());
}

#[test]
fn too_many_values_become_other() {
    let mut correlator = Correlator::new(Config {
        max_values: 2,
        ..Config::default()
    });
    let mut label = |process: &Process, key: &str, value: &str| {
        shown(correlator.context(process, texts(&[(key, value)])).as_ref()).concat()
    };
    assert_eq!(label(&server(), "user", "a"), "user=a");
    assert_eq!(label(&server(), "user", "b"), "user=b");
    assert_eq!(label(&server(), "user", "c"), format!("user={OTHER}"));
    assert_eq!(label(&server(), "user", "a"), "user=a");
    assert_eq!(label(&server(), "user", "c"), format!("user={OTHER}"));
    // Another key and another image of the process have room of their own.
    assert_eq!(label(&server(), "path", "c"), "path=c");
    assert_eq!(label(&image(100, 7), "user", "c"), "user=c");
    assert_eq!(correlator.take_losses().of(Degradation::LabelValues), 2);
}

#[test]
fn ids_are_not_subject_to_the_number_of_values() {
    let mut correlator = Correlator::new(Config {
        max_values: 1,
        ..Config::default()
    });
    for number in 1..=50u8 {
        let trace = format!("{number:032x}");
        let context = correlator.context(
            &server(),
            texts(&[("trace_id", &trace), ("span_id", SPAN), ("path", "/")]),
        );
        let context = context.unwrap();
        assert_eq!(context.link.unwrap().trace_id[15], number);
        assert_eq!(context.labels.get("path"), Some("/"));
    }
    assert!(correlator.take_losses().is_empty());
}

#[test]
fn what_was_cut_is_counted_for_each_sample() {
    let mut correlator = Correlator::new(Config::default());
    let mut context = raw(&[(b"user", b"caf\xc3")]);
    context.labels[0].cut = true;
    context.incomplete = true;
    for _ in 0..3 {
        let context = correlator.context(&server(), context.clone());
        assert_eq!(shown(context.as_ref()), ["user=caf"]);
    }
    assert_eq!(correlator.take_losses().of(Degradation::LabelCut), 6);
    assert!(correlator.take_losses().is_empty());
}

#[test]
fn goroutines_are_kept_where_they_are_asked_for() {
    let goroutine = |id| RawContext {
        goroutine: Some(id),
        ..texts(&[("a", "b")])
    };
    let mut without = Correlator::new(Config::default());
    let first = without.context(&server(), goroutine(1)).unwrap();
    let second = without.context(&server(), goroutine(2)).unwrap();
    assert!(Arc::ptr_eq(&first, &second) && first.labels.goroutine.is_none());
    let mut with = Correlator::new(Config {
        goroutine_ids: true,
        ..Config::default()
    });
    let context = with.context(&server(), goroutine(2)).unwrap();
    assert_eq!(context.labels.goroutine, Some(2));
    let alone = RawContext {
        labels: Vec::new(),
        ..goroutine(3)
    };
    assert_eq!(without.context(&server(), alone.clone()), None);
    assert!(with.context(&server(), alone).is_some());
}

#[test]
fn equal_bytes_of_a_process_give_the_same_context() {
    let mut correlator = Correlator::new(Config::default());
    let labels = texts(&[("endpoint", "/cart"), ("user", "me")]);
    let first = correlator.context(&server(), labels.clone()).unwrap();
    let again = correlator.context(&server(), labels).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
}

/// Whatever a program labels itself with, memory is bounded.
#[test]
fn memory_is_bounded() {
    let mut correlator = Correlator::new(Config {
        max_values: 10_000,
        ..Config::default()
    });
    let long = "v".repeat(250);
    for number in 0..40_000u32 {
        let value = format!("{number}{long}");
        let key = format!("key{}", number % 200);
        let _ = correlator.context(&server(), texts(&[(&key, &value)]));
    }
    let (_, bytes) = correlator.size();
    assert!(bytes < 2 << 20, "{bytes}");
    let losses = correlator.take_losses();
    assert!(losses.of(Degradation::LabelValues) > 40_000 / 200 * (200 - MAX_KEYS as u64));
    for pid in 0..3 * MAX_PROCESSES as u32 {
        for number in 0..20 {
            let value = format!("{number}{long}");
            let _ = correlator.context(&image(pid, 1), texts(&[("user", &value)]));
        }
    }
    let (processes, bytes) = correlator.size();
    assert!(processes <= MAX_PROCESSES && bytes <= MAX_BYTES, "{bytes}");
    assert!(processes > 100, "bounded is not empty: {processes}");
}

/// The one that was sampled longest ago is forgotten, and only that one.
#[test]
fn the_least_recently_used_process_is_forgotten() {
    let mut correlator = Correlator::new(Config {
        max_values: 1,
        ..Config::default()
    });
    let mut value = |pid: u32, value: &str| {
        let context = correlator.context(&image(pid, 1), texts(&[("user", value)]));
        shown(context.as_ref()).concat()
    };
    assert_eq!(value(0, "a"), "user=a");
    assert_eq!(value(1, "a"), "user=a");
    for pid in 2..MAX_PROCESSES as u32 + 1 {
        value(pid, "a");
        assert_eq!(value(0, "b"), format!("user={OTHER}"));
    }
    assert_eq!(value(1, "b"), "user=b", "forgotten");
    assert_eq!(value(0, "b"), format!("user={OTHER}"));
}

proptest! {
    #[test]
    fn any_bytes_make_a_consistent_context(
        labels in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..6), prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..16),
        links in prop::collection::vec(any::<[u8; 24]>(), 0..3),
    ) {
        let sources = [LinkSource::Instrumentation, LinkSource::Elastic, LinkSource::ThreadContext];
        let raw = RawContext {
            labels: labels
                .into_iter()
                .map(|(key, value, cut)| RawLabel { key: key.into(), value: value.into(), cut })
                .collect(),
            links: sources.into_iter().zip(links).collect(),
            ..RawContext::default()
        };
        let mut correlator = Correlator::new(Config::default());
        let first = correlator.context(&server(), raw.clone());
        prop_assert_eq!(&first, &correlator.context(&server(), raw));
        if let Some(context) = first {
            let keys: Vec<_> = context.labels.labels.iter().map(|label| &label.key).collect();
            prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(keys.iter().all(|key| !key.is_empty()));
            prop_assert!(context.link.is_some() || !context.labels.is_empty());
        }
    }
}

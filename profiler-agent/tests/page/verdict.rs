//! The verdict on how complete profiles are: asked for, and in a headless browser.

use profiler_agent::page::Limits;
use profiler_agent::profile::{Profile, SampleLoss, UnixTime};
use serde_json::json;

use crate::demo::Builder;
use crate::devtools::Browser;
use crate::served::Served;

const EPOCH: u64 = 1_767_225_600_000_000_000;

/// Three services: one whole, one cut in a library, one cut in two ways.
fn cut() -> Profile {
    let mut builder = Builder::new(UnixTime(EPOCH), 10);
    let whole = builder.process(10, "whole", "/usr/bin/whole");
    builder.add(whole, "whole", &["go:whole:main"], 500);
    let some = builder.process(20, "some", "/usr/bin/some");
    builder.add(
        some,
        "some",
        &["native:some:main", "native:libold.so:work"],
        160,
    );
    builder.add(
        some,
        "some",
        &["broken::[unwind: no_rule]", "native:libold.so:work"],
        40,
    );
    let most = builder.process(30, "most", "/usr/bin/most");
    builder.add(
        most,
        "most",
        &["broken::[unwind: no_rule]", "native:libother.so:spin"],
        200,
    );
    builder.add(
        most,
        "most",
        &["broken::[truncated]", "native:most:deep"],
        60,
    );
    builder.add(most, "most", &["native:most:main"], 40);
    builder.lose(SampleLoss::RingFull, 17);
    builder.finish()
}

#[test]
fn what_is_cut_is_told_by_service_with_what_helps() {
    let served = Served::files(vec![cut()], Limits::VIEWER);
    let verdict = served.json("/api/verdict");
    assert_eq!(
        (&verdict["samples"], &verdict["incomplete"]),
        (&json!(1_000), &json!(300))
    );
    let services = verdict["services"].as_array().unwrap();
    assert_eq!(services.len(), 2, "{services:?}");
    assert_eq!(services[0]["name"], "most");
    assert_eq!(
        (&services[0]["samples"], &services[0]["incomplete"]),
        (&json!(300), &json!(260))
    );
    let reasons = &services[0]["reasons"];
    assert_eq!(reasons[0]["outcome"], "no_rule");
    assert_eq!(reasons[0]["modules"], json!(["libother.so"]));
    assert!(
        reasons[0]["fix"]
            .as_str()
            .unwrap()
            .contains("-fasynchronous-unwind-tables")
    );
    assert_eq!(
        (&reasons[1]["outcome"], &reasons[1]["samples"]),
        (&json!("truncated"), &json!(60))
    );
    assert_eq!(services[1]["reasons"][0]["samples"], 40);
    assert_eq!(verdict["losses"].as_array().unwrap().len(), 1);
    assert_eq!(verdict["losses"][0]["count"], 17);
    assert_eq!(verdict["losses"][0]["loses_samples"], true);
    for query in [
        "service=some",
        "service=some&group=thread",
        "pid=20&group=process",
        "service=some&group=none",
    ] {
        let one = served.json(&format!("/api/verdict?{query}"));
        assert_eq!(
            (&one["samples"], &one["incomplete"]),
            (&json!(200), &json!(40)),
            "{query}"
        );
    }
    assert_eq!(
        served.json("/api/verdict?service=some")["services"][0]["name"],
        "some"
    );
    assert_eq!(
        served.json("/api/verdict?service=whole")["services"],
        json!([])
    );
}

#[test]
fn the_page_says_it_in_a_sentence() {
    let served = Served::files(vec![cut()], Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    browser.until("!document.querySelector('#verdict').hidden");
    assert_eq!(
        browser.text_of("#verdict summary"),
        "30.0 % of stacks are incomplete: most end in code without call frame information (libother.so), of most; 17 samples are missing"
    );
    assert_eq!(
        browser.value("document.querySelector('#verdict').classList.contains('warn')"),
        true
    );
    browser.press("#verdict summary");
    let said = browser.texts("#verdict li");
    assert!(
        said[0].starts_with(
            "most: 66.7 % of its stacks end in code without call frame information (libother.so)."
        ),
        "{said:?}"
    );
    assert!(
        said[0].contains("Fix: build it with -fasynchronous-unwind-tables"),
        "{said:?}"
    );
    assert!(
        said.last()
            .unwrap()
            .contains("17 samples were dropped because"),
        "{said:?}"
    );
    browser.page(&served, "#service=whole");
    browser.until("document.querySelector('#verdict summary')?.textContent.startsWith('All stacks are complete')");
    browser.is_content();
}

//! The heat map of a second's samples: its buckets, the part of a range that is chosen on it, and the page's view of it.

use std::time::{SystemTime, UNIX_EPOCH};

use profiler_agent::page::Limits;
use profiler_agent::profile::{Profile, UnixTime};
use serde_json::{Value, json};

use crate::browser::ten_minutes;
use crate::demo::{Builder, Request};
use crate::devtools::Browser;
use crate::served::Served;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// A minute up to now, from a whole second on, in ms since 1970.
pub(crate) fn start() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now.as_secs() - 60) * 1_000
}

/// Six windows from `start` (ms) on: `burst` runs from 200 to 400 ms of each second, `steady` at 705 ms.
pub(crate) fn minute(start: u64) -> Vec<Profile> {
    let window = |number: u64| {
        let first = start * MILLISECOND + number * 10 * SECOND;
        let mut builder = Builder::new(UnixTime(first), 10);
        let process = builder.process(10, "burner", "/usr/bin/burner");
        let at = |second: u64, ms: u64| UnixTime(first + second * SECOND + ms * MILLISECOND);
        let bursts: Vec<UnixTime> = (0..10)
            .flat_map(|second| (200..400).step_by(10).map(move |ms| (second, ms)))
            .map(|(second, ms)| at(second, ms))
            .collect();
        let stack = ["native:burner:main", "native:burner:burst"];
        builder.add_request(process, "burner", &stack, &bursts, Request::default());
        let steady: Vec<UnixTime> = (0..10).map(|second| at(second, 705)).collect();
        let other = builder.process(20, "other", "/usr/bin/other");
        let stack = ["native:other:main", "native:other:steady"];
        builder.add_request(other, "other", &stack, &steady, Request::default());
        builder.finish()
    };
    (0..6).map(window).collect()
}

fn buckets(answer: &Value) -> Vec<u64> {
    serde_json::from_value(answer["buckets"].clone()).unwrap()
}

#[test]
fn buckets_add_up_to_the_flame_graph_and_to_each_part_of_it() {
    let start = start();
    let served = Served::live(minute(start));
    let range = format!("from={start}&until={}", start + 60_000);
    let heat = served.json(&format!("/api/heat?{range}"));
    let found = buckets(&heat);
    assert_eq!((heat["from"].as_u64(), found.len()), (Some(start), 3_000));
    for (place, samples) in found.iter().enumerate() {
        let expected = match place % 50 {
            10..20 => 2,
            35 => 1,
            _ => 0,
        };
        assert_eq!(*samples, expected, "{place}");
    }
    assert_eq!(heat["covered"], json!([[start, start + 60_000]]));
    let whole = served.json(&format!("/api/flamegraph?{range}"));
    assert_eq!(heat["samples"], whole["samples"]);
    assert_eq!(found.iter().sum::<u64>(), 60 * 21);
    // Parts, within a window and over the end of one; the bounds lie between samples, and on them.
    for (first, last) in [(10, 11), (15, 36), (0, 3_000), (480, 530), (712, 712 + 63)] {
        let at = |bucket: u64| start + bucket * 20;
        let part = format!("taken_from={}&taken_until={}", at(first), at(last));
        let expected: u64 = found[first as usize..last as usize].iter().sum();
        for query in [
            format!("flamegraph?{part}"),
            format!("flamegraph?{range}&{part}"),
            format!("functions?{part}"),
            format!("labels?{part}"),
            format!("services?{part}"),
            format!("lines?{part}"),
            format!("verdict?{part}"),
            format!("heat?{part}"),
        ] {
            let answer = served.json(&format!("/api/{query}"));
            assert_eq!(answer["samples"], expected, "{query}");
        }
        let text = served.get(&format!("/api/flamegraph?{part}&format=collapsed"));
        let counts = text.1.lines().map(|line| line.rsplit_once(' ').unwrap().1);
        let sum: u64 = counts.map(|count| count.parse::<u64>().unwrap()).sum();
        assert_eq!(sum, expected, "{part}");
    }
    // To the millisecond: 300 and 310, not 320.
    let part = format!("taken_from={}&taken_until={}", start + 300, start + 311);
    assert_eq!(
        served.json(&format!("/api/flamegraph?{part}"))["samples"],
        2
    );
    let compared = format!(
        "/api/diff?{part}&base_from={start}&base_until={}",
        start + 60_000
    );
    let diff = served.json(&compared);
    assert_eq!(
        (&diff["samples"], &diff["base_samples"]),
        (&json!(2), &json!(60 * 21))
    );
    // Of one service, and of what is searched for.
    for narrowed in [
        "service=other",
        "search=steady",
        "search=/^stea/",
        "label=service.name:other",
    ] {
        let heat = served.json(&format!("/api/heat?{range}&{narrowed}"));
        assert_eq!(heat["samples"], 60, "{narrowed}");
        assert_eq!(buckets(&heat)[35], 1, "{narrowed}");
        assert_eq!(buckets(&heat)[10], 0, "{narrowed}");
    }
}

#[test]
fn what_has_no_times_is_told_and_what_cannot_be_is_refused() {
    let served = Served::live(ten_minutes());
    let heat = served.json("/api/heat?from=now-5m&until=now");
    assert_eq!(heat["samples"], 0);
    assert!(
        heat["untimed_samples"].as_u64().unwrap() >= 30_000,
        "{}",
        heat["untimed_samples"]
    );
    assert_eq!(heat["untimed"].as_array().unwrap().len(), 1);
    let graph = served.json("/api/flamegraph?taken_from=now-5m&taken_until=now");
    assert_eq!(graph["samples"], 0);
    for (query, fix) in [
        ("heat?from=now-16m", "15 minutes"),
        ("heat?from=now-1m&rows=30", "divides"),
        ("flamegraph?taken_from=now&taken_until=now-1s", "exchange"),
        (
            "flamegraph?from=now-1m&until=now&taken_from=now-5m&taken_until=now-4m",
            "leave out",
        ),
    ] {
        let error = served.refused(&format!("/api/{query}"));
        assert!(error.contains(fix), "{query}: {error}");
    }
}

#[test]
fn a_label_that_says_what_a_service_is_called_finds_it() {
    let start = start();
    let served = Served::live(minute(start));
    let range = format!("from={start}&until={}", start + 60_000);
    let named = |answer: &Value| -> Vec<String> {
        let strings = answer["strings"].as_array().unwrap();
        strings
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let graph = served.json(&format!(
        "/api/flamegraph?{range}&label=service.name:burner"
    ));
    assert_eq!(graph["samples"], 60 * 20);
    assert!(!named(&graph).contains(&"steady".to_owned()));
    let graph = served.json(&format!("/api/flamegraph?{range}&group=label:service.name"));
    let names = named(&graph);
    assert!(
        names.contains(&"burner".to_owned()) && names.contains(&"other".to_owned()),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name.starts_with("(no ")),
        "{names:?}"
    );
}

impl Browser {
    /// The middle of a cell of the heat map on the screen: the second, and the part of it from its start on.
    pub(crate) fn cell(&mut self, second: usize, part: usize) -> (f64, f64) {
        let script = format!(
            "(() => {{ const scroll = document.querySelector('.heat-scroll'); const canvas = document.querySelector('#heat-canvas'); \
             const width = canvas.getBoundingClientRect().width / (Number(canvas.dataset.columns)); \
             scroll.scrollLeft = Math.max(0, {second} * width - 40); const box = canvas.getBoundingClientRect(); \
             return [box.left + ({second} + 0.5) * width, box.top + (49 - {part}) * 6 + 3]; }})()"
        );
        let [x, y]: [f64; 2] = serde_json::from_value(self.value(&script)).unwrap();
        (x, y)
    }

    /// Colour of a cell.
    fn cell_colour(&mut self, second: usize, part: usize) -> [u8; 4] {
        let script = format!(
            "(() => {{ const canvas = document.querySelector('#heat-canvas'); const ratio = devicePixelRatio; \
             const x = (({second} + 0.5) * canvas.width) / Number(canvas.dataset.columns); \
             return [...canvas.getContext('2d').getImageData(x, ((49 - {part}) * 6 + 3) * ratio, 1, 1).data]; }})()"
        );
        serde_json::from_value(self.value(&script)).unwrap()
    }

    pub(crate) fn mapped(&mut self) {
        self.until("document.querySelector('#heat-canvas')?.dataset.columns && document.querySelector('#progress').hidden && document.querySelector('#heat-canvas').getAttribute('aria-busy') === 'false'");
    }
}

#[test]
fn the_page_shows_stripes_and_what_is_chosen_of_them() {
    let start = start();
    let served = Served::live(minute(start));
    let hash = format!("#span=15m&tab=heat&from={start}&until={}", start + 60_000);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, &hash);
    browser.mapped();
    // Stripes where the program ran, and nothing between them.
    let [burst, steady, idle] = [15, 35, 30].map(|part| browser.cell_colour(7, part));
    assert!(
        burst[3] > 0 && steady[3] > 0 && idle[3] == 0,
        "{burst:?} {steady:?} {idle:?}"
    );
    assert_ne!(burst, steady, "two samples, and one");
    browser.press("#palette");
    browser.until("location.hash.includes('palette=safe')");
    assert_ne!(browser.cell_colour(7, 15), burst);
    browser.press("#palette");
    let (x, y) = browser.cell(7, 15);
    browser.mouse("mouseMoved", x, y);
    browser.until("!document.querySelector('#tip').hidden");
    let said = browser.text_of("#tip");
    assert!(
        said.contains(".300") && said.contains("2 samples") && said.contains("0.16 %"),
        "{said}"
    );
    browser.picture("heat.png");
    // Two clicks: from the start of a stripe to its end.
    browser.click(x, y + 5.0 * 6.0);
    browser.click(x, y - 4.0 * 6.0);
    browser.until("location.hash.includes('taken=') && !location.hash.includes('tab=')");
    browser.drawn();
    let taken = format!("taken={}-{}", start + 7_200, start + 7_400);
    let hash = browser.value("location.hash");
    assert!(hash.as_str().unwrap().contains(&taken), "{hash}");
    let said = browser.point_at(0.5, 3);
    assert!(
        said.starts_with("burst") && said.contains("20 samples") && said.contains("100"),
        "{said}"
    );
    assert!(browser.text_of("#chosen").contains(".200"));
    // The table is of the same, and so is what is downloaded.
    browser.press("#tab-functions");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length === 2");
    browser.press("#download summary");
    browser.until("document.querySelector('#download-panel a')");
    let link = browser.value("document.querySelector('#download-panel a').href");
    assert!(
        link.as_str()
            .unwrap()
            .contains(&format!("taken_from={}", start + 7_200)),
        "{link}"
    );
    // Back on the map, the other stripe by keys: what is chosen is where they start.
    browser.press("#tab-heat");
    browser.mapped();
    browser.value("document.querySelector('#heat-canvas').focus()");
    for _ in 0..26 {
        browser.key("ArrowUp");
    }
    browser.key("Enter");
    browser.key("ArrowRight");
    browser.key("Enter");
    let taken = format!("taken={}-{}", start + 7_700, start + 8_720);
    browser.until(&format!("location.hash.includes({taken:?})"));
    browser.drawn();
    // One of the first second's, one of the next, and the burst between them.
    let said = browser.point_at(0.1, 0);
    assert!(said.contains("22 samples"), "{said}");
    // By dragging, and taken back.
    browser.press("#tab-heat");
    browser.mapped();
    let (from, to) = (browser.cell(9, 12), browser.cell(9, 17));
    browser.drag(from, to);
    let taken = format!("taken={}-{}", start + 9_240, start + 9_360);
    browser.until(&format!("location.hash.includes({taken:?})"));
    browser.drawn();
    browser.press("#chosen button");
    browser.until("!location.hash.includes('taken=')");
    browser.drawn();
    let said = browser.point_at(0.1, 0);
    assert!(said.contains("1,260 samples"), "{said}");
    browser.is_content();
}

#[test]
fn the_page_says_why_there_is_no_map_and_has_it_on_400_pixels() {
    let served = Served::live(ten_minutes());
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "#span=5m&tab=heat");
    browser.until(
        "document.querySelector('#message h3')?.textContent === 'No times are kept of this range'",
    );
    browser.press("#tab-flame");
    browser.drawn();
    let start = start();
    let served = Served::live(minute(start));
    let size = json!({"width": 400, "height": 850, "deviceScaleFactor": 1, "mobile": true});
    browser.call("Emulation.setDeviceMetricsOverride", &size);
    browser.page(&served, "#tab=heat");
    browser.mapped();
    assert_eq!(browser.value("innerWidth"), 400);
    let wider = browser.value("Math.max(...['html', 'main'].map((name) => document.querySelector(name).scrollWidth)) - innerWidth");
    assert!(wider.as_i64().unwrap() <= 0, "{wider}");
    assert!(browser.text_of(".heat-said").contains("without profiles"));
    browser.is_content();
}

#[test]
fn a_list_that_fails_leaves_the_graph_where_it_is() {
    let served = Served::files(ten_minutes(), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    let fails = "const before = window.fetch; window.fetch = (path, how) => /^.api.(services|labels)/.test(path) \
                 ? Promise.resolve(new Response(JSON.stringify({ error: 'the disk is gone' }), { status: 500 })) : before(path, how);";
    browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        &json!({ "source": fails }),
    );
    browser.page(&served, "");
    browser.drawn();
    browser.until("document.querySelector('#beside').textContent.includes('Labels')");
    let said = browser.text_of("#beside");
    assert!(
        said.contains("The list of services could not be loaded: the disk is gone"),
        "{said}"
    );
    assert_eq!(
        browser.value("document.querySelector('#message').hidden"),
        true
    );
    let said = browser.point_at(0.1, 0);
    assert!(said.starts_with("all"), "{said}");
}

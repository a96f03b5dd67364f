//! The page in a headless browser: it loads, draws, zooms, searches, compares, and executes nobody's name.
//!
//! What is on the canvas is told by its pixels and by what the page says in its texts.

use std::time::{SystemTime, UNIX_EPOCH};

use profiler_agent::page::Limits;
use profiler_agent::profile::{Profile, UnixTime};
use serde_json::Value;

use crate::demo::{Builder, shop};
use crate::devtools::Browser;
use crate::served::Served;

const SECOND: u64 = 1_000_000_000;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
}

/// Ten minutes of two services up to now: `old` burns first, then `new`; `both` does all the time.
pub(crate) fn ten_minutes() -> Vec<Profile> {
    let start = now() - 600 * SECOND;
    (0..60)
        .map(|number| {
            let mut builder = Builder::new(UnixTime(start + number * 10 * SECOND), 10);
            let process = builder.process(10, "burner", "/usr/bin/burner");
            let half = if number < 30 {
                "native:burner:old"
            } else {
                "native:burner:new"
            };
            builder.add(process, "burner", &["native:burner:main", half], 300);
            builder.add(
                process,
                "burner",
                &["native:burner:main", "rust:burner:both"],
                300,
            );
            let other = builder.process(20, "other", "/usr/bin/other");
            builder.add(
                other,
                "other",
                &["go:other:main", "kernel:[kernel]:read"],
                400,
            );
            builder.finish()
        })
        .collect()
}

impl Browser {
    pub(crate) fn page(&mut self, served: &Served, hash: &str) {
        self.open(&format!("http://{}/{hash}", served.address));
        self.until("document.querySelector('#message')");
    }

    pub(crate) fn texts(&mut self, selector: &str) -> Vec<String> {
        let texts = self.value(&format!(
            "[...document.querySelectorAll({selector:?})].map((found) => found.textContent)"
        ));
        serde_json::from_value(texts).unwrap()
    }

    pub(crate) fn text_of(&mut self, selector: &str) -> String {
        self.texts(selector).concat()
    }

    /// Where a part of the flame graph is on the screen: `x` of its width, the middle of its row.
    pub(crate) fn place(&mut self, x: f64, row: u32) -> (f64, f64) {
        let script = "(() => { const box = document.querySelector('#flame-canvas').getBoundingClientRect(); return [box.left, box.top, box.width]; })()";
        let found: [f64; 3] = serde_json::from_value(self.value(script)).unwrap();
        (
            found[0] + found[2] * x,
            found[1] + 21.0 * f64::from(row) + 10.0,
        )
    }

    /// Colour of a point of the flame graph.
    pub(crate) fn colour(&mut self, x: f64, row: u32) -> [u8; 3] {
        // Near the top of the box, where no text is.
        let script = format!(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {{ \
             const canvas = document.querySelector('#flame-canvas'); const ratio = devicePixelRatio; \
             done([...canvas.getContext('2d').getImageData(canvas.width * {x}, ({row} * 21 + 2) * ratio, 1, 1).data.slice(0, 3)]); }})))"
        );
        serde_json::from_value(self.value(&script)).unwrap()
    }

    /// What the page says of the frame there.
    pub(crate) fn point_at(&mut self, x: f64, row: u32) -> String {
        let (x, y) = self.place(x, row);
        self.mouse("mouseMoved", x - 3.0, y);
        self.mouse("mouseMoved", x, y);
        self.until("!document.querySelector('#tip').hidden");
        self.text_of("#tip")
    }

    pub(crate) fn drawn(&mut self) {
        self.until("document.querySelector('#legend')?.childElementCount > 0 && document.querySelector('#progress').hidden && document.querySelector('#message').hidden");
    }

    pub(crate) fn press(&mut self, selector: &str) {
        self.value(&format!("document.querySelector({selector:?}).click()"));
    }

    pub(crate) fn is_content(&self) {
        assert_eq!(self.complaints, Vec::<String>::new());
    }
}

#[test]
fn it_loads_draws_and_tells_self_and_total() {
    let served = Served::live(ten_minutes());
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    assert_eq!(
        browser.texts("#service-list .name"),
        ["Everything", "burner", "other"]
    );
    assert_eq!(browser.text_of("#title"), "Everything");
    // Everything, then the larger service on the left.
    let said = browser.point_at(0.1, 0);
    assert!(
        said.starts_with("all") && said.contains("60,000 samples"),
        "{said}"
    );
    let said = browser.point_at(0.1, 1);
    assert!(
        said.starts_with("burner") && said.contains("60.0 %"),
        "{said}"
    );
    let said = browser.point_at(0.1, 3);
    assert!(
        said.starts_with("both") && said.contains("Rust") && said.contains("18,000 samples"),
        "{said}"
    );
    let said = browser.point_at(0.9, 3);
    assert!(
        said.starts_with("read") && said.contains("40.0 %") && said.contains("kernel"),
        "{said}"
    );
    // Rust, kernel and ground have colours of their own.
    let colours = [
        browser.colour(0.1, 3),
        browser.colour(0.9, 3),
        browser.colour(0.5, 9),
    ];
    assert!(
        colours[0] != colours[1] && colours[1] != colours[2] && colours[0] != colours[2],
        "{colours:?}"
    );
    assert!(browser.text_of("#legend").contains("kernel"));
    browser.is_content();
}

#[test]
fn it_zooms_by_mouse_and_by_keys() {
    let served = Served::live(ten_minutes());
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    let (x, y) = browser.place(0.95, 1);
    browser.click(x, y);
    browser.until("!document.querySelector('#reset').hidden && location.hash.includes('focus')");
    // What was on the right is all there is now.
    browser.until("document.querySelector('#progress').hidden");
    browser.mouse("mouseMoved", 5.0, 300.0);
    let mut said = browser.point_at(0.05, 2);
    while !said.starts_with("main") || !said.contains("other") {
        browser.mouse("mouseMoved", 5.0, 300.0);
        said = browser.point_at(0.05, 2);
    }
    // The address brings the view back.
    let address = browser.value("location.href");
    browser.open(address.as_str().unwrap());
    browser.drawn();
    browser.until("!document.querySelector('#reset').hidden");
    let said = browser.point_at(0.05, 2);
    assert!(said.starts_with("main") && said.contains("other"), "{said}");
    browser.press("#reset");
    browser.until("document.querySelector('#reset').hidden && !location.hash.includes('focus')");
    // Into the graph: all, burner, main, both.
    browser.value("document.querySelector('#flame-canvas').focus()");
    for _ in 0..4 {
        browser.key("ArrowDown");
    }
    assert!(browser.text_of("#spoken").starts_with("both"));
    browser.key("ArrowRight");
    let spoken = browser.text_of("#spoken");
    assert!(
        spoken.starts_with("new") || spoken.starts_with("old"),
        "{spoken}"
    );
    browser.key("Enter");
    browser.until("!document.querySelector('#reset').hidden");
    browser.key("Escape");
    browser.until("document.querySelector('#reset').hidden");
    browser.is_content();
}

#[test]
fn it_searches() {
    let served = Served::live(ten_minutes());
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    let before = browser.colour(0.9, 3);
    browser.key("/");
    browser.until("document.activeElement === document.querySelector('#search')");
    browser.text("BOTH");
    browser.until("document.querySelector('#match').textContent !== ''");
    assert_eq!(browser.text_of("#match"), "30.0 % matched");
    assert_ne!(
        browser.colour(0.9, 3),
        before,
        "what does not match is faded"
    );
    browser.press("#tab-functions");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length === 1");
    assert_eq!(browser.texts("#functions-panel tbody .text"), ["both"]);
    browser.is_content();
}

#[test]
fn it_narrows_to_a_service_and_a_dragged_range() {
    let served = Served::live(ten_minutes());
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    browser.press("#service-list li:nth-child(2) button");
    browser.until("document.querySelector('#title').textContent === 'burner'");
    browser.drawn();
    // The last fifteen minutes: ten have windows, `old` burnt in the third sixth of the line.
    let y = 90.0;
    browser.drag((1280.0 * 0.40, y), (1280.0 * 0.60, y));
    browser.until("location.hash.includes('from=')");
    browser.drawn();
    browser.press("#tab-functions");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length > 0");
    let functions = browser.texts("#functions-panel tbody .text");
    assert!(
        functions.contains(&"old".to_owned()) && !functions.contains(&"new".to_owned()),
        "{functions:?}"
    );
    browser.press("#follow");
    browser.until("!location.hash.includes('from=')");
    browser.until("[...document.querySelectorAll('#functions-panel tbody .text')].some((found) => found.textContent === 'new')");
    browser.is_content();
}

#[test]
fn it_compares_two_ranges() {
    let start = now();
    let ms = |ago: u64| (start / 1_000_000) - ago * 1000;
    let served = Served::live(ten_minutes());
    let mut browser = Browser::start(1280, 800);
    let hash = format!(
        "#span=15m&service=burner&from={}&until={}&base=1&base_service=burner&base_from={}&base_until={}",
        ms(250),
        ms(20),
        ms(590),
        ms(350)
    );
    browser.page(&served, &hash);
    browser.drawn();
    // all, main, then `both`, which is as it was, and `new` and `old`, each half as wide.
    let mut found = Vec::new();
    for part in [0.25, 0.6, 0.9] {
        found.push((browser.point_at(part, 2), browser.colour(part, 2)));
    }
    let of = |name: &str| {
        found
            .iter()
            .find(|(said, _)| said.starts_with(name))
            .unwrap()
    };
    let (new, old, both) = (of("new"), of("old"), of("both"));
    assert!(new.0.contains("new: not in the base"), "{new:?}");
    assert!(old.0.contains("gone: only in the base"), "{old:?}");
    assert!(both.0.contains("no change"), "{both:?}");
    // Red grows, blue shrinks.
    assert!(new.1[0] > new.1[2] + 30, "{new:?}");
    assert!(old.1[2] > old.1[0] + 30, "{old:?}");
    assert!(both.1[0].abs_diff(both.1[2]) < 20, "{both:?}");
    browser.press("#tab-functions");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length > 2");
    assert!(browser.text_of("#functions-panel thead").contains("Change"));
    browser.is_content();
}

#[test]
fn it_compares_two_files() {
    let start = UnixTime(now());
    let profiles = vec![
        shop::window(start, 300),
        shop::window(UnixTime(start.0 + 60 * SECOND), 160),
    ];
    let served = Served::files(profiles, Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    assert_eq!(
        browser.texts("#file-list .name"),
        ["All files", "file-0.pb.gz", "file-1.pb.gz"]
    );
    browser.press("#compare");
    browser.until("location.hash.includes('base_window=0') && location.hash.includes('&window=1')");
    browser.drawn();
    browser.until("document.querySelector('#legend').textContent.includes('gone')");
    browser.is_content();
}

/// Names are texts: on the canvas, in the list, in the tooltip, in the table, in the address, in the title.
#[test]
fn a_hostile_name_does_not_execute() {
    let served = Served::live(
        (0..6)
            .map(|n| shop::window(UnixTime(now() - (60 - n * 10) * SECOND), n))
            .collect(),
    );
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "#span=5m");
    browser.drawn();
    let names = browser.texts("#service-list .name");
    let place = names
        .iter()
        .position(|name| name.contains("onerror"))
        .unwrap();
    browser.press(&format!("#service-list li:nth-child({}) button", place + 1));
    browser.until("document.querySelector('#title').textContent.includes('onerror')");
    browser.drawn();
    let said: Vec<String> = (0..4).map(|row| browser.point_at(0.3, row)).collect();
    assert!(
        said.iter().any(|said| said.starts_with("<svg/onload")),
        "{said:?}"
    );
    // Its label is one too: in the list, as what is chosen, in the address.
    let label = "[...document.querySelectorAll('#label-list .list button')].find((found) => found.textContent.includes('onerror'))";
    browser.until(label);
    browser.value(&format!("{label}.click()"));
    browser.until("document.querySelector('#chosen').textContent.includes('onerror')");
    browser.drawn();
    browser.press("#chosen button");
    browser.until("document.querySelector('#chosen').hidden");
    browser.press("#compare");
    browser.until("document.querySelector('#base-service').options.length > 2");
    browser.press("#tab-functions");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length > 0");
    let page = "({ title: document.title, made: document.querySelectorAll('main img, main script, svg[onload], iframe').length })";
    let found = browser.value(page);
    assert!(
        found["title"].as_str().unwrap().ends_with("– Profiler"),
        "{found}"
    );
    assert_eq!(found["made"], 0);
    // And if one were made, the policy would stop it.
    let stopped = browser.value(
        "new Promise((done) => { document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective)); \
         const made = document.createElement('div'); made.innerHTML = '<img src=x onerror=\"document.title=1\">'; document.body.append(made); })",
    );
    assert!(
        stopped.as_str().unwrap().starts_with("script-src"),
        "{stopped}"
    );
    assert_ne!(browser.value("document.title"), Value::from("1"));
}

#[test]
fn an_agent_without_a_window_says_what_it_waits_for() {
    let served = Served::live(Vec::new());
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.until(
        "document.querySelector('#message').textContent.includes('first window closes in 7')",
    );
    browser.is_content();
}

#[test]
fn a_range_without_samples_says_so() {
    let served = Served::live(ten_minutes());
    let mut browser = Browser::start(800, 700);
    browser.page(&served, "#span=15m&service=nobody");
    browser.until("document.querySelector('#message').textContent.includes('No samples')");
    browser.press("#message button");
    browser.drawn();
    assert_eq!(browser.text_of("#title"), "Everything");
    browser.is_content();
}

/// Measures; the bound is generous, the number is printed.
#[test]
#[ignore = "a measurement for an optimized build: `cargo xtask bench` runs it"]
fn two_hundred_thousand_stacks_open_quickly() {
    let profile = shop::many_stacks(UnixTime(now()), 200_000);
    assert_eq!(profile.stacks.len(), 200_000);
    let served = Served::files(vec![profile], Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    let took = browser.value("performance.now()");
    println!("200,000 distinct stacks: {took} ms from navigation to drawn");
    assert!(took.as_f64().unwrap() < 10_000.0);
    let began = browser.value("performance.now()").as_f64().unwrap();
    let (x, y) = browser.place(0.2, 6);
    browser.click(x, y);
    browser.until(
        "!document.querySelector('#reset').hidden && document.querySelector('#progress').hidden",
    );
    let zoomed = browser.value("performance.now()").as_f64().unwrap() - began;
    println!("a zoom: {zoomed:.0} ms");
}

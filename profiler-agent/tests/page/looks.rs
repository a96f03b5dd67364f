//! How the page is laid out and told, in a headless browser: time line, comparison, help, narrow screens. Takes the
//! pictures of the documents.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use profiler_agent::page::Limits;
use profiler_agent::profile::{Profile, UnixTime};
use serde_json::json;

use crate::browser::ten_minutes;
use crate::demo::shop;
use crate::devtools::Browser;
use crate::served::Served;

/// Names a directory to keep the pictures in: `docs` of the repository, when they are to be taken anew.
const PICTURES: &str = "PROFILER_TEST_PICTURES";

const SECOND: u64 = 1_000_000_000;

impl Browser {
    /// Takes a picture of what is on the screen; kept where [`PICTURES`] says.
    pub(crate) fn picture(&mut self, name: &str) {
        let taken = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let bytes = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        assert!(
            bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000,
            "{} bytes",
            bytes.len()
        );
        if let Some(directory) = std::env::var_os(PICTURES) {
            std::fs::write(PathBuf::from(directory).join(name), bytes).unwrap();
        }
    }

    fn emulate(&mut self, method: &str, parameters: &serde_json::Value) {
        self.call(&format!("Emulation.{method}"), parameters);
    }

    /// Wider than the screen: what has to be scrolled sideways to be seen.
    fn overflow(&mut self) -> i64 {
        self.value("Math.max(...['html', 'main'].map((name) => document.querySelector(name).scrollWidth)) - innerWidth")
            .as_i64()
            .unwrap()
    }
}

/// A shop's machine for this many minutes up to now; `keep` says which windows are there.
fn minutes(minutes: u64, keep: impl Fn(u64) -> bool) -> Vec<Profile> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let windows = minutes * 6;
    let kept = (0..windows).filter(|number| keep(*number));
    kept.map(|number| {
        shop::window(
            UnixTime(now - (windows - number) * 10 * SECOND),
            windows - number,
        )
    })
    .collect()
}

#[test]
fn gaps_axis_and_time_zone_are_told() {
    // Two minutes in the middle are missing.
    let served = Served::live(minutes(10, |number| !(24..36).contains(&number)));
    let mut browser = Browser::start(1280, 800);
    browser.emulate(
        "setTimezoneOverride",
        &json!({"timezoneId": "Asia/Kolkata"}),
    );
    browser.page(&served, "#span=15m");
    browser.drawn();
    browser.until("document.querySelector('#timeline-said').textContent !== ''");
    let said = browser.text_of("#timeline-said");
    assert!(
        said.contains("UTC+05:30") && said.contains("1 gap without profiles"),
        "{said}"
    );
    assert!(
        said.starts_with("CPUs from ") && said.contains("peak "),
        "{said}"
    );
    assert!(browser.text_of("#subtitle").contains("UTC+05:30"));
    // A range over midnight has both of its days.
    let spoken = browser.value(
        "import('/assets/units.js').then(({ range }) => range(new Date(2026, 0, 31, 23, 50).getTime(), new Date(2026, 1, 1, 0, 10).getTime()))",
    );
    assert_eq!(spoken, "2026-01-31 23:50:00 – 2026-02-01 00:10:00");
    browser.is_content();
}

#[test]
fn a_comparison_says_less_and_more_and_warns_where_ranges_overlap() {
    let served = Served::live(ten_minutes());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let at = |ago: u64| now - ago * 1000;
    let mut browser = Browser::start(1280, 800);
    let hash = |until: u64| {
        format!(
            "#span=15m&service=burner&from={}&until={}&base=1&base_service=burner&base_from={}&base_until={}",
            at(250),
            at(20),
            at(590),
            at(until)
        )
    };
    browser.page(&served, &hash(350));
    browser.drawn();
    assert_eq!(
        browser.value("document.querySelector('#overlap').hidden"),
        true
    );
    assert!(
        browser.text_of("#legend").contains("less (gone)")
            && browser.text_of("#legend").contains("more (new)")
    );
    let usual = browser.colour(0.6, 2);
    browser.press("#palette");
    browser.until("location.hash.includes('palette=safe')");
    let safe = browser.colour(0.6, 2);
    assert_ne!(usual, safe);
    // Orange and blue: what tells them apart is in the channel of blue, and green goes with red.
    let (first, second) = (browser.colour(0.6, 2), browser.colour(0.9, 2));
    assert!(first[2].abs_diff(second[2]) > 40, "{first:?} {second:?}");
    browser.picture("compare.png");
    browser.press("#tab-functions");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length > 2");
    let cells = browser.texts("#functions-panel td.more, #functions-panel td.less");
    assert!(
        cells.iter().any(|cell| cell.ends_with("points more")),
        "{cells:?}"
    );
    assert!(
        cells.iter().any(|cell| cell.ends_with("points less")),
        "{cells:?}"
    );
    browser.page(&served, &hash(150));
    browser.until("!document.querySelector('#overlap').hidden");
    let said = browser.text_of("#overlap");
    assert!(said.starts_with("The ranges overlap by 100 s"), "{said}");
    browser.page(
        &served,
        &format!(
            "#span=15m&from={0}&until={1}&base=1&base_from={0}&base_until={1}",
            at(300),
            at(20)
        ),
    );
    browser.until(
        "document.querySelector('#overlap').textContent.startsWith('Both sides are the same')",
    );
    browser.is_content();
}

#[test]
fn help_opens_and_closes_and_the_profile_is_reached_at_once() {
    let served = Served::files(minutes(1, |_| true), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    browser.key("?");
    browser.until("document.querySelector('#help').open");
    assert!(browser.text_of("#help").contains("right click"));
    browser.press("#help button");
    browser.until("!document.querySelector('#help').open");
    // A question mark that is typed is one.
    browser.value("document.querySelector('#search').focus()");
    browser.key("?");
    assert_eq!(browser.value("document.querySelector('#help').open"), false);
    // The first that is reached by keys leads past all the lists, and leaves the address as it is.
    let first = browser.value("document.body.querySelector('a, button, input').id");
    assert_eq!(first, "skip");
    let before = browser.value("location.href");
    browser.press("#skip");
    browser.until("document.activeElement === document.querySelector('#view')");
    assert_eq!(browser.value("location.href"), before);
    browser.is_content();
}

#[test]
fn a_screen_of_400_pixels_has_all_of_it() {
    let served = Served::live(minutes(10, |_| true));
    let mut browser = Browser::start(1280, 800);
    let size = json!({"width": 400, "height": 850, "deviceScaleFactor": 1, "mobile": true});
    browser.emulate("setDeviceMetricsOverride", &size);
    browser.page(&served, "");
    browser.drawn();
    assert_eq!(browser.value("innerWidth"), 400);
    assert!(browser.overflow() <= 0);
    let canvas = browser.value("(() => { const box = document.querySelector('#flame-canvas').getBoundingClientRect(); return [box.width > 300, box.height > 200]; })()");
    assert_eq!(canvas, json!([true, true]));
    browser.picture("narrow.png");
    browser.press("#tab-functions");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length > 2");
    assert!(browser.overflow() <= 0);
    browser.press("#functions-panel tbody .sandwiched");
    browser.until("document.querySelector('.sandwich-head .function')");
    assert!(browser.overflow() <= 0);
    browser.is_content();
}

#[test]
fn what_opens_on_a_screen_of_400_pixels_is_on_it() {
    let served = Served::live(minutes(2, |_| true));
    let mut browser = Browser::start(1280, 800);
    let size = json!({"width": 400, "height": 850, "deviceScaleFactor": 1, "mobile": true});
    browser.emulate("setDeviceMetricsOverride", &size);
    browser.page(&served, "");
    browser.drawn();
    browser.value("document.querySelector('#find-id').value = 'nothing'; document.querySelector('#find').requestSubmit()");
    for (open, panel) in [
        ("#download summary", "#download-panel"),
        ("#status summary", "#status-panel"),
        ("#find-id", "#find-problem"),
    ] {
        browser.press(open);
        let place = browser.value(&format!(
            "(() => {{ const box = document.querySelector({panel:?}).getBoundingClientRect(); return [box.left >= 0, box.right <= innerWidth, box.width > 100]; }})()"
        ));
        assert_eq!(place, json!([true, true, true]), "{panel}");
    }
    assert!(browser.overflow() <= 0);
    browser.is_content();
}

#[test]
fn the_sandwich_view_in_a_dark_room() {
    let served = Served::live(minutes(10, |_| true));
    let mut browser = Browser::start(1280, 800);
    browser.emulate(
        "setEmulatedMedia",
        &json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]}),
    );
    browser.page(
        &served,
        "#tab=sandwich&service=checkout-api&function=encoding/json.Marshal",
    );
    browser.until("document.querySelector('.sandwich-head .function')?.textContent === 'encoding/json.Marshal'");
    browser.until("document.querySelector('#progress').hidden");
    let ground = browser.value("getComputedStyle(document.body).backgroundColor");
    assert_eq!(ground, "rgb(19, 20, 24)");
    browser.picture("sandwich.png");
    browser.is_content();
}

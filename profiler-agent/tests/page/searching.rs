//! Traces, spans and labels in a headless browser.

use profiler_agent::page::Limits;
use serde_json::Value;

use crate::devtools::Browser;
use crate::served::Served;
use crate::traces::{TRACE, two_windows};

impl Browser {
    fn find(&mut self, text: &str) {
        self.value("document.querySelector('#find-id').focus()");
        self.value("document.querySelector('#find-id').value = ''");
        self.text(text);
        self.value("document.querySelector('#find').requestSubmit()");
    }

    /// How many pixels of a lane have a mark: the lane's line is thinner.
    fn marks(&mut self, lane: usize) -> u64 {
        let script = format!(
            "(() => {{ const canvas = document.querySelectorAll('#trace .lane')[{lane}]; \
             const row = canvas.getContext('2d').getImageData(0, canvas.height / 2 - 6 * devicePixelRatio, canvas.width, 1).data; \
             let marks = 0; let before = 0; \
             for (let at = 3; at < row.length; at += 4) {{ if (row[at] > 100 && before <= 100) marks += 1; before = row[at]; }} \
             return marks; }})()"
        );
        self.value(&script).as_u64().unwrap()
    }
}

#[test]
fn a_trace_is_found_and_shown() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    // As a tracing system writes it, in whatever case.
    browser.find(&format!(" {}\n", TRACE.to_uppercase()));
    browser.until("document.querySelectorAll('#trace .lane').length > 0");
    browser.drawn();
    assert_eq!(browser.text_of("#title"), format!("Trace {TRACE}"));
    let said = browser.text_of("#subtitle");
    assert!(
        said.contains("1 s") && said.contains("5 samples, 51 ms of CPU time"),
        "{said}"
    );
    assert!(
        said.contains("2 services") && said.contains("3 spans"),
        "{said}"
    );
    assert_eq!(
        browser.texts("#trace .name"),
        ["api", "GET /cart", "GET /cart", "db", "2121212121212121"]
    );
    // Two of the four samples of `api` are 10 ms apart: a pixel or two, one mark.
    assert!((3..=4).contains(&browser.marks(0)), "{}", browser.marks(0));
    assert_eq!(browser.marks(3), 1);
    assert_eq!(
        browser.texts("#service-list .name"),
        ["Everything", "api", "db"]
    );
    let said = browser.point_at(0.1, 0);
    assert!(said.contains("5 samples"), "{said}");
    assert_eq!(
        browser.value("document.querySelector('#open-trace').href"),
        Value::from(format!(
            "https://traces.example/{TRACE}?span=1111111111111111"
        ))
    );
    // A span of it, back to all of it, and out.
    browser.press("#trace .lane-row:nth-child(3) button");
    browser.until("document.querySelector('#title').textContent === 'Span 1212121212121212'");
    browser.drawn();
    let said = browser.point_at(0.1, 0);
    assert!(said.contains("1 samples"), "{said}");
    browser.press("#whole-trace");
    browser.until("document.querySelector('#title').textContent.startsWith('Trace')");
    browser.press("#trace .lane-row:nth-child(4) button");
    browser.until("document.querySelector('#title').textContent.endsWith('db')");
    browser.drawn();
    let address = browser.value("location.href");
    assert!(
        address
            .as_str()
            .unwrap()
            .contains(&format!("trace_id={TRACE}"))
    );
    browser.press("#leave-trace");
    browser.until("document.querySelector('#title').textContent === 'Everything'");
    browser.until("document.querySelector('#trace').hidden");
    // The address brings it back.
    browser.open(address.as_str().unwrap());
    browser.until("document.querySelector('#title')?.textContent.endsWith('db')");
    browser.is_content();
}

#[test]
fn a_span_leads_to_its_trace() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    browser.find("2121212121212121");
    browser.until("document.querySelector('#title').textContent === 'Span 2121212121212121'");
    browser.drawn();
    assert_eq!(browser.texts("#trace .name"), ["db", "2121212121212121"]);
    browser.press("#whole-trace");
    browser.until(&format!(
        "document.querySelector('#title').textContent === 'Trace {TRACE}'"
    ));
    // A span whose trace nobody knows has none to open: the address asks for one.
    browser.find("3131313131313131");
    browser.until("document.querySelector('#title').textContent === 'Span 3131313131313131'");
    browser.drawn();
    assert_eq!(
        browser.value("[document.querySelector('#open-trace').hidden, document.querySelector('#whole-trace').hidden]"),
        serde_json::json!([true, true])
    );
    browser.is_content();
}

#[test]
fn what_is_no_id_or_has_no_sample_is_said() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    for wrong in ["17", "<img src=x onerror=alert(1)>", &"0".repeat(32)] {
        browser.find(wrong);
        browser.until("!document.querySelector('#find-problem').hidden");
        assert!(browser.text_of("#find-problem").contains("32 hexadecimal"));
    }
    browser.find(&"9".repeat(32));
    browser.until(
        "document.querySelector('#message').textContent.includes('No sample of this trace')",
    );
    browser.press("#message button");
    browser.drawn();
    assert_eq!(browser.text_of("#title"), "Everything");
    browser.is_content();
}

#[test]
fn labels_are_a_choice() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    browser.until("document.querySelectorAll('#label-list details').length === 3");
    assert_eq!(
        browser.texts("#label-list summary .name"),
        ["endpoint", "user", "span_name"]
    );
    browser.press("#label-list details:nth-child(1) li:nth-child(2) button");
    browser.until("location.hash.includes('label=endpoint')");
    browser.until("document.querySelectorAll('#chosen button').length === 1");
    browser.drawn();
    assert_eq!(browser.texts("#chosen .value"), ["/search"]);
    let said = browser.point_at(0.1, 0);
    assert!(said.contains("1 samples"), "{said}");
    browser.until("document.querySelector('#label-list').textContent.includes('me')");
    browser.press("#chosen button");
    browser.until("document.querySelector('#chosen').hidden && !location.hash.includes('label')");
    browser.drawn();
    browser.press("#label-list details:nth-child(2) li:nth-child(1) button");
    browser.until("document.querySelector('#chosen').textContent.includes('a:b')");
    browser.drawn();
    assert!(browser.point_at(0.1, 0).contains("4 samples"));
    browser.is_content();
}

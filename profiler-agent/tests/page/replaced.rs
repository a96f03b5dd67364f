//! A graph that is about to be replaced takes no clicks: what a person sees is what they choose from.

use std::sync::{Arc, Condvar, Mutex};

use profiler_agent::page::{Limits, SavedSource, Source};
use profiler_agent::profile::{ArchiveError, ArchivedWindow, Profile, UnixTime, WindowId};

use crate::browser::ten_minutes;
use crate::devtools::Browser;
use crate::heat::{minute, start};
use crate::served::Served;

/// Holds queries back while it is closed.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl Gate {
    fn close(&self, closed: bool) {
        self.state.lock().unwrap().closed = closed;
        self.changed.notify_all();
    }
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        state = self
            .changed
            .wait_while(state, |state| state.closed)
            .unwrap();
        state.waiting -= 1;
    }
    fn until_somebody_waits(&self) {
        let state = self.state.lock().unwrap();
        drop(
            self.changed
                .wait_while(state, |state| state.waiting == 0)
                .unwrap(),
        );
    }
}

/// Windows whose profiles are read through a gate.
struct Gated(SavedSource, Arc<Gate>);

impl Source for Gated {
    fn live(&self) -> bool {
        true
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        self.0.extent()
    }
    fn windows(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        self.0.windows(from, until, visit)
    }
    fn profile(&self, id: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        self.1.pass();
        self.0.profile(id)
    }
    fn label(&self, _: WindowId) -> Option<&str> {
        None
    }
}

#[test]
fn a_click_never_lands_on_a_graph_that_is_being_replaced() {
    let gate = Arc::new(Gate::default());
    let files = ten_minutes()
        .into_iter()
        .map(|profile| (String::new(), 100, profile));
    let source = Gated(SavedSource::new(files), Arc::clone(&gate));
    let served = Served::new(Arc::new(source), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    let said = browser.point_at(0.9, 1);
    assert!(said.starts_with("other"), "{said}");
    gate.close(true);
    browser.press("#service-list li:nth-child(2) button");
    browser.until("location.hash.includes('service=burner')");
    gate.until_somebody_waits();
    // The graph of everything is still there, and its right part is of the other service: by mouse, by keys.
    assert_eq!(
        browser.value("document.querySelector('#flame-canvas').getAttribute('aria-busy')"),
        "true"
    );
    let (x, y) = browser.place(0.9, 1);
    browser.click(x, y);
    browser.value("document.querySelector('#flame-canvas').focus()");
    for key in ["ArrowDown", "ArrowDown", "Enter"] {
        browser.key(key);
    }
    let hash = browser.value("location.hash");
    assert!(!hash.as_str().unwrap().contains("focus"), "{hash}");
    // A button that goes down before the graph changes, and up after it.
    browser.mouse("mousePressed", x, y);
    gate.close(false);
    browser.until("document.querySelector('#flame-canvas').getAttribute('aria-busy') === 'false'");
    browser.drawn();
    browser.mouse("mouseReleased", x, y);
    let hash = browser.value("location.hash");
    assert!(!hash.as_str().unwrap().contains("focus"), "{hash}");
    assert_eq!(browser.text_of("#title"), "burner");
    // The new graph takes them.
    let (x, y) = browser.place(0.25, 2);
    browser.click(x, y);
    browser.until("location.hash.includes('focus') && !document.querySelector('#reset').hidden");
    browser.drawn();
    browser.is_content();
}

#[test]
fn a_click_never_lands_on_a_heat_map_that_is_being_replaced() {
    let (gate, start) = (Arc::new(Gate::default()), start());
    let files = minute(start)
        .into_iter()
        .map(|profile| (String::new(), 100, profile));
    let source = Gated(SavedSource::new(files), Arc::clone(&gate));
    let served = Served::new(Arc::new(source), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    let range = format!("from={start}&until={}", start + 60_000);
    browser.page(&served, &format!("#tab=heat&{range}"));
    browser.mapped();
    let (x, y) = browser.cell(7, 35);
    gate.close(true);
    browser.press("#service-list li:nth-child(2) button");
    browser.until("location.hash.includes('service=burner')");
    gate.until_somebody_waits();
    let busy = "document.querySelector('#heat-canvas').getAttribute('aria-busy')";
    assert_eq!(browser.value(busy), "true");
    // The cells of everything are still there: two clicks, keys, and a button that goes up on the next map.
    browser.click(x, y);
    browser.click(x, y);
    browser.value("document.querySelector('#heat-canvas').focus()");
    for key in ["ArrowUp", "Enter", "Enter"] {
        browser.key(key);
    }
    browser.mouse("mousePressed", x, y);
    gate.close(false);
    browser.until(&format!("{busy} === 'false'"));
    browser.mapped();
    browser.mouse("mouseReleased", x, y);
    let hash = browser.value("location.hash");
    assert!(!hash.as_str().unwrap().contains("taken"), "{hash}");
    // The new map takes them.
    browser.click(x, y);
    browser.click(x, y);
    browser.until("location.hash.includes('taken=')");
    browser.is_content();
}

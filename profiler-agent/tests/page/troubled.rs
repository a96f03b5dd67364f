//! What the page does where an answer is not what it asked for, in a headless browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use profiler_agent::page::{Limits, SavedSource, Source};
use profiler_agent::profile::{ArchiveError, ArchivedWindow, Profile, UnixTime, WindowId};

use crate::demo::Builder;
use crate::devtools::Browser;
use crate::served::Served;

/// Cannot be read until it may be.
struct Troubled(SavedSource, Arc<AtomicBool>);

impl Source for Troubled {
    fn live(&self) -> bool {
        false
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        match self.1.load(Ordering::Relaxed) {
            true => self.0.extent(),
            false => Err("the disk is away".into()),
        }
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
        self.0.profile(id)
    }
    fn label(&self, id: WindowId) -> Option<&str> {
        self.0.label(id)
    }
}

fn served(works: bool) -> (Served, Arc<AtomicBool>) {
    let mut builder = Builder::new(UnixTime(1_767_225_600_000_000_000), 10);
    let api = builder.process(10, "api-main", "/usr/bin/api");
    builder.add(api, "worker", &["go:api:main", "go:api:serve"], 10);
    let file = ("file.pb.gz".to_owned(), 100, builder.finish());
    let works = Arc::new(AtomicBool::new(works));
    let source = Troubled(SavedSource::new([file]), Arc::clone(&works));
    (Served::new(Arc::new(source), Limits::VIEWER), works)
}

#[test]
fn a_page_that_could_not_begin_begins_when_it_is_tried_again() {
    let (served, works) = served(false);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.until("document.querySelector('#message button')");
    let said = browser.text_of("#message");
    assert!(said.contains("the disk is away"), "{said}");
    works.store(true, Ordering::Relaxed);
    browser.press("#message button");
    browser.drawn();
    // Its controls work.
    browser.press("#tab-functions");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length === 2");
}

#[test]
fn an_answer_in_plain_text_is_said_as_it_is() {
    let (served, _) = served(true);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    let said = browser.value(
        "import('/assets/api.js').then(({ Asker }) => new Asker().ask('nothing')).catch((error) => `${error.status}: ${error.message}`)",
    );
    assert_eq!(
        said,
        "404: There is nothing here: / is the page, /api/ the queries."
    );
}

#[test]
fn the_filter_says_what_the_address_says() {
    let (served, _) = served(true);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "#filter=ap");
    browser.drawn();
    assert_eq!(
        browser.value("document.querySelector('#filter').value"),
        "ap"
    );
    browser.value("location.hash = '#filter=nobody'");
    browser.until("document.querySelector('#filter').value === 'nobody'");
    browser.until("document.querySelectorAll('#service-list button').length === 1");
    browser.is_content();
}

//! The table, the sandwich view, the menu of a function and what the address keeps, in a headless browser.

use profiler_agent::page::Limits;
use profiler_agent::profile::{Profile, UnixTime};

use crate::browser::ten_minutes;
use crate::demo::{Builder, shop};
use crate::devtools::Browser;
use crate::served::Served;

const EPOCH: u64 = 1_767_225_600_000_000_000;

/// One service with a recursive function, two threads, and more functions than one page of the table has.
fn recursive() -> Profile {
    let mut builder = Builder::new(UnixTime(EPOCH), 10);
    let process = builder.process(10, "solver", "/usr/bin/solver");
    builder.add(
        process,
        "main",
        &[
            "rust:solver:main",
            "rust:solver:solve",
            "rust:solver:solve",
            "native:libm.so:pow",
        ],
        600,
    );
    builder.add(
        process,
        "main",
        &["rust:solver:main", "rust:solver:solve", "rust:solver:step"],
        200,
    );
    builder.add(
        process,
        "pool",
        &["rust:solver:pool", "rust:solver:step"],
        100,
    );
    for number in 0..450 {
        builder.add(
            process,
            "main",
            &[
                "rust:solver:main",
                &format!("rust:solver:small_{number:03}"),
            ],
            1,
        );
    }
    builder.finish()
}

fn opened(hash: &str) -> (Served, Browser) {
    let served = Served::files(vec![recursive()], Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, hash);
    (served, browser)
}

impl Browser {
    fn choose(&mut self, item: &str) {
        self.until("!document.querySelector('#menu').hidden");
        self.value(&format!(
            "[...document.querySelectorAll('#menu button')].find((found) => found.textContent.startsWith({item:?})).click()"
        ));
    }

    fn hash_has(&mut self, part: &str) {
        self.until(&format!(
            "decodeURIComponent(location.hash).includes({part:?})"
        ));
    }

    fn rows(&mut self, first: &str) {
        self.until(&format!(
            "document.querySelector('#functions-panel tbody .text')?.textContent === {first:?} && document.querySelector('#progress').hidden"
        ));
    }
}

#[test]
fn the_sandwich_view_has_callers_above_and_callees_below() {
    let (_served, mut browser) = opened("#tab=functions");
    browser.rows("pow");
    browser.value("[...document.querySelectorAll('#functions-panel tr')].find((row) => row.querySelector('.text')?.textContent === 'step').querySelector('.sandwiched').click()");
    browser.hash_has("function=step");
    browser.until("document.querySelector('.sandwich-head .function')?.textContent === 'step'");
    let said = browser.text_of(".sandwich-head");
    assert!(said.contains("22.2 %"), "{said}");
    assert_eq!(
        browser.texts("#sandwich-panel h3"),
        ["2 callers", "No callees"]
    );
    // The graph of callers is drawn: the function at the bottom, what calls it above.
    browser.until(
        "(() => { const canvas = document.querySelector('.callers canvas'); const colours = new Set(); \
         const row = canvas.getContext('2d').getImageData(canvas.width / 4, 0, 1, canvas.height).data; \
         for (let at = 0; at < row.length; at += 4) colours.add(row.slice(at, at + 3).join()); return colours.size > 2; })()",
    );
    // By keys, on to a caller, and from its menu to its own view.
    browser.value("document.querySelector('.callers canvas').focus()");
    for _ in 0..2 {
        browser.key("ArrowUp");
    }
    assert!(browser.text_of("#spoken").starts_with("solve"));
    browser.key("m");
    browser.choose("Callers and callees");
    browser.until("document.querySelector('.sandwich-head .function').textContent === 'solve'");
    assert_eq!(
        browser.texts("#sandwich-panel h3"),
        ["1 caller", "2 callees"]
    );
    // The address brings it back, and so does the way back.
    let address = browser.value("location.href");
    browser.open(address.as_str().unwrap());
    browser.until("document.querySelector('.sandwich-head .function')?.textContent === 'solve'");
    browser.value("document.querySelector('#tab-flame').click()");
    browser.drawn();
    browser.value("history.back()");
    browser.until("!document.querySelector('#sandwich-panel').hidden");
    browser.is_content();
}

#[test]
fn the_menu_of_a_function_changes_what_is_seen() {
    let (_served, mut browser) = opened("");
    browser.drawn();
    // all, solver, main, solve, solve, pow
    let (x, y) = browser.place(0.2, 4);
    browser.context_click(x, y);
    browser.until("document.querySelector('#menu .title')?.textContent === 'solve'");
    browser.choose("Collapse its recursion");
    browser.hash_has("view=collapse:solve");
    browser.drawn();
    browser.until("document.querySelector('#flame-canvas').getAttribute('aria-busy') === 'false'");
    let said = browser.point_at(0.2, 4);
    assert!(said.starts_with("pow"), "{said}");
    assert!(
        said.contains("Of parent") && said.contains("75.0 %"),
        "{said}"
    );
    assert!(browser.text_of("#chosen").contains("recursion collapsed"));
    // By keys: the frame that is chosen, its menu, an item.
    browser.value("document.querySelector('#flame-canvas').focus()");
    for _ in 0..5 {
        browser.key("ArrowDown");
    }
    browser.key("m");
    browser.until("document.querySelector('#menu .title')?.textContent === 'pow'");
    browser.key("Escape");
    browser.until("document.querySelector('#menu').hidden && document.activeElement === document.querySelector('#flame-canvas')");
    // What is chosen has a row of its own above the graph.
    let (x, y) = browser.place(0.2, 4);
    browser.context_click(x, y);
    browser.choose("Only module libm.so");
    browser.hash_has("view=module:libm.so");
    browser.until("document.querySelector('#flame-canvas').getAttribute('aria-busy') === 'false'");
    browser.drawn();
    let said = browser.point_at(0.2, 2);
    assert!(said.starts_with("pow"), "{said}");
    browser.press("#chosen button:last-child");
    browser.until("document.querySelectorAll('#chosen button').length === 1");
    browser.press("#chosen button");
    browser.until("document.querySelector('#chosen').hidden && document.querySelector('#flame-canvas').getAttribute('aria-busy') === 'false'");
    browser.drawn();
    let (x, y) = browser.place(0.2, 4);
    browser.context_click(x, y);
    browser.choose("Hide this function");
    browser.until("location.hash.includes('hide') && document.querySelector('#flame-canvas').getAttribute('aria-busy') === 'false'");
    browser.drawn();
    let said = browser.point_at(0.1, 3);
    assert!(said.starts_with("pow"), "{said}");
    browser.is_content();
}

#[test]
fn names_and_stacks_are_copied() {
    let (_served, mut browser) = opened("");
    browser.drawn();
    browser.value("Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { window.pasted = text; } } })");
    let (x, y) = browser.place(0.2, 5);
    browser.context_click(x, y);
    browser.choose("Copy name");
    browser.until("window.pasted === 'pow'");
    browser.until("document.querySelector('#spoken').textContent === 'Name copied'");
    browser.context_click(x, y);
    browser.choose("Copy stack");
    browser.until("window.pasted === 'solver\\nmain\\nsolve\\nsolve\\npow'");
    browser.is_content();
}

#[test]
fn the_table_is_sorted_and_paged_by_the_address() {
    let (served, mut browser) = opened("#tab=functions");
    browser.rows("pow");
    assert_eq!(browser.text_of(".pages span"), "1 – 200 of 455 functions");
    browser.value("[...document.querySelectorAll('.pages button')].at(-1).click()");
    browser.hash_has("offset=200");
    browser.until("document.querySelector('.pages span').textContent.startsWith('201')");
    browser.value("[...document.querySelectorAll('.pages button')].at(-1).click()");
    browser.until(
        "document.querySelector('.pages span').textContent === '401 – 455 of 455 functions'",
    );
    browser.press("#functions-panel [data-order=name]");
    browser.rows("main");
    let hash = browser.value("location.hash");
    assert!(
        hash.as_str().unwrap().contains("order=name") && !hash.as_str().unwrap().contains("offset"),
        "{hash}"
    );
    browser.press("#functions-panel [data-order=name]");
    browser.rows("step");
    browser.hash_has("sort=descending");
    let address = browser.value("location.href");
    browser.open(address.as_str().unwrap());
    browser.rows("step");
    let sorted = browser.value("document.querySelector('#functions-panel [data-order=name]').parentElement.getAttribute('aria-sort')");
    assert_eq!(sorted, "descending");
    // An expression, and a broken one, which leaves what is there.
    browser.page(&served, "#tab=functions&search=%2Fsmall_0.5%24%2F");
    browser.rows("small_005");
    assert_eq!(browser.text_of(".pages span"), "10 functions");
    browser.value(
        "document.querySelector('#search').focus(); document.querySelector('#search').select()",
    );
    browser.text("/small_(/");
    browser.until("document.querySelector('#match.wrong')?.textContent.includes('cannot be used')");
    assert_eq!(browser.texts("#functions-panel tbody .text").len(), 10);
    assert_eq!(
        browser.value("document.querySelector('#message').hidden"),
        true
    );
}

#[test]
fn the_flame_graph_is_searched_by_expressions() {
    let (_served, mut browser) = opened("#search=%2F%5Epow%24%7Cstep%2F");
    browser.drawn();
    browser.until("document.querySelector('#match').textContent === '66.7 % matched'");
    browser.value(
        "document.querySelector('#search').focus(); document.querySelector('#search').select()",
    );
    browser.text("/[/");
    browser.until(
        "document.querySelector('#match.wrong')?.textContent.includes('/[/ cannot be used')",
    );
}

#[test]
fn stacks_are_grouped_and_narrowed_by_thread() {
    let (_served, mut browser) = opened("");
    browser.drawn();
    browser.value("document.querySelector('#group').value = 'thread'; document.querySelector('#group').dispatchEvent(new Event('change'))");
    browser.hash_has("group=thread");
    browser.until("document.querySelector('#flame-canvas').getAttribute('aria-busy') === 'false'");
    browser.drawn();
    let said = browser.point_at(0.1, 2);
    assert!(
        said.starts_with("main") && said.contains("92.6 %"),
        "{said}"
    );
    browser.until("!document.querySelector('#attributes').hidden");
    browser.value("[...document.querySelectorAll('#attribute-list button')].find((found) => found.textContent.startsWith('pool')).click()");
    browser.hash_has("thread=pool");
    browser.until("document.querySelector('#flame-canvas').getAttribute('aria-busy') === 'false'");
    browser.drawn();
    let said = browser.point_at(0.5, 3);
    assert!(
        said.starts_with("pool") && said.contains("100 samples"),
        "{said}"
    );
    assert!(browser.text_of("#chosen").contains("pool"));
    browser.is_content();
}

#[test]
fn services_are_filtered_by_name_and_process() {
    let served = Served::live(ten_minutes());
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    browser.value("document.querySelector('#filter').focus()");
    browser.text("BURN");
    browser.until("document.querySelectorAll('#service-list .name').length === 2");
    assert_eq!(
        browser.texts("#service-list .name"),
        ["Everything", "burner"]
    );
    browser.hash_has("filter=BURN");
    browser.is_content();
}

/// The names of the demo's programs are attacks on the page: the menu, the view and the chips show them as texts.
#[test]
fn a_hostile_name_is_a_text_everywhere() {
    let served = Served::files(vec![shop::window(UnixTime(EPOCH), 3)], Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "#tab=functions&search=svg");
    browser.until("document.querySelectorAll('#functions-panel tbody tr').length > 0");
    browser.value("document.querySelector('#functions-panel tbody .sandwiched').click()");
    browser
        .until("document.querySelector('.sandwich-head .function')?.textContent.includes('<svg')");
    browser.value("document.querySelector('.callees canvas').focus()");
    browser.key("ArrowDown");
    browser.key("m");
    browser.choose("Hide this function");
    browser.until("document.querySelector('#chosen').textContent.includes('<svg')");
    browser.until("document.querySelector('#tab-flame').getAttribute('aria-selected') === 'true'");
    assert_eq!(
        browser.value(
            "document.querySelectorAll('main img, main script, svg[onload], iframe').length"
        ),
        0
    );
    browser.is_content();
}

//! Source lines of functions, against what plain code finds in the saved profile itself.

use std::collections::BTreeMap;

use profiler_agent::page::Limits;
use profiler_agent::profile::{Profile, UnixTime};
use serde_json::Value;

use crate::demo::Builder;
use crate::devtools::Browser;
use crate::served::Served;

const EPOCH: u64 = 1_767_225_600;

#[test]
fn lines_are_those_of_the_profile() {
    let mut builder = Builder::new(UnixTime(EPOCH * 1_000_000_000), 10);
    let process = builder.process(10, "left", "/usr/bin/left");
    builder.add(
        process,
        "left",
        &["go:left:a", "go:left:b", "go:left:a"],
        50,
    );
    builder.add(process, "left", &["go:left:a", "go:left:b»a"], 30);
    builder.add(process, "left", &["go:left:b»a", "go:left:b"], 20);
    builder.add(process, "left", &["native:libz.so:inflate"], 5);
    let mut profile = builder.finish();
    // A line for each place in the code, and no file for what has no debug information.
    for (number, location) in (1..).zip(&mut profile.locations) {
        location
            .lines
            .iter_mut()
            .for_each(|line| line.line = number);
    }
    for function in &mut profile.functions {
        match &*function.name {
            "inflate" => {}
            name => function.file = format!("/src/{name}.go").into(),
        }
    }
    let mut expected: BTreeMap<(String, u64), (u64, u64)> = BTreeMap::new();
    for sample in &profile.samples {
        let mut seen = std::collections::BTreeSet::new();
        for (depth, location) in profile.stacks.get(sample.stack).iter().enumerate() {
            for (inner, line) in profile.locations[location.0 as usize]
                .lines
                .iter()
                .enumerate()
            {
                let name = profile.functions[line.function.0 as usize].name.to_string();
                let key = (name, u64::from(line.line));
                let entry = expected.entry(key.clone()).or_default();
                if depth == 0 && inner == 0 {
                    entry.0 += sample.count;
                }
                if seen.insert(key) {
                    entry.1 += sample.count;
                }
            }
        }
    }
    let served = Served::files(vec![profile], Limits::VIEWER);
    let rows = |query: &str| -> Vec<(String, u64, u64, u64)> {
        let list = served.json(&format!("/api/lines?{query}"));
        assert_eq!(list["windows"], 1);
        let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
        let rows = list["lines"].as_array().unwrap().iter();
        rows.map(|row| {
            let name = row["name"].as_str().unwrap().to_owned();
            (
                name,
                number(row, "line"),
                number(row, "self"),
                number(row, "total"),
            )
        })
        .collect()
    };
    for function in ["a", "b"] {
        let found: BTreeMap<_, _> = rows(&format!("function={function}"))
            .into_iter()
            .map(|(name, line, own, total)| ((name, line), (own, total)))
            .collect();
        let of: BTreeMap<_, _> = expected
            .clone()
            .into_iter()
            .filter(|((name, _), _)| name == function)
            .collect();
        assert_eq!(found, of);
    }
    // Of each function its hottest line.
    let hottest = rows("");
    let names: Vec<&str> = hottest.iter().map(|row| &*row.0).collect();
    assert_eq!(names, ["a", "b", "inflate"]);
    let most = expected
        .iter()
        .filter(|((name, _), _)| name == "a")
        .map(|(_, times)| times.0)
        .max();
    assert_eq!(Some(hottest[0].2), most);
    assert!(served.refused("/api/lines?windows=61").contains("1 to 60"));
}

/// A function of the same name in two files, one of no known line, and one without a file.
fn ambiguous(start: u64, count: u64) -> Profile {
    let mut builder = Builder::new(UnixTime((EPOCH + start) * 1_000_000_000), 10);
    let process = builder.process(10, "left", "/usr/bin/left");
    builder.add(
        process,
        "left",
        &["go:left:main", "go:left:work"],
        5 * count,
    );
    builder.add(
        process,
        "left",
        &["go:left:main", "native:libz.so:work"],
        9 * count,
    );
    builder.add(process, "left", &["go:left:main", "go:left:unknown"], count);
    let mut profile = builder.finish();
    let lines = [("main", 7), ("work", 11), ("unknown", 0)];
    for location in &mut profile.locations {
        for line in &mut location.lines {
            let name = &*profile.functions[line.function.0 as usize].name;
            let known = lines.iter().find(|(found, _)| *found == name);
            line.line = known.unwrap().1;
        }
    }
    for function in &mut profile.functions {
        if &*function.name == "main" {
            function.file = "/src/main.go".into();
        }
    }
    profile
}

#[test]
fn lines_are_of_one_module_and_of_no_unknown_line() {
    let served = Served::files(vec![ambiguous(0, 1)], Limits::VIEWER);
    let rows = |query: &str| -> Vec<(String, String, u64, u64)> {
        let list = served.json(&format!("/api/lines?{query}"));
        let rows = list["lines"].as_array().unwrap().iter();
        rows.map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            let number = |name: &str| row[name].as_u64().unwrap();
            (text("name"), text("module"), number("line"), number("self"))
        })
        .collect()
    };
    let row = |name: &str, module: &str, line, own| (name.to_owned(), module.to_owned(), line, own);
    let [zip, left] = [row("work", "libz.so", 11, 9), row("work", "left", 11, 5)];
    assert_eq!(
        rows(""),
        [zip.clone(), left.clone(), row("main", "left", 7, 0)]
    );
    assert_eq!(rows("function=work"), [zip.clone(), left.clone()]);
    assert_eq!(rows("function=work&module=left"), [left]);
    assert_eq!(rows("module=libz.so"), [zip]);
    assert_eq!(rows("function=unknown"), []);
}

#[test]
fn a_range_of_more_windows_than_a_query_reads_has_the_lines_of_its_newest() {
    let windows = (0..6).map(|number| ambiguous(number * 10, 1 << number));
    let limits = Limits {
        windows: 3,
        ..Limits::VIEWER
    };
    let served = Served::files(windows.collect(), limits);
    let error = served.refused("/api/flamegraph");
    assert!(error.contains("choose a shorter range"), "{error}");
    for (query, windows, samples) in [
        ("", 3, 8 + 16 + 32),
        ("windows=2", 2, 16 + 32),
        ("windows=60", 3, 8 + 16 + 32),
    ] {
        let list = served.json(&format!("/api/lines?function=work&module=libz.so&{query}"));
        assert_eq!(list["windows"], windows, "{query}");
        assert_eq!(list["samples"], 15 * samples, "{query}");
        assert_eq!(list["lines"][0]["self"], 9 * samples, "{query}");
    }
}

#[test]
fn the_page_names_no_line_of_an_unknown_file_or_of_another_module() {
    let served = Served::files(vec![ambiguous(0, 1)], Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "#tab=functions");
    browser.until(
        "[...document.querySelectorAll('#functions-panel .line')].some((line) => line.textContent !== '')",
    );
    let texts = browser.texts("#functions-panel .line");
    let named: Vec<&String> = texts.iter().filter(|text| !text.is_empty()).collect();
    assert_eq!(named, ["main.go:7"], "{texts:?}");
    let titles = browser.value(
        "[...document.querySelectorAll('#functions-panel .line')].map((line) => line.title).filter((title) => title !== '')",
    );
    assert_eq!(titles, serde_json::json!(["/src/main.go:7"]));
    browser.page(&served, "#tab=sandwich&function=work&module=left");
    browser.until("document.querySelector('.sandwich-head .lines')");
    browser.press(".sandwich-head .lines summary");
    assert_eq!(
        browser.texts(".sandwich-head .lines td"),
        ["line 11", "33.3 %", "33.3 %"]
    );
    browser.is_content();
}

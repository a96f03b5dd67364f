//! Callers and callees, changed stacks, searches and pages, against what plain code finds in the saved profile itself.

use std::collections::BTreeMap;

use profiler_agent::page::Limits;
use profiler_agent::profile::{Profile, UnixTime};
use serde_json::{Value, json};

use crate::api::paths;
use crate::demo::Builder;
use crate::served::Served;

const EPOCH: u64 = 1_767_225_600;

/// Stacks of a few functions that call each other and themselves, in no order: the same every time.
fn tangled() -> Profile {
    let mut builder = Builder::new(UnixTime(EPOCH * 1_000_000_000), 10);
    let first = builder.process(10, "left-main", "/usr/bin/left");
    let second = builder.process(20, "right-main", "/usr/bin/right");
    let functions = [
        "go:left:a",
        "go:left:b",
        "native:libz.so:inflate",
        "rust:left:d",
        "kernel:[kernel]:read",
    ];
    let mut state = 12_345u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for number in 0..400 {
        let depth = 1 + random(7);
        let stack: Vec<&str> = (0..depth)
            .map(|_| functions[random(functions.len())])
            .collect();
        let process = if random(3) == 0 { second } else { first };
        let thread = ["worker", "gc"][random(2)];
        builder.add(process, thread, &stack, 1 + number % 5);
    }
    builder.finish()
}

/// Service, thread, names and modules outermost first, and samples, read from the profile alone.
struct Plain {
    service: String,
    thread: String,
    frames: Vec<(String, String)>,
    samples: u64,
}

fn plain(profile: &Profile) -> Vec<Plain> {
    let row = |sample: &profiler_agent::profile::ProfileSample| {
        let thread = &profile.threads[sample.thread.0 as usize];
        let process = &profile.processes[thread.process as usize];
        let mut frames = Vec::new();
        for location in profile.stacks.get(sample.stack).iter().rev() {
            let location = &profile.locations[location.0 as usize];
            let file = &profile.mappings[location.mapping.unwrap().0 as usize].file;
            for line in location.lines.iter().rev() {
                let name = profile.functions[line.function.0 as usize].name.to_string();
                frames.push((name, file.to_string()));
            }
        }
        let service = process.executable.rsplit('/').next().unwrap().to_owned();
        Plain {
            service,
            thread: thread.name.to_string(),
            frames,
            samples: sample.count,
        }
    };
    profile.samples.iter().map(row).collect()
}

/// Path -> self and total of a tree of these paths.
type Tree = BTreeMap<String, (u64, u64)>;

fn tree(root: &str, stacks: impl IntoIterator<Item = (Vec<String>, u64)>) -> Tree {
    let mut tree = Tree::new();
    for (stack, samples) in stacks {
        let mut path = root.to_owned();
        tree.entry(path.clone()).or_default().1 += samples;
        for name in &stack {
            path = format!("{path}/{name}");
            tree.entry(path.clone()).or_default().1 += samples;
        }
        tree.get_mut(&path).unwrap().0 += samples;
    }
    tree
}

fn answered(graph: &Value) -> Tree {
    let all = paths(graph, 5);
    let count = all.len();
    let tree: Tree = all
        .into_iter()
        .map(|(path, numbers, _)| (path, (numbers[0], numbers[1])))
        .collect();
    assert_eq!(tree.len(), count, "no two nodes have the same path");
    tree
}

#[test]
fn callers_and_callees_are_those_of_the_profile() {
    let profile = tangled();
    let rows = plain(&profile);
    let served = Served::files(vec![profile], Limits::VIEWER);
    let all: u64 = rows.iter().map(|row| row.samples).sum();
    for function in ["a", "b", "inflate", "d", "read"] {
        let answer = served.json(&format!("/api/sandwich?function={function}"));
        let having = || {
            rows.iter().filter_map(|row| {
                let names: Vec<String> = row.frames.iter().map(|(name, _)| name.clone()).collect();
                let place = names.iter().position(|name| name == function)?;
                Some((row, names, place))
            })
        };
        let callers = having().map(|(row, names, place)| {
            let mut above: Vec<String> = names[..place].iter().rev().cloned().collect();
            above.push(row.service.clone());
            (above, row.samples)
        });
        let callees =
            having().map(|(row, names, place)| (names[place + 1..].to_vec(), row.samples));
        assert_eq!(
            answered(&answer["callers"]),
            tree(function, callers),
            "{function}"
        );
        assert_eq!(
            answered(&answer["callees"]),
            tree(function, callees),
            "{function}"
        );
        let total: u64 = having().map(|(row, ..)| row.samples).sum();
        let own: u64 = having()
            .filter(|(_, names, _)| names.last().unwrap() == function)
            .map(|(row, ..)| row.samples)
            .sum();
        assert_eq!(
            (answer["self"].as_u64(), answer["total"].as_u64()),
            (Some(own), Some(total))
        );
        assert_eq!(answer["samples"], all);
        let table = served.json(&format!("/api/functions?search=/^{function}$/"));
        assert_eq!(
            table["functions"][0]["total"], total,
            "recursion counts once in both"
        );
    }
    let compared = served.json("/api/sandwich?function=a&service=left&base_service=right");
    let of = |service: &str| {
        served.json(&format!("/api/sandwich?function=a&service={service}"))["total"].clone()
    };
    assert_eq!(
        (&compared["total"], &compared["base_total"]),
        (&of("left"), &of("right"))
    );
    let (status, body) = served.get("/api/sandwich?function=nobody");
    assert_eq!(status, 404);
    assert!(body.contains("nobody"), "{body}");
    assert!(served.refused("/api/sandwich").contains("give function"));
    assert_eq!(
        served.get("/api/sandwich?function=inflate&module=left").0,
        404
    );
    // A service is no function.
    assert_eq!(served.get("/api/sandwich?function=left").0, 404);
}

#[test]
fn changed_stacks_are_those_of_the_profile() {
    let profile = tangled();
    let rows = plain(&profile);
    let served = Served::files(vec![profile], Limits::VIEWER);
    let names = |frames: &[(String, String)]| {
        frames
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    let with_service = |row: &Plain, frames: Vec<String>| {
        (
            std::iter::once(row.service.clone())
                .chain(frames)
                .collect::<Vec<_>>(),
            row.samples,
        )
    };
    let graph = |view: &str| answered(&served.json(&format!("/api/flamegraph?{view}")));
    let hidden = rows.iter().map(|row| {
        let rest = names(&row.frames)
            .into_iter()
            .filter(|name| name != "b")
            .collect();
        with_service(row, rest)
    });
    assert_eq!(graph("view=hide:b"), tree("all", hidden));
    let collapsed = rows.iter().map(|row| {
        let names = names(&row.frames);
        let mut rest = names.clone();
        let first = names.iter().position(|name| name == "a");
        if let (Some(first), Some(last)) = (first, names.iter().rposition(|name| name == "a")) {
            rest.drain(first..last);
        }
        with_service(row, rest)
    });
    assert_eq!(graph("view=collapse:a"), tree("all", collapsed));
    let module = rows
        .iter()
        .filter(|row| row.frames.iter().any(|(_, file)| file == "left"))
        .map(|row| {
            let frames: Vec<_> = row
                .frames
                .iter()
                .filter(|(_, file)| file == "left")
                .cloned()
                .collect();
            with_service(row, names(&frames))
        });
    assert_eq!(graph("view=module:left"), tree("all", module));
    // In order: what is hidden is not there for the next.
    let with = rows
        .iter()
        .map(|row| (row, names(&row.frames)))
        .filter(|(_, names)| names.iter().any(|name| name == "d"));
    let with = with.map(|(row, names)| {
        with_service(row, names.into_iter().filter(|name| name != "a").collect())
    });
    assert_eq!(graph("view=with:d&view=hide:a"), tree("all", with));
    assert_eq!(
        served.json("/api/flamegraph?view=hide:d&view=with:d")["samples"],
        0
    );
    assert!(
        served
            .refused("/api/flamegraph?view=remove:a")
            .contains("hide:NAME")
    );
    assert!(
        served
            .refused("/api/flamegraph?view=hide:a&format=pprof")
            .contains("leave out view")
    );
}

#[test]
fn groups_and_filters_are_threads_processes_and_labels() {
    let profile = tangled();
    let rows = plain(&profile);
    let served = Served::files(vec![profile], Limits::VIEWER);
    let sum = |keep: &dyn Fn(&Plain) -> bool| {
        rows.iter()
            .filter(|row| keep(row))
            .map(|row| row.samples)
            .sum::<u64>()
    };
    let worker = sum(&|row| row.thread == "worker");
    assert_eq!(
        served.json("/api/flamegraph?thread=worker")["samples"],
        worker
    );
    assert_eq!(
        served.json("/api/services?thread=worker")["samples"],
        worker
    );
    let both = sum(&|row| row.thread == "gc" && row.service == "right");
    assert_eq!(
        served.json("/api/functions?thread=gc&pid=20")["samples"],
        both
    );
    let by_process = answered(&served.json("/api/flamegraph?group=process"));
    assert_eq!(
        by_process["all/left/10 left-main"].1,
        sum(&|row| row.service == "left")
    );
    let by_thread = answered(&served.json("/api/flamegraph?group=thread"));
    assert_eq!(by_thread["all/right/gc"].1, both);
    let labels = served.json("/api/labels");
    let attributes = labels["attributes"].as_array().unwrap();
    let of = |key: &str, value: &str| {
        let found = attributes.iter().find(|found| found["key"] == key).unwrap();
        let values = found["values"].as_array().unwrap();
        values.iter().find(|found| found["value"] == value).unwrap()["samples"].clone()
    };
    assert_eq!(of("thread", "worker"), worker);
    assert_eq!(of("pid", "20"), sum(&|row| row.service == "right"));
    assert!(
        served
            .refused("/api/flamegraph?group=colour")
            .contains("label:KEY")
    );
}

#[test]
fn expressions_are_matched_and_broken_ones_are_said() {
    let profile = tangled();
    let rows = plain(&profile);
    let served = Served::files(vec![profile], Limits::VIEWER);
    // A name that ends in e or is read, and a module.
    let has = |(name, file): &(String, String)| name == "inflate" || file == "[kernel]";
    let matched: u64 = rows
        .iter()
        .filter(|row| row.frames.iter().any(has))
        .map(|row| row.samples)
        .sum();
    let found = served.json("/api/search?search=/%5EINFL.*e%24%7Ckern/");
    assert_eq!(found["matched"], matched);
    assert_eq!(
        found["functions"],
        json!([["inflate", "libz.so"], ["read", "[kernel]"]])
    );
    assert_eq!(served.json("/api/search?search=/%5Eleft%24/")["found"], 3);
    for query in ["functions", "search"] {
        let said = served.refused(&format!("/api/{query}?search=/(/"));
        assert!(said.contains("/(/ cannot be used"), "{said}");
        let said = served.refused(&format!(
            "/api/{query}?search=/((x%7B90%7D)%7B90%7D)%7B90%7D/"
        ));
        assert!(said.contains("cannot be used"), "{said}");
    }
}

#[test]
fn the_table_has_pages_and_orders() {
    let mut builder = Builder::new(UnixTime(EPOCH * 1_000_000_000), 10);
    let process = builder.process(10, "wide", "/usr/bin/wide");
    for number in 0..1_000u64 {
        builder.add(
            process,
            "wide",
            &["go:wide:main", &format!("go:wide:f{number:04}")],
            1 + number,
        );
    }
    let served = Served::files(vec![builder.finish()], Limits::VIEWER);
    let names = |query: &str| -> Vec<String> {
        let table = served.json(&format!("/api/functions?{query}"));
        assert_eq!(table["found"], 1_001);
        let rows = table["functions"].as_array().unwrap();
        rows.iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("limit=2"), ["f0999", "f0998"]);
    assert_eq!(names("limit=2&offset=998"), ["f0001", "f0000"]);
    assert_eq!(names("offset=1001"), [""; 0]);
    assert_eq!(names("sort=ascending&limit=2"), ["main", "f0000"]);
    assert_eq!(names("order=name&limit=1"), ["f0000"]);
    assert_eq!(
        names("order=name&sort=descending&limit=2"),
        ["main", "f0999"]
    );
    let all: Vec<String> = (0..1_001)
        .step_by(200)
        .flat_map(|offset| names(&format!("limit=200&offset={offset}")))
        .collect();
    assert_eq!(all, names("limit=10000"));
    assert!(
        served
            .refused("/api/functions?sort=up")
            .contains("ascending")
    );
    assert!(served.refused("/api/functions?order=size").contains("name"));
}

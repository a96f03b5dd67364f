//! Killed with SIGKILL at random moments: afterwards the file holds exactly what was reported.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use profiler_agent::profile::{Delivery, Destination, Payload};
use profiler_agent::spool::store::SpoolFile;
use profiler_agent::spool::{Config, start};

use super::{Alive, Random, child, given, number_of, on_one_thread, payload, quick, until};

const RUNS: u64 = 200;
const LIMIT: u64 = 16 << 20;

/// One change of the file, as the truth log has it: `-3 -4 +7:1000`.
fn apply(line: &str, holds: &mut BTreeMap<u64, usize>) {
    for word in line.split_whitespace() {
        if let Some(number) = word.strip_prefix('-') {
            holds.remove(&number.parse().unwrap());
        } else if let Some(added) = word.strip_prefix('+') {
            let (number, length) = added.split_once(':').unwrap();
            holds.insert(number.parse().unwrap(), length.parse().unwrap());
        }
    }
}

fn open(directory: &Path) -> (SpoolFile, BTreeMap<u64, usize>) {
    let mut aside = None;
    let (file, found) = SpoolFile::open(&directory.join("x.redb"), LIMIT, &mut aside).unwrap();
    assert_eq!((aside, found.damaged), (None, 0));
    let mut holds = BTreeMap::new();
    for (number, header) in found.records {
        let payload = file.load(number).unwrap().unwrap();
        assert_eq!(number_of(&payload), number);
        assert_eq!(header.length(), payload.bytes.len() as u64);
        holds.insert(number, payload.bytes.len());
    }
    (file, holds)
}

/// What a killed child said after the word that starts each of its own lines; the last line may be cut off.
fn said(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| line.split_once("truth "))
        .filter_map(|(_, line)| line.trim_end().split_once(' '))
}

/// Kills the child after so many of its lines and some more moments; everything that it said.
fn killed(mut child: std::process::Child, lines: u64, moments: u64) -> String {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..lines {
        output.read_line(&mut text).unwrap();
    }
    for moment in 0..moments {
        std::hint::black_box(moment);
    }
    child.kill().unwrap();
    output.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text
}

#[test]
#[ignore = "the program that is killed"]
fn changes_until_killed() {
    let (directory, first) = given();
    let (mut file, holds) = open(&directory);
    let mut holds: BTreeSet<u64> = holds.into_keys().collect();
    let mut random = Random(first);
    for number in first.. {
        let most = random.below(4) as usize;
        let removed: Vec<u64> = holds
            .iter()
            .copied()
            .filter(|_| holds.len() > 20 || random.below(4) == 0)
            .take(most)
            .collect();
        let appended: Vec<Payload> = (0..random.below(4))
            .map(|at| payload(4 * number + at, random.below(60_000) as usize))
            .collect();
        let mut line = String::new();
        for number in &removed {
            line += &format!(" -{number}");
        }
        for payload in &appended {
            line += &format!(" +{}:{}", payload.start.0, payload.bytes.len());
        }
        let appends: Vec<(u64, &Payload)> = appended
            .iter()
            .map(|payload| (payload.start.0, payload))
            .collect();
        println!("truth begins{line} .");
        file.change(&removed, &appends, true).unwrap();
        println!("truth done{line} .");
        holds.extend(appends.iter().map(|(number, _)| *number));
        for number in removed {
            holds.remove(&number);
        }
    }
}

#[test]
fn the_file_holds_what_the_truth_log_says() {
    let start = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let seed = std::process::id();
    println!("seed {seed}");
    let mut random = Random(seed.into());
    let mut holds = BTreeMap::new();
    let (mut changes, mut in_flight, mut in_flight_done) = (0, 0, 0);
    for run in 0..RUNS {
        let child = child("killed::changes_until_killed", directory.path(), run << 32);
        let text = killed(child, 3 + random.below(12), random.below(300_000));
        let mut begun = None;
        for (word, line) in said(&text) {
            match word {
                "begins" => begun = Some(line),
                _ => {
                    apply(line, &mut holds);
                    begun = None;
                    changes += 1;
                }
            }
        }
        let (file, found) = open(directory.path());
        drop(file);
        if found != holds {
            let begun = begun.unwrap_or_else(|| panic!("run {run}: {found:?} is not {holds:?}"));
            apply(begun, &mut holds);
            assert_eq!(found, holds, "run {run}: neither with nor without {begun}");
            in_flight_done += 1;
        }
        in_flight += u32::from(begun.is_some());
    }
    println!(
        "{RUNS} kills, {changes} changes, {in_flight} kills within one, {in_flight_done} of them after it was safe; {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert!(in_flight > RUNS as u32 / 20, "kills hit changes");
}

/// Never takes every sixteenth; says what it takes before it does.
struct Moody;

impl Destination for Moody {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        let number = number_of(&payload);
        println!("truth sees {number} .");
        if number % 16 == 5 {
            return Delivery::Retry {
                after: None,
                message: "not now".into(),
            };
        }
        println!("truth takes {number} .");
        Delivery::Accepted
    }
}

fn written_first() -> Config {
    Config {
        write_after: std::time::Duration::ZERO,
        disk: 64 << 20,
        ..quick()
    }
}

#[test]
#[ignore = "the program that is killed"]
fn delivers_until_killed() {
    let (directory, first) = given();
    let (handle, driver) = start("x", written_first(), Some(&directory), Moody).unwrap();
    let pushing = handle.clone();
    let push = async move {
        for number in first.. {
            pushing.push([payload(number, 5_000 + (number % 7) as usize * 4_000)]);
            let written = number - first + 1;
            let counts = until(&pushing, |counts| {
                counts.appended == written && counts.waiting < 100
            })
            .await;
            assert!(counts.losses.is_empty(), "{counts:?}");
        }
    };
    on_one_thread(driver.run(push, std::time::Duration::ZERO));
}

#[test]
fn what_was_sent_once_is_delivered_after_any_number_of_kills() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(std::process::id().into());
    // What was shown to the receiver was on disk before; what it took may be on disk until its removal is done.
    let (mut seen, mut taken) = (BTreeSet::new(), BTreeMap::<u64, u32>::new());
    let runs = 40;
    for run in 0..runs {
        let child = child("killed::delivers_until_killed", directory.path(), run << 32);
        let text = killed(child, 3 + random.below(100), random.below(300_000));
        let mut now = BTreeSet::new();
        for (word, line) in said(&text) {
            let number: u64 = line.split(' ').next().unwrap().parse().unwrap();
            match word {
                "sees" => {
                    seen.insert(number);
                }
                "takes" => {
                    assert!(now.insert(number), "taken twice in one run: {number}");
                    *taken.entry(number).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    let alive = Alive::default();
    let (handle, driver) = start("x", quick(), Some(directory.path()), alive.clone()).unwrap();
    on_one_thread(driver.run(
        async {
            until(&handle, |counts| {
                counts.disk.payloads == 0 && counts.delivered > 0
            })
            .await;
        },
        std::time::Duration::ZERO,
    ));
    assert!(handle.counts().losses.is_empty());
    let last = alive.0.lock().unwrap().clone();
    assert!(last.is_sorted(), "a restart goes on in order");
    let twice = taken.values().filter(|times| **times > 1).count();
    println!(
        "{} seen, {} taken, {twice} of them twice, {} left for the end",
        seen.len(),
        taken.len(),
        last.len()
    );
    for number in &last {
        *taken.entry(*number).or_default() += 1;
    }
    let missing: Vec<&u64> = seen
        .iter()
        .filter(|number| !taken.contains_key(number))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    // At most what was under way when a run was killed: attempts, and removals that were not done.
    assert!(taken.values().all(|times| u64::from(*times) <= 1 + runs));
}

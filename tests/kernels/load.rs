//! The kernel verifies all programs of the agent, in each way of walking that it can, and with room to spare.

use std::collections::BTreeMap;

use profiler_tests::kernels::guest::Guest;
use profiler_tests::kernels::qemu::Machine;
use profiler_tests::kernels::{Kernel, results, workloads};
use serde_json::{Map, Value, json};

/// The kernel verifies so many instructions of a program and no more; a new kernel may count differently.
const LIMIT: u64 = 1_000_000;
/// How many times fewer a program has to take.
const HEADROOM: u64 = 3;

/// What a kernel is known to do.
struct Known {
    series: &'static str,
    /// The ways to walk stacks that it takes, on either CPU.
    ways: &'static [&'static str],
    /// What a program takes at most there, so that a change that costs much is seen: about a third more than what
    /// was measured.
    most: u64,
}

const BOTH: &[&str] = &["bpf_loop", "bounded"];

const KNOWN: &[Known] = &[
    known("5.10", &["bounded"], LIMIT / HEADROOM),
    known("6.1", BOTH, 35_000),
    known("6.12", BOTH, 35_000),
    known("6.18", BOTH, 35_000),
    known("7.0", BOTH, 35_000),
    known("7.3", BOTH, 35_000),
];

const fn known(series: &'static str, ways: &'static [&'static str], most: u64) -> Known {
    Known { series, ways, most }
}

/// Asks the agent what it can do, and the verifier what it did for that: a kernel may not tell it of programs that are
/// loaded.
const SCRIPT: &str = "run doctor env VERIFIED=/tmp/verified LD_PRELOAD=./libverified.so ./profiler-agent doctor --json\n\
                      keep verified /tmp/verified\n";

/// Boots the kernel and asks the agent what it can do there.
pub fn check(kernel: Kernel) {
    results::check(kernel, "load", || {
        let mut guest = Guest::new(kernel.cpu);
        workloads::verified(kernel.cpu).put(&mut guest);
        let output = guest.run(&Machine::new(kernel), "load", SCRIPT);
        let said = output.text("doctor.out");
        assert!(!said.is_empty(), "{kernel}: {}", output.text("doctor.err"));
        let verified = output.text("verified");
        let counts = counts(&verified);
        assert!(!counts.is_empty(), "{kernel}: the verifier said nothing");
        judge(kernel, &said, &counts)
    });
}

/// Instructions that the verifier looked at, by the beginning of the program's name.
type Counts<'a> = BTreeMap<&'a str, u64>;

fn counts(verified: &str) -> Counts<'_> {
    let words = verified.lines().filter_map(|line| line.split_once(' '));
    words
        .map(|(name, count)| (name, count.parse().expect("a number")))
        .collect()
}

/// How much of a program's name a kernel keeps.
const NAME: usize = 15;

/// The verified instructions of each program that `doctor --json` said something of, once all is as it should be. What
/// the verifier said itself is the same.
pub fn judge(kernel: Kernel, said: &str, verified: &Counts<'_>) -> Value {
    let report: Value =
        serde_json::from_str(said).unwrap_or_else(|error| panic!("{kernel}: {error}: {said}"));
    let programs = report["programs"].as_array().expect("programs");
    let known = KNOWN.iter().find(|known| known.series == kernel.series);
    let known = known.expect("the kernel is in the table");
    let most = known.most;
    assert!(most <= LIMIT / HEADROOM);
    let mut counts = Map::new();
    for program in programs {
        let name = text(program, "name");
        let way = program["walk"].as_str();
        let shown = way.map_or(name.to_owned(), |way| format!("{name} ({way})"));
        if program["loaded"] != true {
            println!("{kernel}: {shown}: {}", program["reason"]);
            assert!(way.is_some(), "{kernel}: {shown} does not load: {program}");
            continue;
        }
        let told = program["verified_instructions"].as_u64();
        let counted = verified.get(&name[..name.len().min(NAME)]).copied();
        if let (Some(told), Some(counted)) = (told, counted) {
            assert_eq!(told, counted, "{kernel}: {shown}");
        }
        let count = told.or(counted);
        let count = count.unwrap_or_else(|| panic!("{kernel}: {shown}: nobody counted"));
        println!("{kernel}: {shown}: {count} verified instructions of {most} at most");
        assert!(count <= most, "{kernel}: {shown}: {count} of {most}");
        counts.insert(shown, json!(count));
    }
    for way in known.ways {
        let mut of_way = programs.iter().filter(|program| program["walk"] == *way);
        assert!(
            of_way.clone().count() > 0 && of_way.all(|program| program["loaded"] == true),
            "{kernel}: stacks are not walked by {way}: {report}"
        );
    }
    json!({ "programs": counts })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

//! The kernel verifies all programs of the agent, in each way of walking that it can, and with room to spare.

use profiler_tests::kernels::guest::Guest;
use profiler_tests::kernels::qemu::Machine;
use profiler_tests::kernels::{Kernel, results};
use serde_json::{Map, Value, json};

/// The kernel verifies so many instructions of a program and no more; a new kernel may count differently.
const LIMIT: u64 = 1_000_000;
/// How many times fewer a program has to take.
const HEADROOM: u64 = 3;

/// What a program takes at most on a kernel, on either CPU, so that a change that costs much is seen: about a quarter
/// more than what was measured.
const MOST: &[(&str, u64)] = &[];

/// The ways of walking, as `doctor` names them.
const WAYS: [&str; 2] = ["bpf_loop", "bounded"];

/// Boots the kernel and asks the agent what it can do there.
pub fn check(kernel: Kernel) {
    results::check(kernel, "load", || {
        let output = Guest::new(kernel.cpu).run(
            &Machine::new(kernel),
            "load",
            "run doctor ./profiler-agent doctor --json",
        );
        let report: Value =
            serde_json::from_str(&output.text("doctor.out")).unwrap_or_else(|error| {
                let said = output.text("doctor.err");
                panic!("{kernel}: {error}: {said}\n{}", output.console)
            });
        judge(kernel, &report)
    });
}

/// The verified instructions of each program, once all is as it should be.
fn judge(kernel: Kernel, report: &Value) -> Value {
    let programs = report["programs"].as_array().expect("programs");
    let of_kernel = MOST.iter().find(|(series, _)| *series == kernel.series);
    let most = of_kernel.map_or(LIMIT / HEADROOM, |(_, most)| *most);
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
        let Some(count) = program["verified_instructions"].as_u64() else {
            // Older kernels do not tell.
            println!("{kernel}: {shown}: loads");
            counts.insert(shown, Value::Null);
            continue;
        };
        println!("{kernel}: {shown}: {count} verified instructions of {most} at most");
        assert!(count <= most, "{kernel}: {shown}: {count} of {most}");
        counts.insert(shown, json!(count));
    }
    let walks = |way: &str| {
        let mut of_way = programs.iter().filter(|program| program["walk"] == way);
        of_way.clone().count() > 0 && of_way.all(|program| program["loaded"] == true)
    };
    assert!(
        WAYS.into_iter().any(walks),
        "{kernel}: stacks are walked in no way: {report}"
    );
    json!({ "programs": counts })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

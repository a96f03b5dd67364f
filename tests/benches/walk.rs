//! What a run of the sampling program costs, walking by `bpf_loop` and by bounded loops: BPF statistics of both in turns,
//! in one boot of each kernel that takes both, over a stack of forty frames. Under emulation time is a count of
//! instructions, so that few turns are enough; on this machine it is noise as well. Arguments name CPUs and kernels; none stands for all.

use std::collections::BTreeMap;
use std::time::Duration;

use profiler_tests::kernels::guest::Guest;
use profiler_tests::kernels::qemu::Machine;
use profiler_tests::kernels::{Cpu, Kernel, workloads};

/// The kernels of the matrix that have `bpf_loop`.
const SERIES: [&str; 5] = ["6.1", "6.12", "6.18", "7.0", "7.3"];
/// How much more than the other the dearer way may cost.
const MOST: f64 = 1.3;

/// Samples a hundredth of a second of CPU time.
const SAMPLES: f64 = 9.97;

/// Samples and nanoseconds of each way.
type Costs = BTreeMap<String, (f64, f64)>;

fn main() {
    println!("cost of a run of the sampling program, forty frames deep, at most {MOST} wanted");
    let both = [Cpu::X86_64, Cpu::Arm64];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_named = |name: &str| arguments.iter().any(|argument| argument == name);
    let (is_cpu_named, is_kernel_named) = (
        both.iter().any(|cpu| is_named(cpu.name())),
        SERIES.into_iter().any(is_named),
    );
    let is_wanted = |is_any_named: bool, name: &str| !is_any_named || is_named(name);
    for cpu in both {
        for series in SERIES {
            if !is_wanted(is_cpu_named, cpu.name()) || !is_wanted(is_kernel_named, series) {
                continue;
            }
            let kernel = Kernel::new(series, cpu);
            report(&kernel.to_string(), &costs(kernel));
        }
    }
}

fn costs(kernel: Kernel) -> Costs {
    let mut guest = Guest::new(kernel.cpu);
    workloads::recursion(kernel.cpu).put(&mut guest);
    let mut machine = Machine::new(kernel);
    machine.limit = Duration::from_secs(300);
    let output = guest.run(&machine, "walk", include_str!("walk.sh"));
    let text = output.text("costs");
    let mut costs = Costs::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [way, hundredths, nanoseconds] = words[..] else {
            panic!("{kernel}: {line}");
        };
        let number = |word: &str| word.parse::<f64>().expect("a number");
        let cost = costs.entry(way.to_owned()).or_default();
        cost.0 += number(hundredths) * SAMPLES;
        cost.1 += number(nanoseconds);
    }
    costs
}

fn report(kernel: &str, costs: &Costs) {
    let of = |way: &str| {
        let (runs, nanoseconds) = costs.get(way).copied().unwrap_or_default();
        assert!(
            runs > 0.0,
            "{kernel}: nothing was sampled by {way}: {costs:?}"
        );
        nanoseconds / runs
    };
    let (helper, bounded) = (of("bpf_loop"), of("bounded"));
    let ratio = helper.max(bounded) / helper.min(bounded);
    println!(
        "{kernel}: bpf_loop {helper:.0} ns, bounded {bounded:.0} ns of guest time a sample: the dearer costs {ratio:.2} times the other{}",
        if ratio > MOST {
            ", more than wanted"
        } else {
            ""
        }
    );
}

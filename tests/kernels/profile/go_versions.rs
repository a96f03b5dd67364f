//! Programs of every version of Go, in one guest.

use std::time::Duration;

use profiler_tests::kernels::guest::Guest;
use profiler_tests::kernels::qemu::Machine;
use profiler_tests::kernels::{Kernel, results, workloads};
use serde_json::json;

use super::{RECORDING, Seen, go, recorded, work};

/// Boots one guest for all of them: two programs of each.
pub fn check(kernel: Kernel) {
    results::check(kernel, "every version of Go", || {
        let versions = workloads::go_versions(kernel.cpu);
        let mut guest = Guest::new(kernel.cpu);
        let mut script = format!("{RECORDING}start_recording\n");
        for version in &versions {
            for program in [&version.stacks, &version.labels] {
                program.put(&mut guest);
                script += &work(program);
            }
        }
        script += "end_recording\n";
        let machine = Machine {
            limit: Duration::from_secs(600),
            ..Machine::new(kernel)
        };
        let output = guest.run(&machine, "go-versions", &script);
        let profile = recorded(kernel, &output);
        for version in &versions {
            let seen = |name: &str| {
                let seen = Seen::new(&profile, name, &output.text(&format!("{name}.out")));
                println!("{kernel}: {name}: {} samples", seen.profile.count());
                seen
            };
            go::has_stacks(&seen(version.stacks.name));
            go::has_labels(&seen(version.labels.name));
        }
        json!({})
    });
}

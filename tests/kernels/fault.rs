//! A fault in the agent turns the checks of kernels red: those that pass without it fail with it.
//!
//! The agent for arm64 is built with faults that the environment turns on (`profiler-agent/src/collect/fault.rs`).

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use profiler_tests::kernels::guest::Guest;
use profiler_tests::kernels::protocol::Output;
use profiler_tests::kernels::qemu::Machine;
use profiler_tests::kernels::{Kernel, results, workloads};
use serde_json::json;

use crate::load;
use crate::profile::{RECORDING, Seen, native, read};

/// Faults, as `PROFILER_FAULT` has them; the first is none.
const FAULTS: [&str; 3] = ["none", "offset", "helper"];

/// Boots one guest in which the agent has one fault after the other.
pub fn check(kernel: Kernel) {
    results::check(kernel, "faults in the agent", || {
        let mut guest = Guest::new(kernel.cpu);
        workloads::chain(kernel.cpu).put(&mut guest);
        let mut script = RECORDING.to_owned();
        for fault in FAULTS {
            script += &format!(
                "export PROFILER_FAULT={fault}\n\
                 run {fault}-doctor ./profiler-agent doctor --json\n\
                 start_recording\n\
                 work begin 3 chain ./chain\n\
                 end_recording\n\
                 keep {fault}-profile /tmp/profile.pb.gz\n\
                 keep {fault}-chain /tmp/chain.out\n\
                 rm /tmp/profile.pb.gz\n"
            );
        }
        let output = guest.run(&Machine::new(kernel), "fault", &script);
        judge(kernel, &output, "none");
        for fault in &FAULTS[1..] {
            let judged = panic::catch_unwind(AssertUnwindSafe(|| judge(kernel, &output, fault)));
            assert!(
                judged.is_err(),
                "{kernel}: nothing fails with the fault {fault}"
            );
        }
        json!({ "variant": true })
    });
}

/// What the checks of kernels ask.
fn judge(kernel: Kernel, output: &Output, fault: &str) {
    let said = output.text(&format!("{fault}-doctor.out"));
    load::judge(kernel, &said, &BTreeMap::new());
    let profile = output.files.get(&format!("{fault}-profile"));
    let profile = read(profile.unwrap_or_else(|| {
        let log = output.text("record.err");
        panic!("{kernel}: there is no profile: {log}")
    }));
    let said = output.text(&format!("{fault}-chain"));
    native::split(&Seen::new(&profile, "chain", &said));
}

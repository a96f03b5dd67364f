//! A reading in which every number is another one.

use std::time::Duration;

use profiler_common::unwind::Outcome;

use super::otlp::ExportCounts;
use super::reading::{
    DestinationReading, ExecutableStacks, KernelReading, Reading, StoreReading, SymbolReading,
};
use crate::profile::delivery::{BreakerState, Waiting};
use crate::profile::{Degradation, Delivery, DeliveryCause, SampleLoss};

pub(super) fn reading() -> Reading {
    let mut reading = Reading {
        version: "0.1.0".to_owned(),
        started: Duration::from_millis(1_700_000_000_250),
        ready: true,
        healthy: true,
        samples: 1001,
        open_samples: 1002,
        processes: 102,
        cpus: 4,
        cpus_unsampled: 1,
        windows: 103,
        rings_read_age: Duration::from_millis(200),
        window_close_age: Duration::from_millis(3500),
        symbols: SymbolReading {
            hits: 104,
            misses: 105,
            locations: 106,
            name_bytes: 107,
            index_bytes: 108,
        },
        table_bytes: 109,
        tables_pending: 110,
        kernel: KernelReading {
            bpf_bytes: 111,
            ring_bytes: 112,
            runs: Some((113, Duration::from_micros(114))),
            off_cpu_runs: Some((155, Duration::from_micros(156))),
        },
        store: StoreReading {
            windows: 115,
            used_bytes: 116,
            merged_spans: 151,
            merged_bytes: 152,
            merges: vec![("merged", 153), ("too_large", 154)],
            file_bytes: 117,
            limit_bytes: 118,
            stored_samples: 142,
            lost_samples: 143,
        },
        cpu: Duration::from_millis(1190),
        resident_bytes: 120,
        exports: [131, 133, 135].map(|delivered| ExportCounts {
            delivered,
            failed: delivered + 1,
        }),
        suppressed_lines: 121,
        ..Reading::default()
    };
    for number in 0..122 {
        let outcome = if number < 100 {
            Outcome::Root
        } else {
            Outcome::NoRule
        };
        reading.outcomes.add(outcome);
    }
    reading.losses.add(SampleLoss::RingFull, 123);
    reading.losses.add(Degradation::ElfMalformed, 124);
    // Names are untrusted.
    for name in ["api", "we\"ird\\na\nme", "other"] {
        reading.executables.push(ExecutableStacks {
            name: name.to_owned(),
            complete: 125,
            incomplete: 126,
        });
    }
    let mut destination = DestinationReading {
        name: "otlp".to_owned(),
        oldest_age: Duration::from_millis(129_500),
        ..DestinationReading::default()
    };
    let counts = &mut destination.counts;
    counts.delivered = 127;
    counts.samples = 128;
    counts.taken = 137;
    counts.found = 138;
    counts.waiting_samples = 139;
    counts.left = 140;
    counts.waiting = 129;
    counts.memory.bytes = 131;
    counts.disk = Waiting {
        payloads: 132,
        bytes: 133,
    };
    counts.room = Some(136);
    counts.appended = 134;
    counts.removed = 135;
    counts.breaker = BreakerState::Open;
    counts.losses.lose(DeliveryCause::QueueFull, 141, 144);
    counts.losses.count(DeliveryCause::QueueFull, 129);
    let retry = Delivery::Retry {
        after: None,
        message: String::new(),
    };
    for (delivery, took) in [
        (Delivery::Accepted, Duration::from_millis(7)),
        (retry, Duration::from_secs(60)),
    ] {
        counts.attempts.add(&delivery);
        counts.latencies.add(took);
    }
    reading.destinations.push(destination);
    reading
}

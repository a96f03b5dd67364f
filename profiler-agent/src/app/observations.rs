//! What the agent knows of itself, gathered when somebody asks: `/metrics`, `/healthz`, its own metrics over OTLP and the page's
//! status have all of their numbers from here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::bpf_memory::BpfMemory;
use super::clock;
use super::collector::CollectorGauges;
use super::destinations::Outlets;
use super::pipeline::Totals;
use super::reload::InEffect;
use crate::page::{AgentStatus, StoreStatus};
use crate::profile::delivery::DeliveryCounts;
use crate::profile::{BootTime, Degradation, DeliveryLosses};
use crate::store::{MergeOutcome, Store};
use crate::symbolize::SharedUsage;
use crate::telemetry::health::{self, Ages, Unhealthy};
use crate::telemetry::log;
use crate::telemetry::reading::{DestinationReading, KernelReading, StoreReading, SymbolReading};
use crate::telemetry::{NotReady, Reading, Subject, otlp};

/// Where the numbers come from.
pub(super) struct Sources {
    pub(super) gauges: Arc<CollectorGauges>,
    pub(super) totals: Arc<Mutex<Totals>>,
    pub(super) symbols: SharedUsage,
    /// With the length that its file may have.
    pub(super) store: (Arc<Store>, u64),
    pub(super) outlets: Outlets,
    /// Length of a window.
    pub(super) window: Duration,
    /// What is in effect of the configuration's file.
    pub(super) in_effect: Arc<InEffect>,
}

/// See the module.
pub(super) struct Observations {
    sources: Sources,
    bpf: BpfMemory,
    stopping: AtomicBool,
    /// Since 1970.
    started: Duration,
    started_boot: BootTime,
    /// When the share of CPU time was looked at last, the CPU time then, and the share.
    looked: Mutex<(BootTime, Duration, Option<f64>)>,
}

/// Time over which the share of CPU time is taken.
const SHARE_OVER: Duration = Duration::from_secs(20);

impl Observations {
    /// For an agent that samples from now on.
    pub(super) fn new(sources: Sources) -> Self {
        let clocks = clock::pair();
        Self {
            sources,
            bpf: BpfMemory::default(),
            stopping: AtomicBool::new(false),
            started: Duration::from_nanos(clocks.unix.0),
            started_boot: clocks.boot,
            looked: Mutex::new((clocks.boot, clock::own_cpu(), None)),
        }
    }

    /// From now on it is not ready.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The same for the page.
    pub(super) fn status(&self) -> AgentStatus {
        let now = clock::boot_now();
        let reading = self.reading();
        let window = self.sources.window.as_secs_f64();
        let into_window = now.since(self.started_boot).as_secs_f64() % window;
        let set_aside = self.sources.store.0.set_aside().into_iter();
        AgentStatus {
            cpu_share: self.share(now, reading.cpu),
            window_seconds: window,
            next_window_seconds: Some(window - into_window),
            store: Some(StoreStatus {
                windows: reading.store.windows,
                used_bytes: reading.store.used_bytes,
                merged_bytes: reading.store.merged_bytes,
                file_bytes: reading.store.file_bytes,
                max_bytes: reading.store.limit_bytes,
                set_aside: set_aside.map(|aside| aside.reason).collect(),
            }),
            ..status_of(&reading)
        }
    }

    fn share(&self, now: BootTime, cpu: Duration) -> Option<f64> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.since(looked.0);
        if passed >= SHARE_OVER {
            let used = cpu.saturating_sub(looked.1);
            *looked = (now, cpu, Some(used.as_secs_f64() / passed.as_secs_f64()));
        }
        looked.2
    }

    fn totals(&self) -> Totals {
        let totals = &self.sources.totals;
        totals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn ages(&self, named: BootTime) -> Ages {
        let now = clock::boot_now();
        let gauges = &self.sources.gauges;
        let age = |last: u64| now.since(BootTime(last).max(self.started_boot));
        Ages {
            rings_read: age(gauges.last_turn.load(Ordering::Relaxed)),
            window_closed: age(gauges.last_close.load(Ordering::Relaxed)),
            window_named: age(named.0),
        }
    }
}

impl Subject for Observations {
    fn reading(&self) -> Reading {
        let sources = &self.sources;
        // What came for them was counted before in the totals: those are read after them.
        let destinations = destinations(&sources.outlets);
        let mut totals = self.totals();
        // Counted before any of them was named or lost, and so read after the totals.
        let samples = sources.gauges.samples.load(Ordering::Acquire);
        let open_samples = totals.open(samples);
        let damages = sources.store.0.damages();
        totals.losses.add(Degradation::StoreDamaged, damages);
        let ages = self.ages(totals.last);
        let gauges = &sources.gauges;
        let of = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
        let usage = sources.symbols.read();
        let size = sources.store.0.size();
        let merges = sources.store.0.merges();
        let runs = |runs: &AtomicU64, nanoseconds: &AtomicU64| {
            let runs = Some(of(runs)).filter(|runs| *runs > 0)?;
            Some((runs, Duration::from_nanos(of(nanoseconds))))
        };
        Reading {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            ready: self.readiness().is_ok(),
            healthy: health::judge(ages, sources.window).is_ok(),
            samples,
            open_samples,
            config_in_effect: sources.in_effect.is_file(),
            processes: of(&gauges.processes),
            cpus: crate::collect::cpus::online().map_or(0, |cpus| cpus.len() as u64),
            cpus_unsampled: of(&gauges.cpus_unsampled),
            windows: totals.windows,
            rings_read_age: ages.rings_read,
            window_close_age: ages.window_closed,
            losses: totals.losses,
            outcomes: totals.outcomes,
            executables: totals.executables.counts(),
            symbols: SymbolReading {
                hits: usage.hits,
                misses: usage.misses,
                locations: usage.locations as u64,
                name_bytes: usage.name_bytes as u64,
                index_bytes: usage.index_bytes as u64,
            },
            table_bytes: of(&gauges.table_bytes),
            tables_pending: of(&gauges.tables_outstanding),
            kernel: KernelReading {
                bpf_bytes: self.bpf.bytes(),
                ring_bytes: of(&gauges.ring_bytes),
                runs: runs(&gauges.runs, &gauges.run_nanoseconds),
                off_cpu_runs: runs(&gauges.off_cpu_runs, &gauges.off_cpu_nanoseconds),
            },
            store: StoreReading {
                windows: size.windows,
                used_bytes: size.used_bytes,
                merged_spans: size.merged_spans,
                merged_bytes: size.merged_bytes,
                merges: MergeOutcome::ALL
                    .map(|outcome| (outcome.name(), merges.of(outcome)))
                    .to_vec(),
                file_bytes: size.file_bytes,
                limit_bytes: sources.store.1,
                stored_samples: totals.samples - totals.unstored,
                lost_samples: totals.unstored,
            },
            destinations,
            cpu: clock::own_cpu(),
            resident_bytes: resident_bytes().unwrap_or(0),
            exports: otlp::exports(),
            suppressed_lines: log::suppressed(),
        }
    }

    fn health(&self) -> Result<(), Unhealthy> {
        let named = self
            .sources
            .totals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last;
        health::judge(self.ages(named), self.sources.window)
    }

    fn troubles(&self) -> Vec<String> {
        let mut sentences = self.sources.gauges.troubles.now();
        sentences.extend(self.sources.in_effect.troubles());
        sentences
    }

    fn readiness(&self) -> Result<(), NotReady> {
        if self.stopping.load(Ordering::Relaxed) {
            Err(NotReady::Stopping)
        } else {
            Ok(())
        }
    }
}

fn destinations(outlets: &Outlets) -> Vec<DestinationReading> {
    let now = clock::pair().unix;
    let read = |(name, counts): (String, DeliveryCounts)| DestinationReading {
        name,
        oldest_age: counts
            .oldest
            .map_or(Duration::ZERO, |oldest| now.since(oldest)),
        counts,
    };
    outlets.counts().into_iter().map(read).collect()
}

/// What the page says of these numbers.
fn status_of(reading: &Reading) -> AgentStatus {
    let mut deliveries = DeliveryLosses::default();
    for destination in &reading.destinations {
        deliveries.merge(&destination.counts.losses);
    }
    let deliveries = deliveries.iter();
    let deliveries = deliveries.map(|(cause, loss)| (cause.name(), loss.payloads));
    AgentStatus {
        version: reading.version.clone(),
        started_ms: u64::try_from(reading.started.as_millis()).unwrap_or(u64::MAX),
        cpus: u32::try_from(reading.cpus).unwrap_or(u32::MAX),
        cpu_seconds: reading.cpu.as_secs_f64(),
        resident_bytes: reading.resident_bytes,
        samples: reading.samples,
        stacks: reading.outcomes.total(),
        complete_stacks: reading.outcomes.complete(),
        lost_samples: reading.losses.samples().total(),
        losses: reading
            .losses
            .named()
            .chain(deliveries)
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        ..AgentStatus::default()
    }
}

/// Resident memory of this process, from `/proc/self/statm`.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

//! The agent's own numbers for its page.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use super::collector::CollectorGauges;
use super::destinations::Outlets;
use super::pipeline::Totals;
use crate::page::{AgentStatus, StoreStatus};
use crate::profile::{BootTime, Degradation, DeliveryLosses, UnixTime};
use crate::store::Store;

/// Gathers the numbers when it is asked.
pub(super) struct Status {
    started: UnixTime,
    started_boot: BootTime,
    window: Duration,
    gauges: Arc<CollectorGauges>,
    totals: Arc<Mutex<Totals>>,
    store: Arc<Store>,
    store_limit: u64,
    outlets: Outlets,
    cpus: u32,
    /// When CPU time was looked at last, and what it was.
    looked: Mutex<(BootTime, Duration, Option<f64>)>,
}

/// Time over which the share of CPU is taken.
const SHARE_OVER: Duration = Duration::from_secs(20);

impl Status {
    pub(super) fn new(
        window: Duration,
        gauges: Arc<CollectorGauges>,
        totals: Arc<Mutex<Totals>>,
        (store, store_limit): (Arc<Store>, u64),
        outlets: Outlets,
    ) -> Self {
        let clocks = clock::pair();
        Self {
            started: clocks.unix,
            started_boot: clocks.boot,
            window,
            gauges,
            totals,
            store,
            store_limit,
            outlets,
            cpus: crate::collect::cpus::online().map_or(0, |cpus| cpus.len() as u32),
            looked: Mutex::new((clocks.boot, clock::own_cpu(), None)),
        }
    }

    pub(super) fn now(&self) -> AgentStatus {
        let now = clock::boot_now();
        let cpu = clock::own_cpu();
        let totals = self
            .totals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut losses = totals.losses.clone();
        let mut deliveries = DeliveryLosses::default();
        for (_, counts) in self.outlets.counts() {
            deliveries.merge(&counts.losses);
        }
        let deliveries = deliveries.iter();
        let deliveries = deliveries.map(|(cause, loss)| (cause.name(), loss.payloads));
        losses.add(Degradation::StoreDamaged, self.store.damages());
        let running = now.since(self.started_boot);
        let into_window = running.as_secs_f64() % self.window.as_secs_f64();
        AgentStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started.0 / 1_000_000,
            cpus: self.cpus,
            cpu_seconds: cpu.as_secs_f64(),
            cpu_share: self.share(now, cpu),
            resident_bytes: resident_bytes().unwrap_or(0),
            window_seconds: self.window.as_secs_f64(),
            next_window_seconds: Some(self.window.as_secs_f64() - into_window),
            samples: self.gauges.samples.load(Ordering::Relaxed),
            stacks: totals.outcomes.total(),
            complete_stacks: totals.outcomes.complete(),
            lost_samples: losses.samples().total(),
            losses: losses
                .named()
                .chain(deliveries)
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
            store: Some(self.store_status()),
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

    fn store_status(&self) -> StoreStatus {
        let size = self.store.size();
        StoreStatus {
            windows: size.windows,
            used_bytes: size.used_bytes,
            merged_bytes: size.merged_bytes,
            file_bytes: size.file_bytes,
            max_bytes: self.store_limit,
            set_aside: self
                .store
                .set_aside()
                .into_iter()
                .map(|aside| aside.reason)
                .collect(),
        }
    }
}

/// Resident memory of this process, from `/proc/self/statm`.
pub(super) fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

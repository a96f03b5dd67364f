//! How the collector thread begins: the kernel side is loaded, the processes are read, the tables of those that were
//! selected are waited for a little, and sampling starts.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::deferred::Deferred;
use super::held::{Held, Most};
use super::unlabelled::Unlabelled;
use super::windows::Windows;
use super::{FIRST_TURNS, Running, SECOND};
use crate::app::clock::boot_now;
use crate::app::collector::config::CollectorConfig;
use crate::app::collector::error::{CollectorError, system};
use crate::app::collector::gauges::CollectorGauges;
use crate::app::collector::sink::WindowSink;
use crate::app::demand::Demand;
use crate::app::wake::{Waiter, Wake};
use crate::collect::cpus::{self, CpuFollower};
use crate::collect::error::{Attempt, Host};
use crate::collect::sideband::Sideband;
use crate::collect::{CollectError, Kernel, LoadOptions, Selection, limits, traces};
use crate::correlate::Correlator;
use crate::enrich::Enricher;
use crate::inspect::{Constants, Notify, ProcessLooks, Runtimes, TableBuilder};
use crate::process::{self, KernelCodeTable, ProcFs, ProcessTable};
use crate::profile::{Degradation, Losses, MappingKind};

/// Length of the first window, where others are longer: who starts the agent wants to see that it works.
const FIRST_WINDOW: Duration = Duration::from_secs(1);
/// How long sampling waits at the start for the tables of the selected processes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Loads the kernel side by `load`. Where the kernel cannot tell how long threads are off CPU, and that is not required, it is
/// loaded for CPU time alone; the sentence says why.
fn load<T>(
    options: LoadOptions,
    is_required: bool,
    load: impl Fn(&LoadOptions) -> Result<T, CollectError>,
) -> Result<(T, Option<String>), CollectError> {
    match load(&options) {
        Err(error @ CollectError::OffCpu { .. }) if !is_required => {
            let without = LoadOptions {
                off_cpu: None,
                ..options
            };
            Ok((load(&without)?, Some(error.to_string())))
        }
        loaded => Ok((loaded?, None)),
    }
}

impl Running {
    /// Loads the kernel side, reads the processes, starts sampling.
    pub(in crate::app::collector) fn start(
        mut config: CollectorConfig,
        sink: WindowSink,
        wake: Wake,
        gauges: Arc<CollectorGauges>,
    ) -> Result<Self, CollectorError> {
        let options = LoadOptions {
            period: config.kinds.period,
            selection: config.selection.clone(),
            table_budget: config.economy.kernel_tables,
            way: config.way,
            off_cpu: config.kinds.off_cpu,
        };
        let online =
            cpus::online().map_err(|error| CollectError::explained(Attempt::FindCpus, &error))?;
        limits::raise();
        let host = Host::read();
        limits::check_open_files(online.len(), &host).map_err(CollectError::from)?;
        let is_required = config.kinds.off_cpu_required;
        let ((mut kernel, costs), without_off_cpu) = load(options, is_required, Kernel::load)?;
        if without_off_cpu.is_some() {
            config.kinds.off_cpu = None;
        }
        for cost in costs {
            tracing::debug!(
                program = cost.name,
                instructions = cost.verified_instructions,
                load_time = ?cost.load_time,
                "loaded"
            );
        }
        for sentence in limits::missing_capabilities(&host) {
            tracing::warn!("{sentence}");
        }
        let sideband = Sideband::open_with(&online, config.records)?;
        let notify: Notify = {
            let wake = wake.clone();
            Arc::new(move || wake.wake())
        };
        let kept = (config.economy.whole_tables, config.shortage.flag());
        let builder = TableBuilder::spawn(config.table_cache, kept, Arc::clone(&notify))
            .map_err(system("starting a thread"))?;
        let constants =
            Constants::spawn(Arc::clone(&notify)).map_err(system("starting a thread"))?;
        let demand = Demand::new(builder, &mut kernel.publisher);
        let waiter = Waiter::new().map_err(system("epoll"))?;
        let now = boot_now();
        let mut running = Self {
            kernel,
            sideband,
            cpus: CpuFollower::default(),
            processes: ProcessTable::new(ProcFs::new(process::Limits::of_this_process())),
            kernel_code: KernelCodeTable::default(),
            demand,
            runtimes: Runtimes::new(Arc::clone(&notify)),
            looks: ProcessLooks::new(notify),
            enricher: Enricher::default(),
            constants,
            correlator: Correlator::new(config.correlation),
            windows: Windows::new(&config.kinds, now),
            sink,
            waiter,
            wake,
            gauges,
            window: config.window,
            window_end: now,
            next_turn: now,
            next_second: now,
            breaths: 0,
            next_scan: now,
            known_until: now,
            events: Vec::new(),
            held: Held::of(Most {
                samples: config.economy.waiting_samples,
                stacks: config.economy.waiting_stacks,
            }),
            deferred: Deferred::of(config.economy.waiting_stacks),
            unlabelled: Unlabelled::of(config.economy.waiting_labels),
            patience: config.patience,
            memory: config.memory,
            shortage: config.shortage,
            losses: Losses::default(),
            without_off_cpu,
            waiting: None,
            everything: config.selection == Selection::All,
            // Every hasher of the standard library has keys of its own.
            run: RandomState::new().hash_one(()),
        };
        running.prepare(&config.selected)?;
        Ok(running)
    }

    /// Reads the processes, publishes them, waits a little for the tables of those that were
    /// selected, starts sampling.
    fn prepare(&mut self, selected: &[u32]) -> Result<(), CollectorError> {
        self.watch_descriptors();
        self.list_kernel_code();
        self.processes.scan(boot_now());
        self.read_sideband();
        self.want_common_files();
        self.select(selected)?;
        let start = boot_now();
        while self.demand.outstanding() > 0 && boot_now().since(start) < PATIENCE {
            self.wait(Duration::from_millis(50));
            self.wake.clear();
            self.load_tables();
            self.take_variables();
            self.read_sideband();
        }
        self.kernel.traces.follow(Path::new(traces::PINNED));
        let Kernel { rings, sampler, .. } = &mut self.kernel;
        self.cpus.start(rings, sampler, &mut self.sideband)?;
        self.kernel.start_off_cpu()?;
        self.watch_descriptors();
        self.say_troubles();
        let now = boot_now();
        // The window begins when sampling does.
        drop(self.windows.close(now, Losses::default()));
        self.gauges.last_close.store(now.0, Ordering::Relaxed);
        self.window_end = now.plus(self.window.min(FIRST_WINDOW));
        self.next_turn = now.plus(FIRST_TURNS);
        self.next_second = now.plus(SECOND);
        Ok(())
    }

    /// Selects processes; those that there is no room for are counted.
    fn select(&mut self, selected: &[u32]) -> Result<(), CollectorError> {
        let mut refused = None;
        let mut done = 0;
        for pid in selected {
            match self.kernel.select(*pid) {
                Ok(()) => done += 1,
                Err(error) => {
                    self.losses.add(Degradation::SelectionFull, 1);
                    refused = Some(error);
                }
            }
            self.demand
                .want_pages(self.processes.mappings(*pid), &self.kernel.publisher);
        }
        match refused {
            Some(error) if done == 0 => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Asks for the tables of the libraries that this process itself maps: the C library and the
    /// dynamic linker are what the next process to start runs first.
    fn want_common_files(&mut self) {
        let own = std::process::id();
        let Some(process) = self.processes.process(own) else {
            return;
        };
        let program = process.executable.clone();
        let libraries = self.processes.mappings(own).filter(|mapping| {
            !matches!(&mapping.kind, MappingKind::File { executable, .. } if executable.path == program)
        });
        self.demand.want(libraries, &self.kernel.publisher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::OffCpu;
    use crate::profile::SamplePeriod;

    fn options() -> LoadOptions {
        LoadOptions {
            period: SamplePeriod::from_hertz(99),
            selection: Selection::All,
            table_budget: 0,
            way: None,
            off_cpu: Some(OffCpu::default()),
        }
    }

    fn lacking(options: &LoadOptions) -> Result<bool, CollectError> {
        match options.off_cpu {
            Some(_) => Err(CollectError::OffCpu {
                missing: "nothing".to_owned(),
            }),
            None => Ok(true),
        }
    }

    #[test]
    fn an_agent_does_without_what_a_kernel_cannot_tell_and_says_so() {
        let (loaded, why) = load(options(), false, lacking).unwrap();
        assert!(loaded);
        let why = why.unwrap();
        assert!(why.starts_with("this kernel cannot tell how long"), "{why}");
        // A recording of just that does not.
        assert!(load(options(), true, lacking).is_err());
        let (_, why) = load(options(), false, |_| Ok(())).unwrap();
        assert_eq!(why, None);
    }

    #[test]
    fn nothing_else_is_done_without() {
        let other = |_: &LoadOptions| -> Result<(), CollectError> {
            Err(CollectError::System {
                call: "bpf".to_owned(),
                source: std::io::ErrorKind::Other.into(),
            })
        };
        assert!(load(options(), false, other).is_err());
    }
}

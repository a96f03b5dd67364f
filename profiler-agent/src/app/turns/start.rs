//! How the collector thread begins: the kernel side is loaded, the processes are read, the tables of those that were
//! selected are waited for a little, and sampling starts.

use std::hash::{BuildHasher as _, RandomState};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{FIRST_TURNS, Running, SECOND, system};
use crate::aggregate::{self, Aggregator};
use crate::app::clock::boot_now;
use crate::app::collector::{CollectorConfig, CollectorError, CollectorGauges, WindowSink};
use crate::app::demand::Demand;
use crate::app::resources::Resources;
use crate::app::runtimes::Runtimes;
use crate::app::tables::TableBuilder;
use crate::app::wake::{Kind, Waiter, Wake};
use crate::collect::sideband::Sideband;
use crate::collect::{Kernel, LoadOptions, Selection, traces};
use crate::correlate::Correlator;
use crate::process::{self, ProcFs, ProcessTable};
use crate::profile::{Losses, MappingKind};

/// How long sampling waits at the start for the tables of the selected processes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Executables are kept open: as many as the hard limit lets.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

impl Running {
    /// Loads the kernel side, reads the processes, starts sampling.
    pub(in crate::app) fn start(
        config: CollectorConfig,
        sink: WindowSink,
        wake: Wake,
        gauges: Arc<CollectorGauges>,
    ) -> Result<Self, CollectorError> {
        let options = LoadOptions {
            period: config.period,
            selection: config.selection.clone(),
            table_budget: config.table_budget,
            way: config.way,
        };
        raise_descriptor_limit();
        let (mut kernel, costs) = Kernel::load(&options)?;
        for cost in costs {
            tracing::debug!(
                program = cost.name,
                instructions = cost.verified_instructions,
                load_time = ?cost.load_time,
                "loaded"
            );
        }
        let online: Vec<u32> = crate::collect::cpus::online()
            .map_err(system("reading the CPUs that are online"))?
            .into_iter()
            .collect();
        let sideband = Sideband::open(&online)?;
        let builder = TableBuilder::spawn(config.table_cache, wake.clone())
            .map_err(system("starting a thread"))?;
        let demand = Demand::new(builder, &mut kernel.publisher)?;
        let waiter = Waiter::new().map_err(system("epoll"))?;
        waiter
            .add(wake.as_fd(), Kind::Wake)
            .map_err(system("epoll"))?;
        let now = boot_now();
        let aggregation = aggregate::Config {
            period: config.period,
            limits: aggregate::Limits::default(),
        };
        let mut running = Self {
            kernel,
            sideband,
            processes: ProcessTable::new(ProcFs::new(process::Limits::of_this_process())),
            demand,
            runtimes: Runtimes::default(),
            resources: Resources::default(),
            correlator: Correlator::new(config.correlation),
            aggregator: Aggregator::new(aggregation, now),
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
            held: Vec::new(),
            losses: Losses::default(),
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
        self.watch_descriptors()?;
        self.processes.scan(boot_now());
        self.read_sideband()?;
        self.want_common_files();
        for pid in selected {
            self.kernel.select(*pid)?;
            self.demand
                .want(self.processes.mappings(*pid), &self.kernel.publisher);
        }
        let start = boot_now();
        while self.demand.outstanding() > 0 && boot_now().since(start) < PATIENCE {
            self.waiter
                .wait(Duration::from_millis(50))
                .map_err(system("epoll"))?;
            self.wake.clear();
            self.load_tables()?;
            self.read_sideband()?;
        }
        self.kernel.traces.follow(Path::new(traces::PINNED))?;
        self.kernel.follow_cpus()?;
        self.watch_descriptors()?;
        let now = boot_now();
        // The window begins when sampling does.
        drop(self.aggregator.close(now, Losses::default()));
        self.gauges.last_close.store(now.0, Ordering::Relaxed);
        self.window_end = now.plus(self.window);
        self.next_turn = now.plus(FIRST_TURNS);
        self.next_second = now.plus(SECOND);
        Ok(())
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

//! A recording, from start to profile.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::clock;
use super::collector::{
    ClosedWindow, Collector, CollectorConfig, CollectorError, Kinds, WindowSink,
};
use super::economy::{Economy, Shortage};
use super::launch::Launched;
use super::memory_limit::MemoryLimit;
use crate::collect::sideband::open::MappingRecords;
use crate::collect::{Selection, Way};
use crate::correlate;
use crate::process::stat::Stat;
use crate::profile::{Profile, merge};
use crate::symbolize::{SymbolizerGone, SymbolizerHandle, SymbolizerThread};

/// What to record.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What is measured, and how often.
    pub kinds: Kinds,
    /// Processes; none means the whole machine, unless there is a command.
    pub pids: Vec<u32>,
    /// The children of `pids` and of the command too.
    pub children: bool,
    /// How long; `None`: until the command ends or a signal comes.
    pub duration: Option<Duration>,
    /// A command to start and follow.
    pub command: Vec<OsString>,
    /// What the command prints goes to standard error: standard output is for what is said of the recording.
    pub command_to_stderr: bool,
    /// How stacks are walked; `None`: the first way that the kernel takes.
    pub way: Option<Way>,
}

/// What was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The profile.
    pub profile: Profile,
    /// What became of the command.
    pub command: Option<CommandEnd>,
    /// CPU time that the agent itself used.
    pub own_cpu: Duration,
}

/// What became of a command that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It ended before the recording did, or with it at a signal.
    Ended(ExitStatus),
    /// The time was over: it was asked to end, and did.
    Terminated,
    /// It was asked to end, and runs on.
    Runs {
        /// Its process.
        pid: u32,
    },
}

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The collector.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The command could not be started.
    #[error("cannot start {command:?}: {source}")]
    Command {
        /// The command.
        command: OsString,
        /// What the kernel said.
        source: io::Error,
    },
    /// A thread, a signal handler or the runtime.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A stage's thread ended before its time.
    #[error("the {0} thread ended unexpectedly")]
    ThreadGone(&'static str),
}

impl From<SymbolizerGone> for RecordError {
    fn from(_: SymbolizerGone) -> Self {
        Self::ThreadGone("symbolizer")
    }
}

/// Windows of a recording: a long one is named while it goes on.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a command that is asked to end may take, and how often it is looked at.
const COMMAND_END: Duration = Duration::from_secs(2);
const COMMAND_INTERVAL: Duration = Duration::from_millis(20);
/// How long the end of a window waits for unwind tables that its samples lack.
const PATIENCE: Duration = Duration::from_secs(10);
/// Windows that may wait to be named.
const WINDOW_QUEUE: usize = 16;
/// Profiles that are merged at a time.
const MERGE_AT: usize = 8;
/// Bytes of unwind tables in the kernel.
const TABLE_BUDGET: u64 = 64 << 20;

fn system(what: &'static str) -> impl Fn(io::Error) -> RecordError {
    move |source| RecordError::System { what, source }
}

/// Records. `progress` is called about once a second with the time that has passed and the number
/// of samples.
pub fn record(
    recording: &Recording,
    progress: &mut dyn FnMut(Duration, u64),
) -> Result<Recorded, RecordError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    runtime.block_on(run(recording, progress))
}

async fn run(
    recording: &Recording,
    progress: &mut dyn FnMut(Duration, u64),
) -> Result<Recorded, RecordError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handling SIGINT"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system("handling SIGTERM"))?;
    let mut launched = match recording.command.split_first() {
        Some((program, arguments)) => {
            let prints = match recording.command_to_stderr {
                true => io::stderr().into(),
                false => Stdio::inherit(),
            };
            Some(
                Launched::prepare(program, arguments, prints).map_err(|source| {
                    RecordError::Command {
                        command: program.clone(),
                        source,
                    }
                })?,
            )
        }
        None => None,
    };
    let mut selected = recording.pids.clone();
    selected.extend(launched.as_ref().map(Launched::pid));
    let selection = if selected.is_empty() {
        Selection::All
    } else {
        Selection::Processes {
            children: recording.children,
        }
    };
    let memory = MemoryLimit::of_this_process();
    let economy = Economy::within(memory.as_ref().map(|limit| limit.bytes), TABLE_BUDGET);
    let shortage = Shortage::default();
    let (symbolizer, handle) = SymbolizerThread::spawn(economy.names.clone(), shortage.flag())
        .map_err(system("starting a thread"))?;
    let (windows, incoming) = sync_channel(WINDOW_QUEUE);
    let naming = spawn_naming(incoming, handle.clone()).map_err(system("starting a thread"))?;
    let config = CollectorConfig {
        kinds: recording.kinds,
        selection,
        selected,
        window: WINDOW,
        economy,
        memory,
        shortage,
        records: MappingRecords::BuildId,
        table_cache: None,
        patience: PATIENCE,
        way: recording.way,
        // A file of one's own costs nobody a series.
        correlation: correlate::Config {
            goroutine_ids: true,
            ..correlate::Config::default()
        },
    };
    let sink = WindowSink {
        windows,
        new_locations: Box::new(move |frames| handle.prefetch(frames)),
    };
    let collector = Collector::start(config, sink)?;
    let start = clock::boot_now();
    if let Some(launched) = &mut launched {
        launched.release().map_err(|source| RecordError::Command {
            command: recording.command[0].clone(),
            source,
        })?;
    }

    let deadline = recording.duration.map(|duration| start.plus(duration));
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut ticks = 0u32;
    let mut is_over = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = tick.tick() => {}
        }
        let now = clock::boot_now();
        ticks += 1;
        if ticks.is_multiple_of(10) {
            progress(
                now.since(start),
                collector.gauges.samples.load(Ordering::Relaxed),
            );
        }
        is_over = deadline.is_some_and(|deadline| now >= deadline);
        if collector.ended() || is_over {
            break;
        }
        if !recording.pids.is_empty() && recording.pids.iter().all(|pid| has_ended(*pid)) {
            break;
        }
        if let Some(launched) = &mut launched
            && launched
                .ended()
                .map_err(system("waiting for the command"))?
        {
            break;
        }
    }
    collector.stop()?;
    let asked = match &mut launched {
        Some(launched) => launched.end().map_err(system("waiting for the command"))?,
        None => false,
    };
    let profile = naming
        .join()
        .map_err(|_| RecordError::ThreadGone("naming"))??;
    symbolizer.join()?;
    let own_cpu = clock::own_cpu();
    let command = match launched {
        Some(launched) => Some(
            end_of(launched, asked && is_over)
                .await
                .map_err(system("waiting for the command"))?,
        ),
        None => None,
    };
    Ok(Recorded {
        profile,
        command,
        own_cpu,
    })
}

/// What has become of the command, which has ended or was asked to; never waits for long. `is_over` says that it was asked
/// because the recording's time was over, not by a signal.
async fn end_of(mut launched: Launched, is_over: bool) -> io::Result<CommandEnd> {
    let mut waited = Duration::ZERO;
    loop {
        match launched.status()? {
            Some(_) if is_over => return Ok(CommandEnd::Terminated),
            Some(status) => return Ok(CommandEnd::Ended(status)),
            None if waited >= COMMAND_END => {
                return Ok(CommandEnd::Runs {
                    pid: launched.pid(),
                });
            }
            None => {
                tokio::time::sleep(COMMAND_INTERVAL).await;
                waited += COMMAND_INTERVAL;
            }
        }
    }
}

/// Has the process ended? A zombie has, whose parent may never ask, unless it is the main thread alone.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat"));
    let stat = stat.ok().and_then(|stat| Stat::parse(&stat));
    stat.is_none_or(|stat| stat.ended())
}

type Naming = JoinHandle<Result<Profile, RecordError>>;

/// Names windows as they come, and merges them when there are no more.
fn spawn_naming(incoming: Receiver<ClosedWindow>, handle: SymbolizerHandle) -> io::Result<Naming> {
    Builder::new().name("naming".to_owned()).spawn(move || {
        let mut profiles: Vec<Profile> = Vec::new();
        for ClosedWindow { window, clocks, .. } in incoming {
            profiles.push(handle.resolve(window, clocks)?.wait()?);
            if profiles.len() == MERGE_AT {
                profiles = vec![merge::merge(&profiles)];
            }
        }
        Ok(merge::merge(&profiles))
    })
}

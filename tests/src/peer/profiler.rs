//! The eBPF profiler of OpenTelemetry, as it is measured beside the agent.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::build;
use crate::measure::Profiler;

const TRACING: &str = "/sys/kernel/tracing";

/// The file system that the other profiler looks up tracepoints in; unmounted when dropped if it was
/// not mounted before.
#[derive(Debug)]
pub struct Tracing {
    mounted_here: bool,
}

impl Tracing {
    /// Mounts it where it is not.
    ///
    /// # Errors
    ///
    /// `mount` fails.
    pub fn mounted() -> Result<Self> {
        let mounted_here = !Path::new(TRACING).join("events").is_dir();
        if mounted_here {
            println!("mounting tracefs on {TRACING}: the other profiler needs it");
            run(Command::new("mount").args(["-t", "tracefs", "tracefs", TRACING]))?;
        }
        Ok(Self { mounted_here })
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if self.mounted_here
            && let Err(error) = run(Command::new("umount").arg(TRACING))
        {
            eprintln!("tracefs stays mounted: {error:#}");
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Starts it, over the whole machine, sampling so many times a second; it exports to a collector's gRPC
/// `endpoint`. It needs [`Tracing`].
///
/// # Errors
///
/// It does not begin to sample.
pub fn start(endpoint: SocketAddr, hertz: u32) -> Result<Profiler> {
    Profiler::start(
        Command::new(build::ebpf_profiler())
            .arg(format!("-collection-agent={endpoint}"))
            .args(["-disable-tls", "-samples-per-second"])
            .arg(hertz.to_string()),
    )
    .with_context(|| format!("ebpf-profiler {}", build::ebpf_profiler_version()))
}

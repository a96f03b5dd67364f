//! Measures the whole agent under the standard mix, with its embedded default at 99 Hz: as it is, then while it
//! exports to a receiver of OTLP in this program.
//!
//! `measure-agent SECONDS`; the numbers are the kernel's ([`profiler_tests::measure`]).

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use profiler_tests::agent;
use profiler_tests::measure::{Profiler, Statistics, measure, standard_mix};
use profiler_tests::receiver::Receiver;

/// A measured number and what it should be at most.
struct Measure {
    name: &'static str,
    value: f64,
    target: Option<f64>,
}

fn main() -> ExitCode {
    match measures() {
        Ok(measures) => {
            for Measure {
                name,
                value,
                target,
            } in measures
            {
                let target = target.map_or_else(String::new, |target| {
                    let verdict = if value <= target { "within" } else { "ABOVE" };
                    format!("  {verdict} the target of {target}")
                });
                println!("{name:<44} {value:>10.3}{target}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("measure-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measures() -> Result<Vec<Measure>> {
    let seconds: u64 = std::env::args()
        .nth(1)
        .context("usage: measure-agent SECONDS")?
        .parse()?;
    // Built before anything is measured.
    let _agent = agent::executable();
    let _statistics = Statistics::on()?;
    let mix = standard_mix();
    let mut agent = Profiler::start(&mut agent::command(&["agent"])).context("the agent")?;
    let [cost] = measure([&mut agent], Duration::from_secs(seconds))?;
    let memory = agent.held_bpf_memory();
    agent.stop()?;
    drop(mix);
    let delivered = delivered(Duration::from_secs(seconds)).context("the exporting agent")?;

    let plain = |name, value| Measure {
        name,
        value,
        target: None,
    };
    let bound = |name, value, target| Measure {
        name,
        value,
        target: Some(target),
    };
    Ok(vec![
        bound("agent CPU, s a minute", cost.cpu, 0.6),
        plain("agent CPU at the start (15 s), s", cost.start_cpu),
        plain(
            "agent CPU per sample, microseconds",
            cost.cpu * 1e6 / cost.runs,
        ),
        plain(
            "agent CPU per delivered sample, microseconds",
            delivered * 1e6,
        ),
        plain("BPF CPU, s a minute", cost.bpf_cpu),
        plain("samples a minute", cost.runs),
        bound("BPF run, microseconds", cost.run_microseconds, 10.0),
        plain("resident memory, mean, MiB", cost.resident_mean),
        bound("resident memory, peak, MiB", cost.resident_peak, 60.0),
        bound("BPF memory, MiB", memory, 24.0),
        bound("first sample, s", cost.first_sample, 0.5),
    ])
}

/// Seconds of CPU time that the agent takes for each sample that it delivers, from the interrupt's record to the
/// receiver's answer.
fn delivered(duration: Duration) -> Result<f64> {
    let receiver = Receiver::default();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    receiver.serve(listener);
    let _mix = standard_mix();
    let mut command = agent::command(&["agent"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    let mut agent = Profiler::start(&mut command)?;
    let [cost] = measure([&mut agent], duration)?;
    agent.stop()?;
    // It delivered its start and its end too; a window under way at the one is over at the other.
    let taken = cost.runs * duration.as_secs_f64() / 60.0;
    let delivered = receiver.windows().values().sum::<u64>();
    ensure!(
        delivered as f64 >= taken,
        "{delivered} samples of {taken} came"
    );
    Ok(cost.cpu / cost.runs)
}

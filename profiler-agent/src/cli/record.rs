//! `profiler-agent record`.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::duration;
use super::exit::{self, fail};
use super::{progress, summary, terminal};
use crate::app::collector::Kinds;
use crate::app::incomplete;
use crate::app::record::{CommandEnd, RecordError, Recorded, Recording, record};
use crate::app::report::Report;
use crate::collect::{OffCpu, Way};
use crate::export::{Format, file};
use crate::profile::SamplePeriod;
use crate::telemetry::log;

/// The command line of `record`.
#[derive(Args)]
pub(super) struct Arguments {
    /// A process to record; can be given several times. Without it and without a command: the whole machine.
    #[arg(short, long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,
    /// Samples a second on each CPU.
    #[arg(short = 'F', long, default_value_t = 99, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    frequency: u32,
    /// Record the time that threads do not run: blocked, or waiting for a CPU (label thread.state).
    #[arg(long, group = "off")]
    off_cpu: bool,
    /// Record both: the time on CPUs and the time off them.
    #[arg(long, group = "off")]
    wall: bool,
    /// Off a CPU: stays of this length and longer are all recorded, of shorter ones as many as stand for them all.
    #[arg(long, default_value = "1ms", value_name = "TIME", value_parser = threshold, requires = "off")]
    off_cpu_threshold: Duration,
    /// Off a CPU: the part of what would be recorded that is; each stands for the others.
    #[arg(long, default_value_t = 1.0, value_name = "PART", value_parser = part, requires = "off")]
    off_cpu_probability: f64,
    /// How long: 10, 2.5, 500ms, 5m [default: 10 s, or the command's life]. A command that still runs then is ended by
    /// SIGTERM.
    #[arg(short, long, value_parser = duration::parse)]
    duration: Option<Duration>,
    /// The file to write; - for standard output.
    #[arg(short, long, default_value = "profile.pb.gz", value_name = "FILE")]
    output: PathBuf,
    /// pprof, otlp, collapsed or svg [default: by the file's ending].
    #[arg(long)]
    format: Option<String>,
    /// Print one JSON object on standard output at the end, in place of the lines on standard error. What the command
    /// prints on its standard output goes to standard error then.
    #[arg(long)]
    json: bool,
    /// Leave out the children of the processes.
    #[arg(long)]
    no_children: bool,
    /// How the kernel side walks stacks: bpf_loop or bounded [default: the first that the kernel takes].
    #[arg(long, value_name = "WAY")]
    walk: Option<Way>,
    /// A command to start and record. Its exit status is passed on. When the recording ends before it (--duration), it
    /// gets SIGTERM, as from `perf record`; after 2 s it is left running. The exit status is 0 then.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Length of a recording that has no command.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    log::to_terminal(log::LogLevel::Warn);
    let format = match &arguments.format {
        Some(name) => Format::from_name(name),
        None if is_standard_output(&arguments.output) => Ok(Format::Pprof),
        None => Format::from_path(&arguments.output),
    };
    let format = match format {
        Ok(format) => format,
        Err(error) => return fail(exit::USAGE, &error),
    };
    if arguments.json && is_standard_output(&arguments.output) {
        return fail(
            exit::USAGE,
            &"--json writes to standard output too: give -o a file",
        );
    }
    if !arguments.pid.is_empty() && !arguments.command.is_empty() {
        return fail(exit::USAGE, &"give either processes or a command, not both");
    }
    if is_standard_output(&arguments.output) && !arguments.command.is_empty() {
        return fail(
            exit::USAGE,
            &"the command writes to standard output too: give -o a file",
        );
    }
    if let Err(problem) = check(arguments) {
        return fail(exit::FAILED, &problem);
    }
    let recording = Recording {
        kinds: kinds(arguments),
        pids: arguments.pid.clone(),
        children: !arguments.no_children,
        duration: arguments
            .duration
            .or_else(|| arguments.command.is_empty().then_some(DEFAULT_DURATION)),
        command: arguments.command.clone(),
        command_to_stderr: arguments.json,
        way: arguments.walk,
    };
    let shows_progress = std::io::stderr().is_terminal();
    let mut progress = |passed: Duration, samples: u64| {
        if shows_progress {
            terminal::show(&progress::line(passed, samples));
        }
    };
    let recorded = record(&recording, &mut progress);
    if shows_progress {
        terminal::show("");
    }
    match recorded {
        Ok(recorded) => write(&recorded, format, arguments),
        Err(error) => fail(code_of(&error), &error),
    }
}

fn threshold(text: &str) -> Result<Duration, String> {
    let threshold = duration::parse(text)?;
    match OffCpu::THRESHOLDS.contains(&threshold) {
        true => Ok(threshold),
        false => Err("give 10us to 2s".to_owned()),
    }
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse::<f64>().ok();
    part.filter(|part| OffCpu::PROBABILITIES.contains(part))
        .ok_or_else(|| "give a number from 0.0001 to 1".to_owned())
}

/// Is `-o` standard output?
fn is_standard_output(output: &Path) -> bool {
    output == Path::new("-")
}

fn kinds(arguments: &Arguments) -> Kinds {
    let off_cpu = OffCpu {
        threshold: arguments.off_cpu_threshold,
        probability: arguments.off_cpu_probability,
    };
    Kinds {
        period: SamplePeriod::from_hertz(arguments.frequency),
        on_cpu: !arguments.off_cpu,
        off_cpu: (arguments.off_cpu || arguments.wall).then_some(off_cpu),
        off_cpu_required: true,
    }
}

/// What can be known to fail before anything is recorded.
fn check(arguments: &Arguments) -> Result<(), String> {
    for pid in &arguments.pid {
        if !Path::new(&format!("/proc/{pid}/stat")).exists() {
            return Err(format!("there is no process {pid}"));
        }
    }
    let output = &arguments.output;
    if is_standard_output(output) {
        return match std::io::stdout().is_terminal() {
            true => {
                Err("a profile on a terminal helps nobody: write > FILE, or -o FILE".to_owned())
            }
            false => Ok(()),
        };
    }
    if output.is_dir() {
        return Err(format!(
            "cannot write {}: it is a directory",
            output.display()
        ));
    }
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    rustix::fs::access(
        directory,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )
    .map_err(|error| format!("cannot write {}: {error}", output.display()))
}

fn write(recorded: &Recorded, format: Format, arguments: &Arguments) -> ExitCode {
    let output = &arguments.output;
    let encoded = match format.encode(&recorded.profile) {
        Ok(encoded) => encoded,
        Err(error) => return fail(exit::FAILED, &error),
    };
    let keeps = recorded.profile.samples.is_empty() && output.is_file();
    let written = match () {
        () if is_standard_output(output) => terminal::print_bytes(&encoded),
        () if keeps => Ok(()),
        () => file::write(output, &encoded),
    };
    if let Err(error) = written {
        return fail(
            exit::FAILED,
            &format!("cannot write {}: {error}", output.display()),
        );
    }
    let report = Report::new(&recorded.profile, recorded.own_cpu);
    let sentences = incomplete::sentences(&recorded.profile);
    if arguments.json {
        let file = (!keeps).then_some(output.as_path());
        if let Err(code) = terminal::print(summary::json(&report, file, &sentences)) {
            return code;
        }
    } else {
        let stays = if keeps { " stays as it was" } else { "" };
        terminal::say_line(format_args!("{report}; {}{stays}", output.display()));
        for sentence in sentences {
            terminal::say_line(sentence);
        }
    }
    match recorded.command {
        Some(CommandEnd::Ended(status)) => exit::of_status(status).into(),
        Some(CommandEnd::Runs { pid }) => {
            terminal::say_line(format_args!(
                "the command (process {pid}) did not end at SIGTERM and still runs: kill -KILL {pid} ends it"
            ));
            ExitCode::SUCCESS
        }
        None if keeps => fail(exit::FAILED, &"nothing was sampled"),
        Some(CommandEnd::Terminated) | None => ExitCode::SUCCESS,
    }
}

fn code_of(error: &RecordError) -> u8 {
    match error {
        RecordError::Collector(error) if error.is_privilege() => exit::PRIVILEGE,
        RecordError::Command { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            exit::NOT_FOUND
        }
        RecordError::Command { .. } => exit::NOT_EXECUTABLE,
        _ => exit::FAILED,
    }
}

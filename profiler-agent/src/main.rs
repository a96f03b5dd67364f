//! Parses the command line, runs the command, exits with its code.

fn main() -> std::process::ExitCode {
    profiler_agent::cli::main()
}

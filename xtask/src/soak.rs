//! Runs the suite of the machine that never rests for as long as one likes.

use anyhow::Result;
use clap::Args;

use crate::prerequisite::{self, Wanted};
use crate::{step, test};

/// How long.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes of unrest; every run of the tests has two of them.
    #[arg(long, value_name = "N", default_value_t = 20.0, value_parser = minutes)]
    minutes: f64,
}

/// From one minute, in which everything happens at least once, to a day.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1.0..=1_440.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("from 1 to 1440".to_owned())
    }
}

/// Builds the suites and their agent, and runs the one.
pub(crate) fn run(options: &Options) -> Result<()> {
    prerequisite::ensure(Wanted::All)?;
    step::run(&mut test::build())?;
    let mut suite = test::suites(&["--nocapture", "soak"]);
    suite.env("PROFILER_SOAK_MINUTES", options.minutes.to_string());
    step::run(&mut suite)
}

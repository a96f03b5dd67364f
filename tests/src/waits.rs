//! What the workload `waits` says of itself, and how much of that a profile has.

use std::collections::BTreeMap;

use crate::pprof::{Profile, Sample};

/// Times by function, of all threads together, in ns.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// Time off a CPU: at least, at most.
    pub off: BTreeMap<String, (f64, f64)>,
    /// Time from begin to end, and the part of it on a CPU.
    pub wall: BTreeMap<String, (f64, f64)>,
}

impl Waits {
    /// Reads what the program printed.
    ///
    /// # Panics
    ///
    /// When it said nothing of time off a CPU.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut waits = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [what, name, one, other] = fields.as_slice() else {
                continue;
            };
            let times = match *what {
                "off" => &mut waits.off,
                "wall" => &mut waits.wall,
                _ => continue,
            };
            let number = |field: &str| field.parse::<f64>().expect("a number");
            let sums = times.entry((*name).to_owned()).or_default();
            *sums = (sums.0 + number(one), sums.1 + number(other));
        }
        assert!(!waits.off.is_empty(), "it said: {text}");
        waits
    }
}

/// What the samples with this function stand for that are wanted, in ns.
#[must_use]
pub fn time_in(profile: &Profile, function: &str, is_wanted: impl Fn(&Sample) -> bool) -> f64 {
    time_of(profile, |sample| {
        sample.functions().contains(&function) && is_wanted(sample)
    })
}

/// What the samples stand for that are wanted, in ns.
#[must_use]
pub fn time_of(profile: &Profile, is_wanted: impl Fn(&Sample) -> bool) -> f64 {
    let samples = profile.samples.iter().filter(|sample| is_wanted(sample));
    samples.map(|sample| sample.values[1] as f64).sum()
}

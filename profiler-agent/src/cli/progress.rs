//! The line that says how far a recording is.

use std::time::Duration;

/// Time and samples in 29 columns at most, so that a terminal of 30 does not wrap.
pub(super) fn line(passed: Duration, samples: u64) -> String {
    format!(
        "{}, {} samples, ^C ends",
        time(passed.as_secs()),
        count(samples)
    )
}

/// In 6 columns at most.
fn time(seconds: u64) -> String {
    match (seconds, seconds / 3600, seconds / 86_400) {
        (0..6_000, ..) => format!("{seconds} s"),
        (_, hours @ 0..100, _) => format!("{hours}h{:02}m", seconds / 60 % 60),
        (.., days @ 0..100_000) => format!("{days}d"),
        _ => "long".to_owned(),
    }
}

/// In 5 columns at most.
fn count(number: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1_000_000_000_000_000_000, "E"),
        (1_000_000_000_000_000, "P"),
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    if number < 10_000 {
        return number.to_string();
    }
    let unit = UNITS.into_iter().find(|(one, _)| number >= *one);
    unit.map_or_else(String::new, |(one, name)| match number / one {
        whole @ 0..10 => format!("{whole}.{}{name}", number % one / (one / 10)),
        whole => format!("{whole}{name}"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_shown() {
        for (seconds, samples, expected) in [
            (0, 0, "0 s, 0 samples, ^C ends"),
            (12, 9_999, "12 s, 9999 samples, ^C ends"),
            (5_999, 10_241, "5999 s, 10k samples, ^C ends"),
            (6_000, 1_234_567, "1h40m, 1.2M samples, ^C ends"),
            (90_061, 999_999_999, "25h01m, 999M samples, ^C ends"),
            (31_536_000, 2_000_000_000, "365d, 2.0G samples, ^C ends"),
        ] {
            assert_eq!(line(Duration::from_secs(seconds), samples), expected);
        }
    }

    proptest! {
        #[test]
        fn it_fits_a_narrow_terminal(seconds: u64, samples: u64, shift in 0..64u32) {
            let line = line(Duration::from_secs(seconds >> shift), samples >> shift);
            prop_assert!(line.chars().count() <= 29, "{}", line);
        }
    }
}

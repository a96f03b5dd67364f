//! Durations on the command line.

use std::time::Duration;

/// Longest duration: a year.
const MOST: Duration = Duration::from_secs(366 * 24 * 3600);

/// `10`, `2.5` (seconds), `100us`, `500ms`, `10s`, `5m`, `1h`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        "us" => 0.000_001,
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit `{unit}` (us, ms, s, m or h)")),
    };
    let duration = number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * seconds_per_unit).ok())
        .ok_or("a number of seconds such as 10, 2.5, 500ms, 5m is expected")?;
    if duration.is_zero() || duration > MOST {
        return Err("it must be longer than 0 and at most a year".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_understood() {
        assert_eq!(parse("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("2.5"), Ok(Duration::from_millis(2500)));
        assert_eq!(parse("100us"), Ok(Duration::from_micros(100)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0", "-1", "x", "10 s", "10d", "nan", "inf", "1e300"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! `Retry-After` (RFC 9110, section 10.2.3).

use std::time::Duration;

use crate::export::calendar::days_since_1970;
use crate::profile::UnixTime;

/// Longest delay that a receiver is believed: what is longer is a mistake, and would be forgotten by a restart.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// How long to wait: seconds, or until a date; nothing where it says neither.
pub(in crate::export) fn retry_after(value: &str, now: UnixTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are still long.
        let seconds = (!value.is_empty()).then(|| value.parse().unwrap_or(u64::MAX));
        Duration::from_secs(seconds?)
    } else {
        let at = Duration::from_secs(date(value)?);
        at.saturating_sub(Duration::from_nanos(now.0))
    };
    Some(wait.min(LONGEST))
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970 of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. The two older forms that
/// recipients once met are no longer written by anybody.
fn date(text: &str) -> Option<u64> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let mut word = || words.next();
    let day = number(word()?, 2)?;
    let name = word()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year = number(word()?, 4)?;
    let time = word()?;
    if word() != Some("GMT") || word().is_some() {
        return None;
    }
    let mut parts = time.split(':');
    let mut part = || number(parts.next()?, 2);
    let (hour, minute, second) = (part()?, part()?, part()?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // A leap second is 60.
    let valid = (1..=days).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !valid || year < 1970 || parts.next().is_some() {
        return None;
    }
    Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let all = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn seconds(value: &str, now: u64) -> Option<u64> {
        retry_after(value, UnixTime(now * 1_000_000_000)).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates() {
        assert_eq!(seconds("120", 0), Some(120));
        assert_eq!(seconds(" 0 ", 0), Some(0));
        assert_eq!(seconds("99999999999999999999999", 0), Some(86_400));
        // The RFC's own example.
        let example = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(seconds(example, 784_111_777 - 30), Some(30));
        assert_eq!(seconds(example, 784_111_777 + 30), Some(0));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT", 0), Some(0));
        for wrong in [
            "",
            "-1",
            "1.5",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds(wrong, 0), None, "{wrong}");
        }
    }

    #[test]
    fn dates_are_those_of_the_system() {
        let times = [
            951_782_399_u64,
            951_868_800,
            1_709_164_800,
            4_107_542_399,
            1_800_000_000,
        ];
        for time in times {
            let output = Command::new("date")
                .args(["-u", "-d", &format!("@{time}")])
                .arg("+%a, %d %b %Y %H:%M:%S GMT")
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(date(text.trim()), Some(time), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in any::<String>(), now in any::<u64>()) {
            let wait = retry_after(&text, UnixTime(now));
            prop_assert!(wait.is_none_or(|wait| wait <= LONGEST));
        }

        #[test]
        fn no_date_breaks_it(text in "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            let _ = retry_after(&text, UnixTime(0));
        }
    }
}

//! What a downloaded profile's file is called: service and time, so that several of them are told apart.

use super::query::Selection;
use crate::profile::UnixTime;

/// Bytes of the service's name in a file's name.
const MAX_NAME: usize = 60;

/// `api-20260101T000000Z-20260101T001500Z.pb.gz`. Only letters, digits, dots, dashes and underscores: it stands in a
/// header, and in a directory.
pub(super) fn file_name(
    selection: &Selection,
    (from, until): (UnixTime, UnixTime),
    ending: &str,
) -> String {
    let filter = &selection.filter;
    let process = filter.pid.map(|pid| format!("process-{pid}"));
    let name = filter.service.as_deref().or(filter.comm.as_deref());
    let name = name.or(process.as_deref()).unwrap_or("everything");
    let plain = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => letter,
        _ => '_',
    };
    let name: String = name.chars().take(MAX_NAME).map(plain).collect();
    // A name of dots alone is none.
    let name = name.trim_start_matches('.');
    let kind = match selection.kind.name() {
        "cpu" => String::new(),
        other => format!("-{other}"),
    };
    format!("{name}{kind}-{}-{}.{ending}", stamp(from), stamp(until))
}

/// `20260101T000000Z`.
fn stamp(time: UnixTime) -> String {
    let seconds = time.0 / 1_000_000_000;
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}{month:02}{:02}T{hour:02}{minute:02}{:02}Z",
        day + 1,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        // From `date -u -d @SECONDS`.
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (1_767_225_599, "20251231T235959Z"),
            (1_767_225_600, "20260101T000000Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(stamp(UnixTime(seconds * 1_000_000_000)), text);
        }
        assert!(stamp(UnixTime(u64::MAX)).starts_with("2554"));
    }
}

//! Days of the calendar, in UTC.

/// Days since 1970-01-01 of a date that is there, from 1970 on. Years begin in March here, so that the leap day is
/// their last.
pub(super) fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// The year, month and day of a day since 1970-01-01.
pub(super) fn date(days: u64) -> (u64, u64, u64) {
    // 400 years have 146,097 days, 100 have 36,524, 4 have 1,461.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + years + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{date, days_since_1970};

    #[test]
    fn days_and_dates_follow_each_other() {
        assert_eq!(date(0), (1970, 1, 1));
        // By `date -u -d @951782400` and `date -u -d @4107542400`.
        assert_eq!(date(951_782_400 / 86_400), (2000, 2, 29));
        assert_eq!(date(4_107_542_400 / 86_400), (2100, 3, 1));
        let mut last = (1969, 12, 31);
        for day in 0..200_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days_since_1970(year, month, of_month), day);
            assert!((year, month, of_month) > last);
            last = (year, month, of_month);
        }
    }
}

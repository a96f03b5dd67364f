//! What a request asks for: its parameters, understood. Pure: the time and the default range are given.

use std::fmt;

use super::filter::{Filter, Taken};
use crate::profile::{LinkFilter, ProfileKind, UnixTime, WindowId, hexadecimal};

/// What is wrong with a request, and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misunderstood(pub(super) String);

impl fmt::Display for Misunderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The parameters of a request, in order.
pub(super) type Parameters = Vec<(String, String)>;

/// Which samples.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Selection {
    /// Samples of this kind.
    pub(super) kind: ProfileKind,
    /// Windows that end after this.
    pub(super) from: UnixTime,
    /// Windows that start before this.
    pub(super) until: UnixTime,
    /// Only this window.
    pub(super) window: Option<WindowId>,
    /// Only these samples.
    pub(super) filter: Filter,
}

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerFormat {
    /// The page's own.
    Json,
    /// Stacks as lines of text.
    Collapsed,
    /// pprof, gzip.
    Pprof,
    /// A picture.
    Svg,
}

/// The times that a request is understood against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// The time of the request.
    pub(super) now: UnixTime,
    /// `from` where it is not given.
    pub(super) default_from: UnixTime,
    /// `until` where it is not given.
    pub(super) default_until: UnixTime,
    /// All there is: the default where a trace or span is asked for, whose time nobody knows.
    pub(super) whole: (UnixTime, UnixTime),
    /// `type` where it is not given.
    pub(super) default_kind: ProfileKind,
}

/// The value of a parameter; the empty text counts as not given.
#[must_use]
pub(super) fn value<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .rev()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

/// Refuses parameters that do not exist, so that a typing error is not taken for an answer.
///
/// # Errors
/// There is one that is not in `known`.
pub(super) fn only(parameters: &Parameters, known: &[&[&str]]) -> Result<(), Misunderstood> {
    let mut all = known.iter().flat_map(|names| names.iter());
    match parameters
        .iter()
        .find(|(name, _)| !all.clone().any(|known| known == name))
    {
        None => Ok(()),
        Some((name, _)) => {
            let first = all.next().copied().unwrap_or_default();
            let list = all.fold(first.to_owned(), |list, name| list + ", " + name);
            Err(Misunderstood(format!(
                "there is no parameter {name:?}; there are {list}"
            )))
        }
    }
}

/// The names of a selection's parameters.
pub(super) const SELECTION: &[&str] = &[
    "type",
    "from",
    "until",
    "window",
    "service",
    "pid",
    "comm",
    "thread",
    "label",
    "trace_id",
    "span_id",
    "taken_from",
    "taken_until",
];
/// The names of the base's parameters in a comparison.
pub(super) const BASE: &[&str] = &[
    "base_from",
    "base_until",
    "base_window",
    "base_service",
    "base_pid",
    "base_comm",
    "base_thread",
    "base_label",
    "base_trace_id",
    "base_span_id",
    "base_taken_from",
    "base_taken_until",
];

/// The selection that the parameters with this prefix (empty or `base_`) make.
///
/// # Errors
/// A value is not understood, or the range is empty.
pub(super) fn selection(
    parameters: &Parameters,
    prefix: &str,
    clock: &Clock,
) -> Result<Selection, Misunderstood> {
    let get = |name: &str| value(parameters, &format!("{prefix}{name}"));
    let link = LinkFilter {
        trace_id: id(prefix, "trace_id", get("trace_id"))?,
        span_id: id(prefix, "span_id", get("span_id"))?,
    };
    let (default_from, default_until) = if link.is_everything() {
        (clock.default_from, clock.default_until)
    } else {
        clock.whole
    };
    let at = |name: &str| get(name).map(|text| time(text, clock.now)).transpose();
    let (taken_from, taken_until) = (at("taken_from")?, at("taken_until")?);
    let from = at("from")?.or(taken_from).unwrap_or(default_from);
    let until = at("until")?.or(taken_until).unwrap_or(default_until);
    if until <= from {
        return Err(Misunderstood(format!(
            "{prefix}from is not before {prefix}until: exchange them"
        )));
    }
    let mut range = Taken { from, until };
    let taken = (taken_from.is_some() || taken_until.is_some()).then(|| Taken {
        from: taken_from.unwrap_or(from),
        until: taken_until.unwrap_or(until),
    });
    if let Some(taken) = taken {
        if taken.until <= taken.from {
            return Err(Misunderstood(format!(
                "{prefix}taken_from is not before {prefix}taken_until: exchange them"
            )));
        }
        // Other windows have none of these samples.
        range.from = from.max(taken.from);
        range.until = until.min(taken.until);
        if range.until <= range.from {
            return Err(Misunderstood(format!(
                "{prefix}taken_from and {prefix}taken_until lie outside of {prefix}from and {prefix}until: leave out one pair"
            )));
        }
    }
    let number = |name: &str| {
        get(name)
            .map(|text| {
                text.parse::<u64>().map_err(|_| {
                    Misunderstood(format!("{prefix}{name} is {text:?}: give it a number"))
                })
            })
            .transpose()
    };
    let pid = number("pid")?
        .map(|pid| {
            u32::try_from(pid)
                .map_err(|_| Misunderstood(format!("{prefix}pid is {pid}: no pid is as large")))
        })
        .transpose()?;
    Ok(Selection {
        kind: kind(parameters, clock.default_kind)?,
        from: range.from,
        until: range.until,
        window: number("window")?.map(WindowId),
        filter: Filter {
            service: get("service").map(str::to_owned),
            pid,
            comm: get("comm").map(str::to_owned),
            thread: get("thread").map(str::to_owned),
            labels: labels(parameters, &format!("{prefix}label"))?,
            link,
            taken,
        },
    })
}

/// The kind that `type` names: both sides of a comparison are of one.
fn kind(parameters: &Parameters, default: ProfileKind) -> Result<ProfileKind, Misunderstood> {
    let Some(text) = value(parameters, "type") else {
        return Ok(default);
    };
    ProfileKind::from_name(text).ok_or_else(|| {
        let names = ProfileKind::ALL.map(ProfileKind::name);
        Misunderstood(format!(
            "type is {text:?}: give one of {}",
            names.join(", ")
        ))
    })
}

/// The id that a parameter gives, in hexadecimal digits.
fn id<const BYTES: usize>(
    prefix: &str,
    name: &str,
    text: Option<&str>,
) -> Result<Option<[u8; BYTES]>, Misunderstood> {
    let Some(text) = text else { return Ok(None) };
    let id = hexadecimal::bytes_of(text.as_bytes()).filter(|id| *id != [0; BYTES]);
    id.map(Some).ok_or_else(|| {
        Misunderstood(format!(
            "{prefix}{name} is {text:?}: give {} hexadecimal digits that are not all zero",
            BYTES * 2
        ))
    })
}

/// The labels that a parameter gives, which may be there several times.
fn labels(parameters: &Parameters, name: &str) -> Result<Vec<String>, Misunderstood> {
    let given = parameters.iter().filter(|(found, _)| found == name);
    let texts = given.map(|(_, text)| text).filter(|text| !text.is_empty());
    let mut labels: Vec<String> = texts.cloned().collect();
    labels.sort_unstable();
    labels.dedup();
    match labels.iter().find(|label| !label.contains(':')) {
        Some(wrong) => Err(Misunderstood(format!(
            "{name} is {wrong:?}: give the key, a colon and the value"
        ))),
        None if labels.len() > MAX_LABELS => Err(Misunderstood(format!(
            "{name} is there {} times: give it at most {MAX_LABELS} times",
            labels.len()
        ))),
        None => Ok(labels),
    }
}

/// Labels of one selection.
const MAX_LABELS: usize = 32;

/// A time: milliseconds since 1970, `now`, or `now-` a number and a unit (s, m, h, d).
///
/// # Errors
/// It is none of those.
pub(super) fn time(text: &str, now: UnixTime) -> Result<UnixTime, Misunderstood> {
    let misunderstood = || {
        Misunderstood(format!(
            "the time {text:?} is not understood: give milliseconds since 1970, now, or now-15m (units s, m, h, d)"
        ))
    };
    if text == "now" {
        return Ok(now);
    }
    if let Some(ago) = text.strip_prefix("now-") {
        let unit = ago.chars().next_back().ok_or_else(misunderstood)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(misunderstood()),
        };
        let count: u64 = ago[..ago.len() - 1].parse().map_err(|_| misunderstood())?;
        let nanoseconds = count.saturating_mul(seconds).saturating_mul(1_000_000_000);
        return Ok(UnixTime(now.0.saturating_sub(nanoseconds)));
    }
    let milliseconds: u64 = text.parse().map_err(|_| misunderstood())?;
    Ok(UnixTime(milliseconds.saturating_mul(1_000_000)))
}

/// The format that `format` names; JSON where it is not given.
///
/// # Errors
/// It names none.
pub(super) fn format(parameters: &Parameters) -> Result<AnswerFormat, Misunderstood> {
    match value(parameters, "format") {
        None | Some("json") => Ok(AnswerFormat::Json),
        Some("collapsed") => Ok(AnswerFormat::Collapsed),
        Some("pprof") => Ok(AnswerFormat::Pprof),
        Some("svg") => Ok(AnswerFormat::Svg),
        Some(other) => Err(Misunderstood(format!(
            "format is {other:?}: give json, collapsed, pprof or svg"
        ))),
    }
}

/// The number that a parameter gives, within `range`.
///
/// # Errors
/// It gives none, or one outside.
pub(super) fn number(
    parameters: &Parameters,
    name: &str,
    default: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, Misunderstood> {
    let Some(text) = value(parameters, name) else {
        return Ok(default);
    };
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            Misunderstood(format!(
                "{name} is {text:?}: give a number from {} to {}",
                range.start(),
                range.end()
            ))
        })
}

/// The path that `focus` gives: a JSON array of frame names, outermost first.
///
/// # Errors
/// It is no such array, or too deep.
pub(super) fn focus(parameters: &Parameters) -> Result<Vec<String>, Misunderstood> {
    let Some(text) = value(parameters, "focus") else {
        return Ok(Vec::new());
    };
    serde_json::from_str(text).map_err(|_| {
        Misunderstood(
            "focus is not understood: give a JSON array of frame names, outermost first".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000_000_000_000);
    const CLOCK: Clock = Clock {
        now: NOW,
        default_from: UnixTime(NOW.0 - 900_000_000_000),
        default_until: NOW,
        whole: (UnixTime(5), UnixTime(NOW.0 + 1)),
        default_kind: ProfileKind::OnCpu,
    };

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn times_are_understood() {
        assert_eq!(time("now", NOW), Ok(NOW));
        assert_eq!(time("now-90s", NOW), Ok(UnixTime(NOW.0 - 90_000_000_000)));
        assert_eq!(
            time("now-2d", NOW),
            Ok(UnixTime(NOW.0 - 172_800_000_000_000))
        );
        assert_eq!(
            time("1700000000123", NOW),
            Ok(UnixTime(1_700_000_000_123_000_000))
        );
        assert_eq!(time("now-99999999999999999h", NOW), Ok(UnixTime(0)));
        for wrong in [
            "",
            "now-",
            "now-5",
            "now-5w",
            "now-m",
            "yesterday",
            "-5",
            "now-1é",
        ] {
            let message = time(wrong, NOW).unwrap_err().0;
            assert!(message.contains("now-15m"), "{wrong}: {message}");
        }
    }

    #[test]
    fn a_selection_has_its_defaults_and_its_base() {
        let parameters = parameters(&[
            ("service", "api"),
            ("base_from", "now-1h"),
            ("base_pid", "7"),
        ]);
        let selected = selection(&parameters, "", &CLOCK).unwrap();
        assert_eq!(selected.from, CLOCK.default_from);
        assert_eq!(selected.filter.service.as_deref(), Some("api"));
        let base = selection(&parameters, "base_", &CLOCK).unwrap();
        assert_eq!(base.from.0, NOW.0 - 3_600_000_000_000);
        assert_eq!(base.filter.pid, Some(7));
        assert_eq!(base.filter.service, None);
    }

    #[test]
    fn a_trace_is_looked_for_in_all_there_is() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let labels = [("label", "b:2"), ("label", "a:1:x"), ("label", "b:2")];
        let parameters =
            parameters(&[&[("trace_id", trace), ("until", "now")][..], &labels].concat());
        let selected = selection(&parameters, "", &CLOCK).unwrap();
        assert_eq!((selected.from, selected.until), (UnixTime(5), NOW));
        assert_eq!(selected.filter.link.trace_id.unwrap()[..2], [0x0a, 0xf7]);
        assert_eq!(selected.filter.labels, ["a:1:x", "b:2"]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_fix() {
        let refused =
            |pairs: &[(&str, &str)]| selection(&parameters(pairs), "", &CLOCK).unwrap_err().0;
        assert!(refused(&[("from", "now"), ("until", "now-5m")]).contains("exchange"));
        assert!(refused(&[("trace_id", "17")]).contains("32 hexadecimal"));
        assert!(refused(&[("span_id", "0000000000000000")]).contains("16 hexadecimal"));
        assert!(refused(&[("label", "endpoint=/cart")]).contains("colon"));
        assert!(refused(&[("pid", "me")]).contains("number"));
        assert!(refused(&[("pid", "5000000000")]).contains("pid"));
        let unknown = only(&parameters(&[("form", "now")]), &[SELECTION])
            .unwrap_err()
            .0;
        assert!(
            unknown.contains("\"form\"") && unknown.contains("from, until"),
            "{unknown}"
        );
    }
}

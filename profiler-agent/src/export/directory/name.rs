//! Names of files.

use crate::export::calendar::date;
use crate::profile::{Coding, Payload, UnixTime};

/// Endings by coding: pprof is compressed in itself, OTLP is not.
const PPROF: &str = ".pb.gz";
const OTLP: &str = ".otlp";
/// Before and behind the name of a file that is being written.
const HIDDEN: (&str, &str) = (".", ".part");

/// The name of a payload's file.
pub(super) fn of(payload: &Payload) -> String {
    let ending = match payload.coding {
        Coding::Gzip => PPROF,
        Coding::Identity | Coding::Zstd => OTLP,
    };
    let (time, id) = (stamp(payload.start), payload.id);
    format!("{time}-{}-{}{ending}", id.window, id.part)
}

/// A time as names have it: `20261121T142205Z`.
pub(super) fn stamp(time: UnixTime) -> String {
    let seconds = time.0 / 1_000_000_000;
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The name under which a file is written.
pub(super) fn hidden(name: &str) -> String {
    format!("{}{name}{}", HIDDEN.0, HIDDEN.1)
}

/// Is it the name of a file that was being written?
pub(super) fn is_hidden(name: &str) -> bool {
    let inner = name.strip_prefix(HIDDEN.0);
    let inner = inner.and_then(|name| name.strip_suffix(HIDDEN.1));
    inner.is_some_and(is_ours)
}

/// Is it a name that [`of`] makes?
pub(super) fn is_ours(name: &str) -> bool {
    let stem = [PPROF, OTLP].iter().find_map(|end| name.strip_suffix(end));
    let mut parts = stem.unwrap_or("").split('-');
    let (Some(time), Some(window), Some(part), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_window = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let time = time.as_bytes();
    time.len() == 16
        && time.iter().enumerate().all(|(index, byte)| match index {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
        && window.len() == 32
        && window.bytes().all(is_window)
        && (1..=10).contains(&part.len())
        && is_number(part)
}

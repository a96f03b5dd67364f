//! A saved profile of any format, told by its content: names of files lie, and get lost on the way.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use super::{Fields, ReadError, ReadLimits, collapsed, otlp_requests, perf_script};
use crate::export::{otlp, pprof};
use crate::profile::Profile;

/// A format that profiles are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedFormat {
    /// pprof.
    Pprof,
    /// OTLP as protobuf.
    Otlp,
    /// OTLP as JSON: a request, or several.
    OtlpJson,
    /// Collapsed stacks.
    Collapsed,
    /// What `perf script` prints.
    PerfScript,
}

/// A profile that was read, and what a person should know of it.
#[derive(Debug)]
pub struct Saved {
    /// The profile.
    pub profile: Profile,
    /// What it was read from.
    pub format: SavedFormat,
    /// What the file does not say, or what was left out of it; a sentence each.
    pub notes: Vec<String>,
}

/// Bytes in which a text shows that it is one.
const TEXT_BYTES: usize = 1024;

/// Reads a profile, compressed by gzip or not.
///
/// # Errors
/// [`ReadError`]; [`ReadError::Unknown`] with a hint where the content is of no format that is read.
pub fn decode(bytes: &[u8], limits: &ReadLimits) -> Result<Saved, ReadError> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    if !bytes.starts_with(&GZIP) {
        return decode_plain(bytes, limits);
    }
    let mut plain = Vec::new();
    let most = limits.bytes as u64;
    MultiGzDecoder::new(bytes)
        .take(most.saturating_add(1))
        .read_to_end(&mut plain)?;
    decode_plain(&plain, limits)
}

fn decode_plain(bytes: &[u8], limits: &ReadLimits) -> Result<Saved, ReadError> {
    let format = detect(bytes)?;
    let (profile, notes) = match format {
        SavedFormat::Pprof => (pprof::decode(bytes, limits)?, Vec::new()),
        SavedFormat::Otlp => (otlp::decode(bytes, limits)?, Vec::new()),
        SavedFormat::OtlpJson => otlp_requests::decode(bytes, limits)?,
        SavedFormat::Collapsed => collapsed::decode(bytes, limits)?,
        SavedFormat::PerfScript => perf_script::decode(bytes, limits)?,
    };
    Ok(Saved {
        profile,
        format,
        notes,
    })
}

/// The format of what is not compressed.
///
/// # Errors
/// [`ReadError::Unknown`].
pub(super) fn detect(bytes: &[u8]) -> Result<SavedFormat, ReadError> {
    let unknown = |hint| Err(ReadError::Unknown { hint });
    if bytes.is_empty() {
        return unknown("it is empty");
    }
    for (magic, hint) in [
        (
            b"PERFILE2".as_slice(),
            "it is a recording of perf: open what `perf script -i FILE > FILE.txt` writes",
        ),
        (b"\x7fELF", "it is a program, not a profile"),
        (
            b"FLR\0",
            "it is a recording of Java's flight recorder: have it converted to pprof or to collapsed stacks",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "it is compressed by zstd: unpack it with `zstd -d`",
        ),
    ] {
        if bytes.starts_with(magic) {
            return unknown(hint);
        }
    }
    if is_text(bytes) {
        return detect_text(bytes);
    }
    is_protobuf(bytes)
}

/// Controls other than white space and the escapes of colours are in every protobuf, and in no text.
fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(TEXT_BYTES)];
    start
        .iter()
        .all(|byte| !byte.is_ascii_control() || b"\t\n\r\x1b".contains(byte))
}

fn detect_text(bytes: &[u8]) -> Result<SavedFormat, ReadError> {
    let unknown = |hint| Err(ReadError::Unknown { hint });
    match bytes.trim_ascii_start() {
        [] => return unknown("there is nothing in it"),
        [b'{', ..] => return Ok(SavedFormat::OtlpJson),
        [b'<', ..] => {
            return unknown(
                "it is a picture or a page: save the profile as pprof (.pb.gz) and open that",
            );
        }
        _ => {}
    }
    if perf_script::is_one(bytes) {
        return Ok(SavedFormat::PerfScript);
    }
    if collapsed::is_one(bytes) {
        return Ok(SavedFormat::Collapsed);
    }
    unknown(
        "it is a text, but neither collapsed stacks (`caller;callee 12`), nor what `perf script` prints, nor OTLP as JSON",
    )
}

/// A request of OTLP has the fields 1 (profiles) and 2 (dictionary) alone, pprof always has its table of strings (6).
fn is_protobuf(bytes: &[u8]) -> Result<SavedFormat, ReadError> {
    let mut has_strings = false;
    let mut has_others = false;
    for field in Fields::new(bytes, "profile") {
        match field {
            Ok((6, _)) => has_strings = true,
            Ok((1 | 2, _)) => {}
            Ok((3..=20, _)) => has_others = true,
            Ok(_) | Err(_) => {
                return Err(ReadError::Unknown {
                    hint: "it is neither pprof, nor OTLP, nor a text",
                });
            }
        }
        if has_strings {
            return Ok(SavedFormat::Pprof);
        }
    }
    Ok(match has_others {
        true => SavedFormat::Pprof,
        false => SavedFormat::Otlp,
    })
}

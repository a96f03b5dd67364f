//! Profiles as the bytes of formats, for the page.

use crate::export::{Format, ReadLimits, pprof};
use crate::page::AnswerFormat;
use crate::profile::{ArchiveError, Profile};

/// A profile in a format that is not the page's own.
pub(super) fn encode(profile: &Profile, format: AnswerFormat) -> Result<Vec<u8>, ArchiveError> {
    let format = match format {
        AnswerFormat::Json => return Err("JSON is the page's own format".into()),
        AnswerFormat::Collapsed => Format::Collapsed,
        AnswerFormat::Pprof => Format::Pprof,
        AnswerFormat::Svg => Format::Svg,
    };
    Ok(format.encode(profile)?)
}

/// A profile from the bytes that the store holds.
pub(super) fn decode_pprof(bytes: &[u8]) -> Result<Profile, ArchiveError> {
    Ok(pprof::decode(bytes, &ReadLimits::default())?)
}

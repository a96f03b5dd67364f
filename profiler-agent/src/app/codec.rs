//! What the page needs done to profiles, by the stages that know how.

use crate::export::{Format, ReadLimits, pprof};
use crate::page::{AnswerFormat, Codec};
use crate::profile::{ArchiveError, Profile, merge};

/// For the page.
pub(super) const CODEC: Codec = Codec {
    encode,
    merge: |profiles| merge::merge(profiles),
    filter: |profile, keep| merge::filter(profile, None, |process, _| keep(process)),
};

fn encode(profile: &Profile, format: AnswerFormat) -> Result<Vec<u8>, ArchiveError> {
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

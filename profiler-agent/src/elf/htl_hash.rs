//! What names a file that has no build id.

use sha2::{Digest as _, Sha256};

use super::ReadAt;
use crate::profile::HtlHash;

/// The head-tail-length hash of `source`, which is `length` bytes long.
#[must_use]
pub fn htl_hash<S: ReadAt + ?Sized>(source: &S, length: u64) -> Option<HtlHash> {
    let part = length.min(4096);
    let mut bytes = [0; 4096];
    let bytes = bytes.get_mut(..usize::try_from(part).ok()?)?;
    let mut hash = Sha256::new();
    for at in [0, length - part] {
        source.read(at, bytes).then(|| hash.update(&*bytes))?;
    }
    hash.update(length.to_be_bytes());
    hash.finalize().first_chunk().copied().map(HtlHash)
}

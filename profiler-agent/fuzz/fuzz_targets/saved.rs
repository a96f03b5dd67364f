//! What the fuzz targets of saved profiles have in common.

use profiler_agent::export::{ReadLimits, pprof, read_saved};

/// Small enough that a run meets them.
const LIMITS: ReadLimits = ReadLimits {
    bytes: 1 << 20,
    entries: 10_000,
    elements: 100_000,
};

/// Reads the bytes as a saved profile, behind a beginning that makes them one of a format: a profile within the limits, whose
/// every index leads somewhere, or an error.
pub(crate) fn read_behind(beginning: &[u8], input: &[u8]) {
    let file = [beginning, input].concat();
    if let Ok(saved) = read_saved(&file, &LIMITS) {
        pprof::encode(&saved.profile).expect("what was read can be written");
    }
}

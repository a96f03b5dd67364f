//! The vDSO: code that the kernel maps into every process. All 64-bit processes of a host have the
//! same image, so the agent's own is read, once.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use super::maps;

/// Its name where mappings are listed.
pub const NAME: &[u8] = b"[vdso]";

/// The longest image that is taken; real ones have two to four pages.
const MAX_BYTES: u64 = 1 << 20;

/// The image that the kernel mapped into the agent; `None` when there is none.
#[must_use]
pub fn image() -> Option<Box<[u8]>> {
    let mut listing = Vec::new();
    File::open("/proc/self/maps")
        .ok()?
        .read_to_end(&mut listing)
        .ok()?;
    let line = listing
        .split(|byte| *byte == b'\n')
        .filter_map(maps::executable)
        .find(|line| *line.path == *NAME)?;
    let length = line.range.end.0.checked_sub(line.range.start.0)?;
    if length > MAX_BYTES {
        return None;
    }
    let mut image = vec![0; usize::try_from(length).ok()?].into_boxed_slice();
    File::open("/proc/self/mem")
        .ok()?
        .read_exact_at(&mut image, line.range.start.0)
        .ok()?;
    Some(image)
}

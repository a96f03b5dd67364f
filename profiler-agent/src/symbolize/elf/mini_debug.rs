//! `.gnu_debugdata`: an ELF file with the symbol table that a stripped file lacks, compressed with xz
//! (gdb, "MiniDebugInfo").

use std::io::Read as _;

use lzma_rust2::XzReader;

use super::image::ElfImage;

/// Bytes that it may have when decompressed.
const MAX_BYTES: u64 = 16 << 20;
/// Memory that its decompression may take, in KiB.
const MAX_MEMORY: u32 = 16 << 10;

/// The decompressed file; `None` when there is none, or it is malformed or too large.
pub(super) fn read(image: &ElfImage<'_>) -> Option<Box<[u8]>> {
    let stored = image.section(".gnu_debugdata")?.into_stored();
    // What is stored may be any number of blocks that hold nothing.
    if stored.len() as u64 > MAX_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    XzReader::new_mem_limit(stored, false, MAX_MEMORY)
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    (bytes.len() as u64 <= MAX_BYTES).then(|| bytes.into())
}

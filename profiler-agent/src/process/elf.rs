//! The little that is read of an ELF file when it is first seen: executable segments and the GNU
//! build id. Pure over a [`ReadAt`], bounded, total over any bytes. Little-endian files of both
//! classes (System V ABI, `elf(5)`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use crate::profile::{BuildId, ElfAddress, FileOffset, HtlHash, Segment};

/// Bytes that can be read at a position.
pub trait ReadAt {
    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// When there are fewer bytes, or reading fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Why a file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It does not begin as an ELF file of this machine's byte order does.
    #[error("not an ELF file")]
    NotElf,
    /// A header that it announces is not there.
    #[error("malformed ELF file: {0}")]
    Malformed(&'static str),
}

/// What an ELF file says about its code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfSummary {
    /// Its GNU build id.
    pub build_id: Option<BuildId>,
    /// Its executable segments, sorted by offset.
    pub segments: Box<[Segment]>,
    /// The segments that a program reads and cannot write, code included, in the order of the file's headers.
    pub constants: Box<[Segment]>,
}

/// Program headers that are looked at; the kernel itself takes 64 KiB of them (1,170).
const MAX_PROGRAM_HEADERS: u16 = 1_170;
/// Section headers that are looked at.
const MAX_SECTION_HEADERS: u16 = 4_096;
/// Bytes of one note segment or section that are looked at.
const MAX_NOTE_BYTES: u64 = 64 << 10;
/// Notes that are looked at in one segment or section.
const MAX_NOTES: usize = 1_024;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;
const SHT_NOTE: u32 = 7;
const NT_GNU_BUILD_ID: u32 = 3;

/// Reads the summary of `source`.
///
/// # Errors
/// When it is no ELF file, or its header or program headers are not all there. A malformed note is
/// no error: the file has no build id then.
pub fn read<S: ReadAt + ?Sized>(source: &S) -> Result<ElfSummary, ElfError> {
    let mut ident = [0; 16];
    source
        .read_at(&mut ident, 0)
        .map_err(|_| ElfError::NotElf)?;
    if ident[..4] != *b"\x7fELF" || ident[5] != 1 {
        return Err(ElfError::NotElf);
    }
    let class = match ident[4] {
        1 => &CLASS_32,
        2 => &CLASS_64,
        _ => return Err(ElfError::NotElf),
    };
    let header = table(source, 0, class.header_bytes).ok_or(ElfError::Malformed("header"))?;
    let programs = programs(source, class, &header)?;
    let loaded = |mask: u32, flags: u32| -> Vec<Segment> {
        let programs = programs.iter().filter(|program| program.kind == PT_LOAD);
        let programs = programs.filter(|program| program.flags & mask == flags);
        let segments = programs.map(|program| Segment {
            offset: FileOffset(program.offset),
            address: ElfAddress(program.address),
            length: program.length,
        });
        segments.collect()
    };
    let mut segments = loaded(PF_X, PF_X);
    segments.sort_by_key(|segment| segment.offset);
    let build_id = programs
        .iter()
        .filter(|program| program.kind == PT_NOTE)
        .find_map(|program| build_id_at(source, program.offset, program.length, program.align))
        .or_else(|| build_id_of_sections(source, class, &header));
    Ok(ElfSummary {
        build_id,
        segments: segments.into(),
        constants: loaded(PF_R | PF_W, PF_R).into(),
    })
}

/// The head-tail-length hash of `source`, which is `length` bytes long.
#[must_use]
pub fn htl_hash<S: ReadAt + ?Sized>(source: &S, length: u64) -> Option<HtlHash> {
    let part = length.min(4096);
    let mut bytes = [0; 4096];
    let bytes = bytes.get_mut(..usize::try_from(part).ok()?)?;
    let mut hash = Sha256::new();
    source.read_at(bytes, 0).ok()?;
    hash.update(&*bytes);
    source.read_at(bytes, length - part).ok()?;
    hash.update(&*bytes);
    hash.update(length.to_be_bytes());
    hash.finalize().first_chunk().copied().map(HtlHash)
}

/// Where the fields are, by class: offsets within the structures of `elf(5)`.
struct Class {
    wide: bool,
    header_bytes: usize,
    program_table: usize,
    section_table: usize,
    /// Of `e_phentsize`; `e_phnum`, `e_shentsize` and `e_shnum` follow it.
    counts: usize,
    program_bytes: u16,
    program: ProgramFields,
    section_bytes: u16,
    section_offset: usize,
    section_length: usize,
    section_align: usize,
}

struct ProgramFields {
    flags: usize,
    offset: usize,
    address: usize,
    length: usize,
    align: usize,
}

const CLASS_32: Class = Class {
    wide: false,
    header_bytes: 52,
    program_table: 28,
    section_table: 32,
    counts: 42,
    program_bytes: 32,
    program: ProgramFields {
        flags: 24,
        offset: 4,
        address: 8,
        length: 16,
        align: 28,
    },
    section_bytes: 40,
    section_offset: 16,
    section_length: 20,
    section_align: 32,
};

const CLASS_64: Class = Class {
    wide: true,
    header_bytes: 64,
    program_table: 32,
    section_table: 40,
    counts: 54,
    program_bytes: 56,
    program: ProgramFields {
        flags: 4,
        offset: 8,
        address: 16,
        length: 32,
        align: 48,
    },
    section_bytes: 64,
    section_offset: 24,
    section_length: 32,
    section_align: 48,
};

impl Class {
    /// The address-sized field at `at`.
    fn word(&self, bytes: &[u8], at: usize) -> Option<u64> {
        if self.wide {
            bytes
                .get(at..)?
                .first_chunk()
                .copied()
                .map(u64::from_le_bytes)
        } else {
            u32_at(bytes, at).map(u64::from)
        }
    }
}

struct Program {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    length: u64,
    align: u64,
}

fn programs<S: ReadAt + ?Sized>(
    source: &S,
    class: &Class,
    header: &[u8],
) -> Result<Vec<Program>, ElfError> {
    const MISSING: ElfError = ElfError::Malformed("program headers");
    let start = class.word(header, class.program_table).ok_or(MISSING)?;
    let size = u16_at(header, class.counts).ok_or(MISSING)?;
    let count = u16_at(header, class.counts + 2).ok_or(MISSING)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    if size != class.program_bytes {
        return Err(ElfError::Malformed("size of a program header"));
    }
    let count = count.min(MAX_PROGRAM_HEADERS);
    let bytes = table(source, start, usize::from(size) * usize::from(count)).ok_or(MISSING)?;
    let fields = &class.program;
    Ok(bytes
        .chunks_exact(usize::from(size))
        .filter_map(|entry| {
            Some(Program {
                kind: u32_at(entry, 0)?,
                flags: u32_at(entry, fields.flags)?,
                offset: class.word(entry, fields.offset)?,
                address: class.word(entry, fields.address)?,
                length: class.word(entry, fields.length)?,
                align: class.word(entry, fields.align)?,
            })
        })
        .collect())
}

/// For files that have a build id but no note segment (some linker scripts drop it).
fn build_id_of_sections<S: ReadAt + ?Sized>(
    source: &S,
    class: &Class,
    header: &[u8],
) -> Option<BuildId> {
    let start = class.word(header, class.section_table)?;
    let size = u16_at(header, class.counts + 4)?;
    let count = u16_at(header, class.counts + 6)?.min(MAX_SECTION_HEADERS);
    if start == 0 || count == 0 || size != class.section_bytes {
        return None;
    }
    let bytes = table(source, start, usize::from(size) * usize::from(count))?;
    bytes
        .chunks_exact(usize::from(size))
        .filter(|entry| u32_at(entry, 4) == Some(SHT_NOTE))
        .find_map(|entry| {
            build_id_at(
                source,
                class.word(entry, class.section_offset)?,
                class.word(entry, class.section_length)?,
                class.word(entry, class.section_align)?,
            )
        })
}

fn build_id_at<S: ReadAt + ?Sized>(
    source: &S,
    offset: u64,
    length: u64,
    align: u64,
) -> Option<BuildId> {
    let length = usize::try_from(length.min(MAX_NOTE_BYTES)).ok()?;
    build_id_of_notes(&table(source, offset, length)?, align)
}

/// The GNU build id among notes: `namesz`, `descsz`, `type` (u32 each), then name and description,
/// each padded to `align` (8 for a few, else 4).
fn build_id_of_notes(notes: &[u8], align: u64) -> Option<BuildId> {
    let align = if align == 8 { 8 } else { 4 };
    let mut rest = notes;
    for _ in 0..MAX_NOTES {
        let name_bytes = usize::try_from(u32_at(rest, 0)?).ok()?;
        let description_bytes = usize::try_from(u32_at(rest, 4)?).ok()?;
        let kind = u32_at(rest, 8)?;
        let name_end = 12_usize.checked_add(name_bytes)?;
        let description = name_end.checked_next_multiple_of(align)?;
        let end = description.checked_add(description_bytes)?;
        if kind == NT_GNU_BUILD_ID && rest.get(12..name_end)? == b"GNU\0" {
            return BuildId::new(rest.get(description..end)?);
        }
        rest = rest.get(end.checked_next_multiple_of(align)?..)?;
    }
    None
}

/// `length` bytes of `source` at `offset`; every caller bounds `length`.
fn table<S: ReadAt + ?Sized>(source: &S, offset: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    source.read_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests;

//! The frame description entries (FDEs) of a section, found and parsed one by one.
//!
//! Entries are found by walking the section's length fields, not by a parser that stops at the
//! first mistake: an entry that cannot be parsed costs that entry only, and a zero length
//! in the middle of a section (objects linked after `crtend.o`) does not end it.

use gimli::{
    BaseAddresses, CommonInformationEntry, DebugFrame, EhFrame, EhFrameHdr, EndianSlice,
    FrameDescriptionEntry, LittleEndian, Pointer, UnwindOffset, UnwindSection,
};

use super::absent::{Absent, TooLarge};
use super::elf::{Machine, Placed};

/// Reads a section's bytes.
pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Work per byte of a section. An entry costs its own length and that of its CIE, whose
/// instructions are evaluated again for each of its entries: about 2 in files of compilers.
const WORK_PER_BYTE: u64 = 16;
/// Work that every section may cost.
const WORK_AT_LEAST: u64 = 1 << 20;

/// Where a rule comes from; of two for the same address the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Signal trampolines that were found by their instructions.
    Trampoline,
    /// Go's line table.
    Go,
    /// `.eh_frame`.
    Exception,
    /// `.debug_frame`.
    Debug,
    /// Procedure linkage tables, and what instructions say.
    Linkage,
}

/// Where an entry is and where its function starts. Ordered by start; of entries with the same
/// start the first is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// First address, from the start of the table on.
    pub(super) start: u32,
    /// Origin in the three high bits; below the offset in its section, or the number of its
    /// supplement or of its Go function: 8 bytes an entry, because large files have hundreds of thousands.
    place: u32,
}

impl Entry {
    const OFFSET_BITS: u32 = 29;

    /// An entry; `None` when its section is too large.
    pub(super) fn new(start: u32, origin: Origin, offset: usize) -> Option<Self> {
        let offset = u32::try_from(offset).ok()?;
        (offset >> Self::OFFSET_BITS == 0).then_some(Self {
            start,
            place: (origin as u32) << Self::OFFSET_BITS | offset,
        })
    }
    pub(super) const fn origin(self) -> Origin {
        match self.place >> Self::OFFSET_BITS {
            0 => Origin::Trampoline,
            1 => Origin::Go,
            2 => Origin::Exception,
            3 => Origin::Debug,
            _ => Origin::Linkage,
        }
    }
    pub(super) const fn offset(self) -> usize {
        (self.place & ((1 << Self::OFFSET_BITS) - 1)) as usize
    }
}

/// A section, the last CIE that was parsed (neighbours mostly share theirs), and how much work
/// is left.
pub(super) struct Frames<'a, S> {
    pub(super) section: S,
    pub(super) bases: BaseAddresses,
    bytes: &'a [u8],
    cie: Option<(usize, CommonInformationEntry<Bytes<'a>>)>,
    work: u64,
}

impl<'a, S: UnwindSection<Bytes<'a>>> Frames<'a, S> {
    pub(super) fn new(section: S, bases: BaseAddresses, bytes: &'a [u8]) -> Self {
        Self {
            section,
            bases,
            bytes,
            cie: None,
            work: Self::allowance(bytes),
        }
    }

    fn allowance(bytes: &[u8]) -> u64 {
        WORK_AT_LEAST.max(WORK_PER_BYTE * bytes.len() as u64)
    }

    /// Another pass may cost as much as the first.
    pub(super) fn renew(&mut self) {
        self.work = Self::allowance(self.bytes);
    }

    /// The entry at `offset`; `None` when it is malformed.
    pub(super) fn entry(
        &mut self,
        offset: usize,
    ) -> Result<Option<FrameDescriptionEntry<Bytes<'a>>>, Absent> {
        let Ok(partial) = self
            .section
            .partial_fde_from_offset(&self.bases, offset.into())
        else {
            self.charge(0)?;
            return Ok(None);
        };
        let length = partial.entry_len();
        let cie_offset: usize = UnwindOffset::into(partial.cie_offset());
        let cie_length = self
            .bytes
            .get(cie_offset..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |length| u32::from_le_bytes(*length) as usize);
        let cached = &mut self.cie;
        let entry = partial.parse(|section, bases, at| {
            let offset: usize = UnwindOffset::into(at);
            if let Some((cached, cie)) = cached
                && *cached == offset
            {
                return Ok(cie.clone());
            }
            let cie = section.cie_from_offset(bases, at)?;
            *cached = Some((offset, cie.clone()));
            Ok(cie)
        });
        let work = length.saturating_add(cie_length.min(self.bytes.len()));
        self.charge(work)?;
        Ok(entry.ok())
    }

    fn charge(&mut self, work: usize) -> Result<(), Absent> {
        self.work = self
            .work
            .checked_sub(work as u64 + 8)
            .ok_or(Absent::TooLarge(TooLarge::Work))?;
        Ok(())
    }
}

/// An entry of a section, by its length field.
pub(super) struct Length {
    offset: usize,
    /// Where its id starts.
    pub(super) body: usize,
    /// Is it a CIE?
    pub(super) is_common: bool,
}

/// The entries of a section, by their length fields.
pub(super) struct Lengths<'a> {
    bytes: &'a [u8],
    at: usize,
    origin: Origin,
    /// Does a zero length end the section? Where its length is not known.
    terminated: bool,
}

impl<'a> Lengths<'a> {
    pub(super) const fn new(bytes: &'a [u8], origin: Origin, terminated: bool) -> Self {
        Self {
            bytes,
            at: 0,
            origin,
            terminated,
        }
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }
    fn u64_at(&self, at: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }
}

impl Iterator for Lengths<'_> {
    type Item = Length;

    fn next(&mut self) -> Option<Length> {
        let mut offset = self.at;
        let mut length = self.u32_at(offset)?;
        while length == 0 {
            if self.terminated {
                return None;
            }
            offset += 4;
            length = self.u32_at(offset)?;
        }
        // DWARF 5, section 7.4: 0xffffffff announces a length of 64 bits.
        let long = length == u32::MAX;
        let (body, length) = if long {
            (offset + 12, self.u64_at(offset + 4)?)
        } else {
            (offset + 4, u64::from(length))
        };
        let end = body.checked_add(usize::try_from(length).ok()?)?;
        if end > self.bytes.len() {
            return None;
        }
        self.at = end;
        let is_common = match (self.origin, long) {
            (Origin::Debug, true) => self.u64_at(body)? == u64::MAX,
            (Origin::Debug, false) => self.u32_at(body)? == u32::MAX,
            _ => self.u32_at(body)? == 0,
        };
        Some(Length {
            offset,
            body,
            is_common,
        })
    }
}

/// Offsets of the entries of a section that are no CIEs.
pub(super) fn entry_offsets(
    bytes: &[u8],
    origin: Origin,
    terminated: bool,
) -> impl Iterator<Item = usize> + '_ {
    Lengths::new(bytes, origin, terminated)
        .filter(|entry| !entry.is_common)
        .map(|entry| entry.offset)
}

/// Address of `.eh_frame`, as `.eh_frame_hdr` states it.
pub(super) fn eh_frame_address(header: &Placed<'_>) -> Option<u64> {
    parse_header(header, None)
        .ok()
        .and_then(|parsed| parsed.eh_frame_ptr().direct().ok())
}

fn header_bases(header: &Placed<'_>, eh_frame: Option<u64>) -> BaseAddresses {
    let bases = BaseAddresses::default().set_eh_frame_hdr(header.address);
    match eh_frame {
        Some(address) => bases.set_eh_frame(address),
        None => bases,
    }
}

fn parse_header<'a>(
    header: &'a Placed<'_>,
    eh_frame: Option<u64>,
) -> gimli::Result<gimli::ParsedEhFrameHdr<Bytes<'a>>> {
    EhFrameHdr::new(&header.bytes, LittleEndian).parse(&header_bases(header, eh_frame), 8)
}

/// Offsets of entries by the search table of `.eh_frame_hdr`: for files whose section headers are
/// gone, where nothing states the length of `.eh_frame`. Empty when there is no table.
pub(super) fn offsets_by_header(header: &Placed<'_>, eh_frame: &Placed<'_>) -> Vec<usize> {
    let bases = header_bases(header, Some(eh_frame.address));
    let Ok(parsed) = parse_header(header, Some(eh_frame.address)) else {
        return Vec::new();
    };
    let Some(table) = parsed.table() else {
        return Vec::new();
    };
    let mut offsets = Vec::new();
    let mut rows = table.iter(&bases);
    while let Ok(Some((_, pointer))) = rows.next() {
        if let Pointer::Direct(address) = pointer
            && let Some(offset) = address.checked_sub(eh_frame.address)
            && let Ok(offset) = usize::try_from(offset)
            && offset < eh_frame.bytes.len()
        {
            offsets.push(offset);
        }
    }
    offsets
}

/// The frames of `.eh_frame`, in a file for `machine`.
pub(super) fn exception_frames<'a>(
    section: &'a Placed<'_>,
    machine: Machine,
    text: Option<u64>,
) -> Frames<'a, EhFrame<Bytes<'a>>> {
    let mut frames = EhFrame::new(&section.bytes, LittleEndian);
    frames.set_address_size(8);
    frames.set_vendor(machine.vendor());
    let mut bases = BaseAddresses::default().set_eh_frame(section.address);
    if let Some(text) = text {
        bases = bases.set_text(text);
    }
    Frames::new(frames, bases, &section.bytes)
}

/// The frames of `.debug_frame`, in a file for `machine`.
pub(super) fn debug_frames<'a>(
    section: &'a Placed<'_>,
    machine: Machine,
) -> Frames<'a, DebugFrame<Bytes<'a>>> {
    let mut frames = DebugFrame::new(&section.bytes, LittleEndian);
    frames.set_address_size(8);
    frames.set_vendor(machine.vendor());
    Frames::new(frames, BaseAddresses::default(), &section.bytes)
}

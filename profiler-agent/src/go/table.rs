//! The line table: its functions in address order, and the one at an address.

use super::build_info;
use super::elf::{Image, Part};
use super::find;
use super::function::{Function, text};
use super::header::{Format, Header};
use super::malformed::Refusal;
use super::module_data::ModuleData;
use super::version::Version;
use crate::elf::ReadAt as _;
use crate::profile::ElfAddress;

/// Places that are looked at: what looks like a table and is none is rare.
const MAX_CANDIDATES: usize = 16;

/// Where a file's line table is and how it is read: what finding it costs is paid once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) address: u64,
    pub(super) text: u64,
    /// Where funcdata starts in the file, and how many bytes there are.
    pub(super) funcdata: Option<(usize, usize)>,
    pub(super) wrapper: u8,
    /// The version that the program was built with, where the file says it.
    pub version: Option<Version>,
}

/// A file's line table.
#[derive(Clone, Copy, Debug)]
pub struct LineTable<'data> {
    pub(super) image: Image<'data>,
    pub(super) layout: Layout,
    pub(super) header: Header,
    pub(super) names: &'data [u8],
    pub(super) units: &'data [u8],
    pub(super) files: &'data [u8],
    pub(super) pctab: &'data [u8],
    /// From ftab on: the records' offsets count from there.
    pub(super) ftab: &'data [u8],
    pub(super) funcdata: Option<&'data [u8]>,
}

impl<'data> LineTable<'data> {
    /// Finds the line table of the file in `data`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(data: &'data [u8]) -> Result<Self, Refusal> {
        let image = Image::parse(data).ok_or(Refusal::NotElf)?;
        let mut best = Err(Refusal::Absent);
        for part in find::candidates(&image).take(MAX_CANDIDATES) {
            match Self::read(&image, part) {
                // A program may have another one among its data; moduledata tells which one is its own.
                Ok((table, true)) => return Ok(table),
                Ok((table, false)) if best.is_err() => best = Ok(table),
                Err(refusal) if matches!(best, Err(Refusal::Absent)) => best = Err(refusal),
                _ => {}
            }
        }
        best
    }

    /// The table there, and whether moduledata knows it.
    fn read(image: &Image<'data>, part: Part<'data>) -> Result<(Self, bool), Refusal> {
        let header = Header::parse(part.bytes)?;
        let module = ModuleData::find(image, &part, &header);
        let text = match (&module, header.text) {
            (Some(module), _) => module.text,
            (None, Some(place)) => image.pointer(part.address.wrapping_add(place as u64)),
            (None, None) => 0,
        };
        let mut layout = Layout {
            offset: part.offset,
            length: part.bytes.len(),
            address: part.address,
            text,
            funcdata: None,
            wrapper: 0,
            version: build_info::version(image),
        };
        let table = Self::with(image.data, layout).ok_or(Refusal::Header)?;
        table.check_text()?;
        layout.wrapper = table.wrapper_id();
        let table = Self::with(image.data, layout).ok_or(Refusal::Header)?;
        layout.funcdata = module.as_ref().and_then(|module| module.funcdata(&table));
        let table = Self::with(image.data, layout).ok_or(Refusal::Header)?;
        Ok((table, module.is_some()))
    }

    /// The line table of a file whose table was found before; `None` when the file is another.
    #[must_use]
    pub fn with(data: &'data [u8], layout: Layout) -> Option<Self> {
        let image = Image::parse(data)?;
        let bytes = data.get(layout.offset..)?.get(..layout.length)?;
        let header = Header::parse(bytes).ok()?;
        Some(Self {
            image,
            layout,
            header,
            names: &bytes[header.names..],
            units: &bytes[header.units..],
            files: &bytes[header.files..],
            pctab: &bytes[header.pctab..],
            ftab: &bytes[header.ftab..],
            funcdata: layout
                .funcdata
                .and_then(|(offset, length)| data.get(offset..)?.get(..length)),
        })
    }

    /// Where it is and how it is read.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Number of functions.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.header.functions
    }

    /// Is there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first function's address.
    #[must_use]
    pub fn start(&self) -> ElfAddress {
        ElfAddress(self.entry(0).unwrap_or(0))
    }

    /// The first address behind the last function.
    #[must_use]
    pub fn end(&self) -> ElfAddress {
        ElfAddress(self.entry(self.len()).unwrap_or(0))
    }

    /// Can inlined calls be read? Not where a new version moved them out of sight.
    #[must_use]
    pub const fn has_inline_trees(&self) -> bool {
        matches!(self.header.format, Format::Go116) || self.funcdata.is_some()
    }

    /// The function at an index in address order; `None` behind the last and where it is malformed.
    #[must_use]
    pub fn function(&self, index: usize) -> Option<Function<'data>> {
        if index >= self.len() {
            return None;
        }
        let entry = self.entry(index)?;
        let end = self.entry(index + 1)?;
        let place = (index * self.header.format.entry_size()) as u64;
        let record = match self.header.format {
            Format::Go116 => usize::try_from(self.ftab.word(place + 8)?).ok()?,
            Format::Go118 | Format::Go120 => self.ftab.half_word(place + 4)? as usize,
        };
        let bytes = self.ftab.get(record..)?;
        (entry < end && !bytes.is_empty()).then(|| Function {
            table: *self,
            entry,
            end,
            record: bytes,
            address: self
                .layout
                .address
                .wrapping_add((self.header.ftab + record) as u64),
        })
    }

    /// Every function in address order. Those that are malformed, that start before the one before has
    /// ended, or that are not within the text are left out.
    pub fn functions(&self) -> impl Iterator<Item = Function<'data>> + '_ {
        let (mut ended, limit) = (self.start().0, self.end().0);
        (0..self.len()).filter_map(move |index| {
            let function = self.function(index)?;
            let in_order = function.entry >= ended && function.end <= limit;
            if in_order {
                ended = function.end;
            }
            in_order.then_some(function)
        })
    }

    /// The function at `address`; like the runtime's, up to where the next one starts.
    #[must_use]
    pub fn lookup(&self, address: ElfAddress) -> Option<Function<'data>> {
        if address < self.start() || self.end() <= address {
            return None;
        }
        let (mut low, mut high) = (0, self.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.entry(middle)? <= address.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        let function = self.function(low)?;
        (function.entry <= address.0 && address.0 < function.end).then_some(function)
    }

    /// The name at an offset.
    pub(super) fn name(&self, offset: i32) -> Option<&'data [u8]> {
        let name = text(self.names, usize::try_from(offset).ok()?)?;
        (!name.is_empty()).then_some(name)
    }

    /// Does a name start at this offset?
    pub(super) fn is_name(&self, offset: i32) -> bool {
        let before = offset.checked_sub(1).map(usize::try_from);
        let starts = match before {
            Some(Ok(before)) => self.names.get(before) == Some(&0),
            _ => offset == 0,
        };
        starts && self.name(offset).is_some()
    }

    fn entry(&self, index: usize) -> Option<u64> {
        let place = index.checked_mul(self.header.format.entry_size())? as u64;
        match self.header.format {
            Format::Go116 => self.ftab.word(place),
            Format::Go118 | Format::Go120 => {
                let offset = self.ftab.half_word(place)?;
                Some(self.layout.text.wrapping_add(offset.into()))
            }
        }
    }

    /// The functions must lie in what is executed.
    fn check_text(&self) -> Result<(), Refusal> {
        let (start, end) = (self.start(), self.end());
        let code = self.image.at(start.0).map_or(0, |part| part.bytes.len());
        let inside = start < end && end.0 - start.0 <= code as u64;
        if inside && self.image.is_code(start.0) {
            Ok(())
        } else {
            Err(Refusal::Text)
        }
    }

    /// The function id of wrappers. It is the last of the ids in every version, and every program has
    /// wrappers; the versions whose ids are known save looking at all functions.
    fn wrapper_id(&self) -> u8 {
        match self.layout.version {
            Some(Version {
                major: 1, minor, ..
            }) if (21..=27).contains(&minor) => match minor {
                21 => 21,
                22..=24 => 22,
                _ => 23,
            },
            _ => {
                let functions = (0..self.len()).filter_map(|index| self.function(index));
                functions.map(|function| function.id()).max().unwrap_or(0)
            }
        }
    }
}

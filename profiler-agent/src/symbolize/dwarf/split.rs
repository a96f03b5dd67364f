//! Debug information that the linker left where the compiler wrote it (DWARF 5, section 7.3.2; before, GCC's "DebugFission").
//!
//! The program has a skeleton of each unit: its code, its lines, addresses, and an id. The unit itself is in a
//! `.dwo` file that the skeleton names, or in the one `.dwp` file that all of them were put into.

use gimli::{DebugInfoOffset, DwoId, EndianSlice, LittleEndian};

use super::sections::{Dwarf, SectionBytes, Sections, Slice, Unit};
use super::unit::{self, LastTable, OpenUnit};
use super::work::Work;

/// Units of a `.dwo` that are looked at: it has one, and those of types.
const MAX_UNITS: usize = 1 << 10;
/// Steps that opening a file costs.
const OPEN_STEPS: usize = 1 << 12;

/// The sections of a package.
pub(in crate::symbolize) type Package<'data> = gimli::DwarfPackageSections<SectionBytes<'data>>;

/// Where split debug information is found.
pub(in crate::symbolize) trait SplitFiles {
    /// The sections of the program's package.
    fn package(&self) -> Option<&Package<'_>>;

    /// Calls `with` with the sections of the object file at `path`, and its bytes, if it is there.
    fn object(&self, path: &str, with: &mut dyn FnMut(&Sections<'_>, &[u8]));
}

/// What a skeleton says of where its unit is.
#[derive(Clone)]
pub(super) struct Skeleton {
    pub(super) id: DwoId,
    /// Path of the object file.
    pub(super) path: String,
}

impl Skeleton {
    /// Calls `with` with the unit's own sections and the unit, if they are there.
    pub(super) fn open<'data>(
        &self,
        files: &dyn SplitFiles,
        (dwarf, unit): (&Dwarf<'data>, &Unit<'data>),
        work: &mut Work<'_, '_, '_>,
        mut with: impl FnMut(&Dwarf<'_>, OpenUnit<'_>, DebugInfoOffset, &[u8], &mut Work<'_, '_, '_>),
    ) {
        if !work.step(OPEN_STEPS) {
            return;
        }
        if let Some(package) = files.package() {
            let read = |bytes| EndianSlice::new(bytes, LittleEndian);
            let package = package.borrow(|bytes| read(bytes), read(&[]));
            if let Ok(package) = package
                && let Ok(Some(split)) = package.find_cu(self.id, dwarf)
            {
                if let Some((opened, at)) = self.unit_of(&split, unit, work) {
                    with(&split, opened, at, &[], work);
                }
                return;
            }
        }
        files.object(&self.path, &mut |sections, bytes| {
            let mut split = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
            split.make_dwo(dwarf);
            if let Some((opened, at)) = self.unit_of(&split, unit, work) {
                with(&split, opened, at, bytes, work);
            }
        });
    }

    /// The unit with this id, with what its skeleton says of it.
    fn unit_of<'split>(
        &self,
        split: &Dwarf<'split>,
        skeleton: &Unit<'split>,
        work: &mut Work<'_, '_, '_>,
    ) -> Option<(OpenUnit<'split>, DebugInfoOffset)> {
        let mut headers = split.units();
        for _ in 0..MAX_UNITS {
            let header = headers.next().ok()??;
            let at = header.debug_info_offset()?;
            let opened = unit::open(split, header, &mut LastTable::default(), work);
            if let Some(mut opened) = opened
                && opened.unit.dwo_id == Some(self.id)
            {
                opened.unit.copy_relocated_attributes(skeleton);
                return Some((opened, at));
            }
        }
        None
    }
}

/// The path of an object file: relative to the directory that the compiler ran in.
pub(super) fn path(directory: Option<Slice<'_>>, name: Slice<'_>) -> Option<String> {
    const MAX_PATH: usize = 4096;
    let text = |slice: Slice<'_>| std::str::from_utf8(slice.slice()).ok().map(str::to_owned);
    let name = text(name)?;
    let path = match directory.and_then(text) {
        Some(directory) if !name.starts_with('/') => format!("{directory}/{name}"),
        _ => name,
    };
    (path.len() <= MAX_PATH).then_some(path)
}

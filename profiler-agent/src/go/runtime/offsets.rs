//! Offsets in `runtime.g`, `runtime.m` and `runtime.gobuf` (`runtime/runtime2.go`).

use std::borrow::Cow;
use std::convert::Infallible;

use gimli::{AttributeValue, DwarfSections, EndianSlice, LittleEndian, Reader as _};
use profiler_common::layout::GoRuntime;

use super::{NEWEST, abbreviations};
use crate::elf::{ElfFile, SectionsOf};
use crate::go::Version;

/// Most bytes of a section that are looked at: the runtime's package comes among the first.
const MAX_SECTION: u64 = 32 << 20;
/// Most entries of debug information that are looked at.
const MAX_ENTRIES: usize = 2_000_000;

/// Attributes of an entry that cost as much as an entry.
const ATTRIBUTES: usize = 16;

/// Where offsets are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file's own debug information.
    DebugInformation,
    /// The table of versions.
    Version,
    /// The newest version in the table, because the file's own is newer or not known.
    NewestVersion,
}

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// The offsets for the executable in `data`.
pub(super) fn find(data: &[u8], version: Option<Version>) -> (GoRuntime, Origin) {
    let (mut offsets, origin) = match version {
        Some(version) if version.major == 1 && version.minor <= NEWEST.minor => {
            (of_version(version), Origin::Version)
        }
        _ => (of_version(NEWEST), Origin::NewestVersion),
    };
    match from_debug_information(data) {
        Some(found) => {
            offsets = GoRuntime {
                labels: offsets.labels,
                ..found
            };
            (offsets, Origin::DebugInformation)
        }
        None => (offsets, origin),
    }
}

/// The offsets of a released version. Read off the DWARF of programs that the toolchains built; up to
/// 1.20 from `runtime2.go`, where the fields for the vDSO are left out.
fn of_version(version: Version) -> GoRuntime {
    const SCHED: u16 = 56;
    let minor = version.minor;
    let gobuf_bp = if minor >= 25 { 40 } else { 48 };
    let goid = if matches!(minor, 23 | 24) { 160 } else { 152 };
    let labels = match minor {
        17..=20 => 360,
        23 | 24 | 26.. => 352,
        _ => 344,
    };
    let vdso_sp = match minor {
        0..=20 => 0,
        21 => 808,
        22 => 1120,
        23 => 856,
        24 => 904,
        25.. => 896,
    };
    GoRuntime {
        g_m: 48,
        g_stack_hi: 8,
        g_sched_sp: SCHED,
        g_sched_pc: SCHED + 8,
        g_sched_bp: SCHED + gobuf_bp,
        g_sched_lr: SCHED + gobuf_bp - 8,
        g_goid: goid,
        g_labels: labels,
        m_curg: if minor >= 25 { 184 } else { 192 },
        m_vdso_sp: vdso_sp,
        m_vdso_pc: if vdso_sp == 0 { 0 } else { vdso_sp + 8 },
        labels: if minor >= 24 {
            GoRuntime::LABELS_SLICE
        } else {
            GoRuntime::LABELS_MAP
        },
        ..GoRuntime::default()
    }
}

/// The structures as far as they were found.
#[derive(Default)]
struct Found {
    g: Option<[u16; 5]>,
    m: Option<[u16; 4]>,
    gobuf: Option<[u16; 4]>,
}

const G: [&str; 5] = ["stack", "m", "sched", "goid", "labels"];
const M: [&str; 4] = ["g0", "curg", "vdsoSP", "vdsoPC"];
const GOBUF: [&str; 4] = ["sp", "pc", "bp", "lr"];

impl Found {
    fn offsets(&self) -> Option<GoRuntime> {
        let [stack, m, sched, goid, labels] = self.g?;
        let [g0, curg, vdso_sp, vdso_pc] = self.m?;
        let [sp, pc, bp, lr] = self.gobuf?;
        // The kernel side takes these two for granted.
        if stack != 0 || g0 != 0 {
            return None;
        }
        Some(GoRuntime {
            g_m: m,
            g_stack_hi: 8,
            g_sched_sp: sched.checked_add(sp)?,
            g_sched_pc: sched.checked_add(pc)?,
            g_sched_bp: sched.checked_add(bp)?,
            g_sched_lr: sched.checked_add(lr)?,
            g_goid: goid,
            g_labels: labels,
            m_curg: curg,
            m_vdso_sp: vdso_sp,
            m_vdso_pc: vdso_pc,
            ..GoRuntime::default()
        })
    }
}

fn from_debug_information(data: &[u8]) -> Option<GoRuntime> {
    let file = ElfFile::parse_64(data)?.sections()?;
    let sections = DwarfSections::load(|id| {
        let wanted = matches!(
            id,
            gimli::SectionId::DebugInfo
                | gimli::SectionId::DebugAbbrev
                | gimli::SectionId::DebugStr
        );
        let bytes = wanted.then(|| section(&file, id.name())).flatten();
        Ok::<_, gimli::Error>(bytes.unwrap_or_default())
    })
    .ok()?;
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let mut found = Found::default();
    let mut entries = 0;
    let mut units = dwarf.units();
    // What was cut off at the end is an error of the last unit: what was found before it counts.
    while let Ok(Some(header)) = units.next() {
        read_unit(&dwarf, &header, &mut found, &mut entries);
        if let Some(offsets) = found.offsets() {
            return Some(offsets);
        }
        if entries >= MAX_ENTRIES {
            return None;
        }
    }
    None
}

fn read_unit(
    dwarf: &gimli::Dwarf<Bytes<'_>>,
    header: &gimli::UnitHeader<Bytes<'_>>,
    found: &mut Found,
    entries: &mut usize,
) -> Option<Infallible> {
    let mut table = *gimli::Section::reader(&dwarf.debug_abbrev);
    table.skip(header.debug_abbrev_offset().0).ok()?;
    *entries += 1 + abbreviations::cost(table, MAX_ENTRIES).unwrap_or(MAX_ENTRIES);
    if *entries >= MAX_ENTRIES {
        return None;
    }
    let abbreviations = header.abbreviations(&dwarf.debug_abbrev).ok()?;
    let mut cursor = header.entries(&abbreviations);
    let mut current: Option<(Structure, isize)> = None;
    loop {
        let next = cursor.next_dfs();
        if let (Ok(None) | Err(_), Some((structure, _))) = (&next, &current) {
            structure.store(found);
        }
        let entry = next.ok()??;
        let depth = entry.depth();
        *entries += 1 + entry.attrs().len() / ATTRIBUTES;
        if *entries >= MAX_ENTRIES {
            return None;
        }
        if let Some((structure, outer)) = &mut current {
            if depth == *outer + 1 {
                if entry.tag() == gimli::DW_TAG_member {
                    structure.member(dwarf, entry);
                }
                continue;
            }
            if depth > *outer {
                continue;
            }
            structure.store(found);
            current = None;
        }
        if entry.tag() == gimli::DW_TAG_structure_type {
            let name = name(dwarf, entry);
            current = name
                .and_then(Structure::named)
                .map(|structure| (structure, depth));
        }
    }
}

/// A structure that is being read.
struct Structure {
    kind: Kind,
    offsets: [Option<u16>; 5],
}

#[derive(Clone, Copy)]
enum Kind {
    G,
    M,
    Gobuf,
}

impl Structure {
    fn named(name: &[u8]) -> Option<Self> {
        let kind = match name {
            b"runtime.g" => Kind::G,
            b"runtime.m" => Kind::M,
            b"runtime.gobuf" => Kind::Gobuf,
            _ => return None,
        };
        Some(Self {
            kind,
            offsets: [None; 5],
        })
    }

    fn fields(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::G => &G,
            Kind::M => &M,
            Kind::Gobuf => &GOBUF,
        }
    }

    fn member<'a>(&mut self, dwarf: &gimli::Dwarf<Bytes<'a>>, entry: &Entry<'a>) {
        let Some(name) = name(dwarf, entry) else {
            return;
        };
        let fields = self.fields();
        let Some(index) = fields.iter().position(|field| field.as_bytes() == name) else {
            return;
        };
        let offset = entry.attr_value(gimli::DW_AT_data_member_location);
        self.offsets[index] = offset
            .and_then(|value| value.udata_value())
            .and_then(|value| u16::try_from(value).ok());
    }

    /// Keeps what was read, where all of it is there.
    fn store(&self, found: &mut Found) {
        match self.kind {
            Kind::G => found.g = found.g.or_else(|| all(&self.offsets)),
            Kind::M => found.m = found.m.or_else(|| all(&self.offsets)),
            Kind::Gobuf => found.gobuf = found.gobuf.or_else(|| all(&self.offsets)),
        }
    }
}

fn all<const N: usize>(offsets: &[Option<u16>; 5]) -> Option<[u16; N]> {
    let mut whole = [0; N];
    for (place, offset) in whole.iter_mut().zip(offsets) {
        *place = (*offset)?;
    }
    Some(whole)
}

type Entry<'a> = gimli::DebuggingInformationEntry<Bytes<'a>>;

fn name<'a>(dwarf: &gimli::Dwarf<Bytes<'a>>, entry: &Entry<'a>) -> Option<&'a [u8]> {
    // The two forms that Go's linker uses, up to DWARF 5.
    let name = match entry.attr_value(gimli::DW_AT_name)? {
        AttributeValue::String(name) => name,
        AttributeValue::DebugStrRef(offset) => dwarf.debug_str.get_str(offset).ok()?,
        _ => return None,
    };
    Some(name.slice())
}

/// The bytes of a section, up to [`MAX_SECTION`] of them, decompressed.
fn section<'data>(sections: &SectionsOf<'data, [u8]>, name: &str) -> Option<Cow<'data, [u8]>> {
    let content = sections.content(&sections.stored(name)?)?;
    content.beginning(MAX_SECTION)
}

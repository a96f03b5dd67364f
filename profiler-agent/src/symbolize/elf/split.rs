//! Files with the debug information of units of which a program has skeletons.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use gimli::SectionId;

use super::image::ElfImage;
use crate::confine;
use crate::elf::MappedFile;
use crate::profile::Executable;
use crate::symbolize::dwarf::{Package, SectionBytes, Sections, SplitFiles};

/// The package beside a program, mapped: `program.dwp`.
pub(super) fn package_of(executable: &Executable) -> Option<MappedFile> {
    let path = executable.path.strip_suffix(" (deleted)");
    let path = format!("{}.dwp", path.unwrap_or(&executable.path));
    MappedFile::new(&open(executable, &path)?).ok()
}

/// Files with a program's split debug information.
pub(super) struct Split<'data> {
    executable: &'data Executable,
    package: Option<Package<'data>>,
    /// Bytes of a section that are decompressed, and of a file that are mapped.
    limits: (u64, u64),
}

impl<'data> Split<'data> {
    /// Those of a program whose package is `package`; limits as for debug information in general.
    pub(super) fn new(
        executable: &'data Executable,
        package: Option<&'data [u8]>,
        (mapped, decompressed): (u64, u64),
    ) -> Self {
        let package = package
            .filter(|package| package.len() as u64 <= mapped)
            .and_then(ElfImage::parse)
            .and_then(|image| Package::load(|id| section(&image, id, decompressed)).ok());
        Self {
            executable,
            package,
            limits: (decompressed, mapped),
        }
    }
}

impl SplitFiles for Split<'_> {
    fn package(&self) -> Option<&Package<'_>> {
        self.package.as_ref()
    }

    fn object(&self, path: &str, with: &mut dyn FnMut(&Sections<'_>, &[u8])) {
        let file = open(self.executable, path);
        let Some(mapped) = file.and_then(|file| MappedFile::new(&file).ok()) else {
            return;
        };
        if mapped.len() as u64 > self.limits.1 {
            return;
        }
        let Some(image) = ElfImage::parse(&mapped) else {
            return;
        };
        if let Ok(sections) = Sections::load(|id| section(&image, id, self.limits.0)) {
            with(&sections, &mapped);
        }
    }
}

/// A section that split files have; empty where this one has not.
fn section<'data>(
    image: &ElfImage<'data>,
    id: SectionId,
    limit: u64,
) -> Result<SectionBytes<'data>, gimli::Error> {
    /// Lines are the skeleton's; of types, macros and places of variables nothing is read.
    const NEEDED: [SectionId; 7] = [
        SectionId::DebugCuIndex,
        SectionId::DebugAbbrev,
        SectionId::DebugInfo,
        SectionId::DebugRngLists,
        SectionId::DebugStr,
        SectionId::DebugStrOffsets,
        SectionId::DebugTuIndex,
    ];
    let name = id.dwo_name().filter(|_| NEEDED.contains(&id));
    Ok(match name.and_then(|name| image.section(name)) {
        None => SectionBytes::Mapped(&[]),
        Some(section) if !section.is_compressed() => SectionBytes::Mapped(section.into_stored()),
        Some(section) => SectionBytes::Kept(section.decompress(limit).unwrap_or_default().into()),
    })
}

/// Opens the file at `path` as the program's process would.
fn open(executable: &Executable, path: &str) -> Option<File> {
    let own: OwnedFd;
    let root = match &executable.root {
        Some(root) => root.as_fd(),
        None => {
            own = confine::own_root().ok()?;
            own.as_fd()
        }
    };
    let path = Path::new(path.strip_prefix('/')?);
    Some(confine::open_in_root(root, path).ok()?.file)
}

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
    /// Bytes of a file's sections that are decompressed, and of a file that are mapped.
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
            .and_then(|image| {
                let mut left = decompressed;
                Package::load(|id| section(&image, id, &mut left)).ok()
            });
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
        let mut left = self.limits.0;
        if let Ok(sections) = Sections::load(|id| section(&image, id, &mut left)) {
            with(&sections, &mapped);
        }
    }
}

/// A section that split files have; empty where this one has not, and where it takes more than is `left` of what may be
/// decompressed.
fn section<'data>(
    image: &ElfImage<'data>,
    id: SectionId,
    left: &mut u64,
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
        Some(section) => {
            let bytes = section.decompress(*left).unwrap_or_default();
            *left = left.saturating_sub(bytes.len() as u64);
            SectionBytes::Kept(bytes.into())
        }
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LENGTH: usize = 10_000;

    /// A file with these sections, each of which decompresses to [`LENGTH`] bytes.
    fn file(names: &[&str]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[7; LENGTH]).unwrap();
        let stream = encoder.finish().unwrap();
        // ELFCOMPRESS_ZLIB, the size, the alignment.
        let header = [1, LENGTH as u64, 1].map(u64::to_le_bytes).concat();
        let content = [header, stream].concat();

        let mut file = vec![0; 64];
        file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        file[18] = 62; // e_machine
        file[40] = 64; // e_shoff
        file[58] = 64; // e_shentsize
        file[60] = names.len() as u8 + 1; // e_shnum
        file[62] = names.len() as u8; // e_shstrndx
        let end = 64 * (names.len() + 2);
        let mut texts = Vec::new();
        let mut section = |name: usize, kind: u32, flags: u64, offset: usize, length: usize| {
            file.extend((name as u32).to_le_bytes());
            file.extend(kind.to_le_bytes());
            for field in [flags, 0, offset as u64, length as u64] {
                file.extend(field.to_le_bytes());
            }
            file.resize(file.len() + 24, 0);
        };
        for name in names {
            // SHT_PROGBITS, SHF_COMPRESSED.
            section(texts.len(), 1, 1 << 11, end, content.len());
            texts.extend(name.as_bytes());
            texts.push(0);
        }
        section(texts.len() - 1, 3, 0, end + content.len(), texts.len());
        [file, content, texts].concat()
    }

    #[test]
    fn what_is_decompressed_is_bounded_over_all_sections_of_a_file() {
        let file = file(&[".debug_info.dwo", ".debug_abbrev.dwo"]);
        let image = ElfImage::parse(&file).unwrap();
        let lengths = |mut left: u64| {
            [SectionId::DebugInfo, SectionId::DebugAbbrev].map(|id| {
                let bytes = section(&image, id, &mut left).unwrap();
                bytes.len()
            })
        };
        assert_eq!(lengths(2 * LENGTH as u64), [LENGTH, LENGTH]);
        assert_eq!(lengths(2 * LENGTH as u64 - 1), [LENGTH, 0]);
        assert_eq!(lengths(LENGTH as u64 - 1), [0, 0]);
    }
}

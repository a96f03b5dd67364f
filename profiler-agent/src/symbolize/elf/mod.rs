//! Names of code in ELF files.

mod image;
pub(crate) mod mapped;
mod symtab;

use object::elf;

use self::image::ElfImage;
use self::mapped::MappedFile;
use super::config::SymbolizeConfig;
use super::names::Names;
use crate::profile::{Executable, FrameType, LossCause, Losses, ResolvedFrames};

/// Names locations in files.
#[derive(Debug)]
pub(super) struct ElfSymbols {}

impl ElfSymbols {
    pub(super) fn new(_config: &SymbolizeConfig) -> Self {
        Self {}
    }

    /// The names of `addresses` (as the file states them, sorted, each once); `None` where there is none.
    pub(super) fn resolve(
        &mut self,
        executable: &Executable,
        addresses: &[u64],
        names: &mut Names,
        losses: &mut Losses,
    ) -> Vec<Option<ResolvedFrames>> {
        let mapped;
        let data = if let Some(image) = &executable.image {
            &image[..]
        } else {
            match executable.file.as_ref().map(MappedFile::new) {
                Some(Ok(file)) => {
                    mapped = file;
                    &mapped[..]
                }
                Some(Err(_)) => {
                    losses.add(LossCause::SymbolsMalformed, 1);
                    return vec![None; addresses.len()];
                }
                None => return vec![None; addresses.len()],
            }
        };
        let Some(image) = ElfImage::parse(data) else {
            losses.add(LossCause::SymbolsMalformed, 1);
            return vec![None; addresses.len()];
        };
        let table = if symtab::has_table(&image, elf::SHT_SYMTAB) {
            elf::SHT_SYMTAB
        } else {
            elf::SHT_DYNSYM
        };
        symtab::find(&image, table, addresses)
            .into_iter()
            .map(|symbol| {
                let name = String::from_utf8_lossy(symbol?.name);
                Some(names.single(&name, FrameType::Native))
            })
            .collect()
    }

    pub(super) fn bytes(&self) -> usize {
        0
    }

    pub(super) fn end_window(&mut self) {}
}

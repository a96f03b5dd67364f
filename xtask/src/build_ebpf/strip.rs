//! Takes debug information out of an object: it is needed to make type information, not to load.

use anyhow::Result;
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

use super::linkage;

/// The functions that `bpf_loop` calls.
const CALLBACKS: [&str; 2] = ["unwind_frame", "append_label"];

/// The object without its `.debug_*` sections and their relocations. Type information (`.BTF`) stays;
/// in it the callbacks become static.
pub(super) fn debug_information(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        if name.starts_with(b".debug_") || name.starts_with(b".rel.debug_") {
            section.delete = true;
        }
        if name == b".BTF"
            && let SectionData::Data(btf) = &mut section.data
        {
            for callback in CALLBACKS {
                linkage::make_static(btf.to_mut(), callback)?;
            }
        }
    }
    // The linker keeps the names of sections and symbols in one section; the writer wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

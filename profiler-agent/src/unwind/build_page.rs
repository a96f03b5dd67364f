//! ELF file to the unwind table of one page of its code.

use super::absent::Absent;
use super::base_register::BaseRegister;
use super::build::Builder;
use super::code::Code;
use super::elf::{Image, Machine};
use super::entries::{self, Origin};
use super::{context, inferred, search_table, supplement, trampoline};
use crate::elf::Source;
use crate::profile::{ElfAddress, UnwindTable};

/// Where a file's code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// First address of the table, as the file states it: a multiple of 64 KiB.
    pub start: ElfAddress,
    /// Pages of the table.
    pub pages: u32,
}

/// Where the code of a file is.
///
/// # Errors
/// The reason why it has no table.
pub fn layout<S: Source + ?Sized>(source: &S) -> Result<Layout, Absent> {
    let image = Image::parse_for_layout(source)?;
    let code = Code::of(&image, source.length())?;
    Ok(Layout {
        start: ElfAddress(code.start),
        pages: code.pages(),
    })
}

/// The table of one page of an x86_64 file, by the search table of its `.eh_frame_hdr`: the same rules as those of
/// [`build`](super::build()). `None` where that takes the whole file: there is no such table, or much code without call frame
/// information.
///
/// # Errors
/// The reason why there is none.
pub fn build_page<S: Source + ?Sized>(
    source: &S,
    page: u32,
) -> Result<Option<UnwindTable>, Absent> {
    let Some(image) = Image::parse_for_page(source)? else {
        return Ok(None);
    };
    let (Some(frames), Some(header)) = (&image.eh_frame, &image.eh_frame_header) else {
        return Ok(None);
    };
    // What the parser does not know of aarch64's entries is replaced in the whole section.
    if image.machine != Machine::X86_64 {
        return Ok(None);
    }
    let code = Code::of(&image, source.length())?;
    if page >= code.pages() {
        return Ok(None);
    }
    let Some(mut list) = search_table::entries(header, frames, &code, page) else {
        return Ok(None);
    };
    let exception = entries::exception_frames(frames, image.machine, image.text);
    let mut builder = Builder::of_exceptions(exception, image.machine, code);
    builder.supplement(&mut list, Origin::Linkage, supplement::linkage(&image));
    let contexts = context::search(source, &image, builder.code(), &list);
    builder.supplement(&mut list, Origin::Trampoline, contexts);
    let (mut table, _) = builder.table_of(&list, Some(page))?;
    match search_table::without_rules(&table, builder.code(), page) {
        search_table::Without::Much => return Ok(None),
        search_table::Without::Padding => {}
        search_table::Without::Some => {
            let searched = trampoline::search(source, &image, &table);
            let inferred =
                inferred::infer(source, &image, &table, builder.code(), BaseRegister::Rbx);
            builder.supplement(&mut list, Origin::Trampoline, searched.found);
            builder.supplement(&mut list, Origin::Linkage, inferred.rules);
            (table, _) = builder.table_of(&list, Some(page))?;
        }
    }
    Ok(Some(table))
}

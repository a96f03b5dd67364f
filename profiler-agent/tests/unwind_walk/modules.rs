//! The code of a traced program, for our walker and for framehop.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSegment, SegmentFlags};
use profiler_agent::profile::{
    ElfAddress, FileOffset, Segment, UnwindTable, VirtualAddress, mapping_bias,
};
use profiler_agent::unwind::build;
use profiler_agent::unwind::walk::{AddressSpace, MappedTable};

use super::traced::Traced;

struct Known {
    bytes: Vec<u8>,
    segments: Vec<Segment>,
    table: Option<Arc<UnwindTable>>,
}

/// What is mapped executable.
#[derive(Default)]
pub(crate) struct Modules {
    files: HashMap<String, Known>,
    names: Vec<(Range<u64>, String)>,
    space: AddressSpace,
    unwinder: UnwinderX86_64<Vec<u8>>,
    cache: CacheX86_64,
    seen: String,
    updates: u64,
}

impl Modules {
    /// Reads the mappings again: whenever the pc is in none, and now and then.
    pub(crate) fn update(&mut self, traced: &Traced) {
        let pc = traced.registers.rip;
        self.updates += 1;
        let known = self.names.iter().any(|(range, _)| range.contains(&pc));
        if known && !self.updates.is_multiple_of(512) {
            return;
        }
        let maps = fs::read_to_string(format!("/proc/{}/maps", traced.pid())).unwrap();
        if maps == self.seen {
            return;
        }
        self.names.clear();
        self.unwinder = UnwinderX86_64::new();
        self.cache = CacheX86_64::new();
        let mut mapped = Vec::new();
        for line in maps.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if !fields[1].contains('x') || fields[5].starts_with("[vsyscall") {
                continue;
            }
            let (start, end) = fields[0].split_once('-').unwrap();
            let hexadecimal = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let range = hexadecimal(start)..hexadecimal(end);
            let offset = hexadecimal(fields[2]);
            let path = fields[5].to_owned();
            let file = self
                .files
                .entry(path.clone())
                .or_insert_with(|| Known::read(&path, &range, traced));
            let addresses = VirtualAddress(range.start)..VirtualAddress(range.end);
            let table_bias = file.table.as_ref().and_then(|table| {
                mapping_bias(&file.segments, &addresses, FileOffset(offset))
                    .map(|bias| bias.wrapping_sub(table.start.0))
            });
            mapped.push(MappedTable {
                range: range.clone(),
                bias: table_bias.unwrap(),
                table: file.table.clone(),
            });
            let table_start = file
                .table
                .as_ref()
                .map_or(ElfAddress(0), |table| table.start);
            let load_bias = range
                .start
                .wrapping_sub(table_start.0)
                .wrapping_sub(range.start.wrapping_add(table_bias.unwrap()));
            self.unwinder
                .add_module(file.module(&path, range.clone(), load_bias));
            self.names.push((range, path));
        }
        self.space = AddressSpace::new(mapped);
        self.seen = maps;
    }

    pub(crate) fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// File and address in it.
    pub(crate) fn describe(&self, pc: u64) -> String {
        self.names
            .iter()
            .find(|(range, _)| range.contains(&pc))
            .map_or_else(
                || format!("{pc:#x}"),
                |(range, path)| {
                    let name = path.rsplit('/').next().unwrap();
                    format!("{name} text+{:#x}", pc - range.start)
                },
            )
    }

    /// framehop's stack, leaf first; cut where it gives up.
    pub(crate) fn framehop(&mut self, traced: &Traced) -> Vec<u64> {
        let registers = &traced.registers;
        let start = UnwindRegsX86_64::new(registers.rip, registers.rsp, registers.rbp);
        let mut read = |address| traced.word(address).ok_or(());
        let mut frames =
            self.unwinder
                .iter_frames(registers.rip, start, &mut self.cache, &mut read);
        let mut addresses = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            addresses.push(frame.address());
        }
        addresses
    }
}

impl Known {
    fn read(path: &str, range: &Range<u64>, traced: &Traced) -> Self {
        let bytes = if path == "[vdso]" {
            let length = (range.end - range.start) as usize;
            traced.bytes(range.start, length).unwrap()
        } else {
            fs::read(path).unwrap()
        };
        let file = ElfFile64::<object::LittleEndian>::parse(bytes.as_slice()).unwrap();
        let segments = file
            .segments()
            .filter(|segment| {
                matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.contains(object::elf::PF_X))
            })
            .map(|segment| Segment {
                offset: FileOffset(segment.file_range().0),
                address: ElfAddress(segment.address()),
                length: segment.file_range().1,
            })
            .collect();
        let table = build(&bytes).ok().map(|built| Arc::new(built.table));
        Self {
            table,
            segments,
            bytes,
        }
    }

    fn module(&self, path: &str, range: Range<u64>, load_bias: u64) -> Module<Vec<u8>> {
        let file = ElfFile64::<object::LittleEndian>::parse(self.bytes.as_slice()).unwrap();
        let section = |name: &str| {
            let section = file.section_by_name(name)?;
            let range = section.address()..section.address() + section.size();
            Some((range, section.data().unwrap().to_vec()))
        };
        let (text_svma, text) = section(".text").unzip();
        let (eh_frame_svma, eh_frame) = section(".eh_frame").unzip();
        let (eh_frame_hdr_svma, eh_frame_hdr) = section(".eh_frame_hdr").unzip();
        let sections = ExplicitModuleSectionInfo {
            text_svma,
            text,
            eh_frame_svma,
            eh_frame,
            eh_frame_hdr_svma,
            eh_frame_hdr,
            got_svma: section(".got").map(|(range, _)| range),
            ..ExplicitModuleSectionInfo::default()
        };
        Module::new(path.to_owned(), range, load_bias, sections)
    }
}

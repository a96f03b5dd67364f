//! What an ELF file declares: the variables that it defines, and where the dynamic linker notes their
//! places.

use super::dynamic::{self, Dynamic};
use super::section;
use super::source::Source;

/// A variable that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The OpenTelemetry thread context.
    ThreadContext,
    /// Elastic's correlation record.
    Elastic,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ThreadContext, Self::Elastic];

    /// The name of its symbol.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::ThreadContext => "otel_thread_ctx_v1",
            Self::Elastic => "elastic_apm_profiling_correlation_tls_v1",
        }
    }
}

/// Whose thread-local storage a dynamically linked program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CLibrary {
    /// The GNU C library.
    Gnu,
    /// musl.
    Musl,
}

/// A machine whose relocations are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

/// What the dynamic linker writes at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotKind {
    /// The distance from the thread pointer.
    ThreadPointerOffset,
    /// The module's number, and behind it the offset in its block.
    ModuleAndOffset,
    /// The number of this very module.
    OwnModule,
    /// A descriptor: resolver and argument.
    Descriptor,
}

/// A place that the dynamic linker writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// What it writes.
    pub kind: SlotKind,
    /// Its address as the file has it.
    pub address: u64,
}

/// A variable that a file defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its offset in the file's block of thread-local storage.
    pub offset: u64,
    /// Its distance from the thread pointer if the file is the program.
    pub in_program: i64,
    /// Where the dynamic linker notes its place if the file is a library.
    pub slots: Box<[Slot]>,
}

/// What a file declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The interpreter that it names: is it one of a C library that is known?
    pub interpreter: Option<CLibrary>,
    /// `Variable::ThreadContext`.
    pub thread_context: Option<Declared>,
    /// `Variable::Elastic`.
    pub elastic: Option<Declared>,
}

impl Facts {
    /// Does it define none of the variables?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.thread_context.is_none() && self.elastic.is_none()
    }
    /// What it says of `variable`.
    #[must_use]
    pub const fn declared(&self, variable: Variable) -> Option<&Declared> {
        match variable {
            Variable::ThreadContext => self.thread_context.as_ref(),
            Variable::Elastic => self.elastic.as_ref(),
        }
    }
}

/// Why a file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// Not an ELF file of a machine that is known.
    #[error("not a 64-bit ELF file of a known machine")]
    Foreign,
    /// What a header announces is not there.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// Program headers that are looked at.
const MAX_PROGRAM_HEADERS: u16 = 1_170;
const PROGRAM_HEADER: usize = 56;
/// Loaded segments that are kept.
const MAX_LOADS: usize = 64;
/// Longest interpreter path that is looked at.
const MAX_INTERPRETER: u64 = 4096;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_TLS: u32 = 7;

/// The file's block of thread-local storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    address: u64,
    pub(super) length: u64,
    align: u64,
}

/// A segment as it lies in the file and in its address space.
#[derive(Clone, Copy, Debug)]
struct Load {
    offset: u64,
    address: u64,
    length: u64,
}

/// The program headers.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) machine: Machine,
    loads: Vec<Load>,
    block: Option<Block>,
    dynamic: Option<Load>,
    interpreter: Option<Load>,
    /// Position, entry size and number of section headers.
    pub(super) sections: (u64, u16, u16),
}

impl Image {
    /// Where an address lies in the file.
    pub(super) fn position(&self, address: u64) -> Option<u64> {
        self.loads.iter().find_map(|load| {
            let within = address.checked_sub(load.address)?;
            (within < load.length).then(|| load.offset.checked_add(within))?
        })
    }
}

/// What `source` declares.
///
/// # Errors
/// When it is no ELF file of a known machine, or its program headers are not all there. A file whose
/// symbols are malformed declares nothing.
pub fn facts_of<S: Source + ?Sized>(source: &S) -> Result<Facts, Absent> {
    let image = image(source)?;
    let mut facts = Facts {
        interpreter: image
            .interpreter
            .and_then(|interpreter| c_library(source, interpreter)),
        ..Facts::default()
    };
    let Some(block) = image.block else {
        return Ok(facts);
    };
    let dynamic = image
        .dynamic
        .and_then(|load| Dynamic::read(source, &image, load.offset, load.length));
    for variable in Variable::ALL {
        let name = variable.symbol().as_bytes();
        let exported = dynamic
            .as_ref()
            .and_then(|dynamic| dynamic.symbol(source, &image, name));
        // A static program has no dynamic symbols; what it calls so can only be itself.
        let found = exported.or_else(|| {
            let library = dynamic.as_ref().is_some_and(|dynamic| !dynamic.program);
            if image.interpreter.is_some() || library {
                return None;
            }
            section::symbol(source, &image, name).map(|offset| dynamic::Symbol { index: 0, offset })
        });
        let Some(symbol) = found.filter(|symbol| symbol.offset < block.length) else {
            continue;
        };
        let slots = match &dynamic {
            Some(dynamic) => dynamic.slots(source, &image, symbol),
            None => Box::default(),
        };
        let declared = Declared {
            offset: symbol.offset,
            in_program: in_program(image.machine, block, symbol.offset),
            slots,
        };
        match variable {
            Variable::ThreadContext => facts.thread_context = Some(declared),
            Variable::Elastic => facts.elastic = Some(declared),
        }
    }
    Ok(facts)
}

/// The distance from the thread pointer of what is at `offset` in the program's block: below the thread
/// pointer on x86_64 (variant II), behind two words above it on aarch64 (variant I); in both as linkers
/// compute it, with the address of the segment modulo its alignment kept.
const fn in_program(machine: Machine, block: Block, offset: u64) -> i64 {
    let mask = if block.align.is_power_of_two() {
        block.align - 1
    } else {
        0
    };
    let distance = match machine {
        Machine::X86_64 => {
            let end = block.address.wrapping_add(block.length);
            let padding = 0u64.wrapping_sub(end) & mask;
            offset.wrapping_sub(block.length).wrapping_sub(padding)
        }
        Machine::Aarch64 => {
            let padding = block.address.wrapping_sub(16) & mask;
            offset.wrapping_add(16).wrapping_add(padding)
        }
    };
    distance.cast_signed()
}

fn image<S: Source + ?Sized>(source: &S) -> Result<Image, Absent> {
    let header: [u8; 64] = source.array(0).ok_or(Absent::Foreign)?;
    if header[..4] != *b"\x7fELF" || header[4] != 2 || header[5] != 1 {
        return Err(Absent::Foreign);
    }
    let machine = match half(&header, 18) {
        62 => Machine::X86_64,
        183 => Machine::Aarch64,
        _ => return Err(Absent::Foreign),
    };
    let (position, size, count) = (word(&header, 32), half(&header, 54), half(&header, 56));
    if usize::from(size) != PROGRAM_HEADER || count > MAX_PROGRAM_HEADERS {
        return Err(Absent::Malformed("program headers"));
    }
    let table = source
        .bytes(position, usize::from(count) * PROGRAM_HEADER)
        .ok_or(Absent::Malformed("program headers"))?;
    let mut image = Image {
        machine,
        loads: Vec::new(),
        block: None,
        dynamic: None,
        interpreter: None,
        sections: (word(&header, 40), half(&header, 58), half(&header, 60)),
    };
    for program in table.as_chunks::<PROGRAM_HEADER>().0 {
        let load = Load {
            offset: word(program, 8),
            address: word(program, 16),
            length: word(program, 32),
        };
        match u32::from_le_bytes([program[0], program[1], program[2], program[3]]) {
            PT_LOAD if image.loads.len() < MAX_LOADS => image.loads.push(load),
            PT_DYNAMIC => image.dynamic = Some(load),
            PT_INTERP => image.interpreter = Some(load),
            PT_TLS => {
                image.block = Some(Block {
                    address: load.address,
                    length: word(program, 40),
                    align: word(program, 48),
                });
            }
            _ => {}
        }
    }
    Ok(image)
}

fn c_library<S: Source + ?Sized>(source: &S, interpreter: Load) -> Option<CLibrary> {
    let length = usize::try_from(interpreter.length.min(MAX_INTERPRETER)).ok()?;
    let path = source.bytes(interpreter.offset, length)?;
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    if name.starts_with(b"ld-musl-") {
        Some(CLibrary::Musl)
    } else if name.starts_with(b"ld-linux-") || name.starts_with(b"ld64.so") {
        Some(CLibrary::Gnu)
    } else {
        None
    }
}

/// The two bytes at `at`, which the caller knows to be there.
pub(super) fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The four bytes at `at`, which the caller knows to be there.
pub(super) fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

/// The eight bytes at `at`, which the caller knows to be there.
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from(long(bytes, at)) | u64::from(long(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_from_the_thread_pointer_is_what_linkers_compute() {
        let block = |address, length, align| Block {
            address,
            length,
            align,
        };
        // x86_64: the block ends at the thread pointer, its start is aligned.
        let x86_64 = |block, offset| in_program(Machine::X86_64, block, offset);
        assert_eq!(x86_64(block(0x4000, 8, 8), 0), -8);
        assert_eq!(x86_64(block(0x4000, 24, 16), 8), -24);
        assert_eq!(x86_64(block(0x3df8, 0x14, 8), 0), -0x18);
        assert_eq!(x86_64(block(0x4000, 0x41, 64), 0x40), -0x40);
        // aarch64: it begins behind two words, as far as its alignment asks for.
        let aarch64 = |block, offset| in_program(Machine::Aarch64, block, offset);
        assert_eq!(aarch64(block(0x4000, 8, 8), 0), 16);
        assert_eq!(aarch64(block(0x4000, 24, 64), 8), 72);
        // What is not aligned as it says is not aligned at all.
        assert_eq!(x86_64(block(0x4000, 24, 3), 0), -24);
        assert_eq!(x86_64(block(u64::MAX, u64::MAX, 1 << 63), 1), 0);
    }
}

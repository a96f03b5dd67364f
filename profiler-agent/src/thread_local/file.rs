//! What an ELF file declares: the variables that it defines, and where the dynamic linker notes their
//! places.

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::Sym as _;

use super::slot::{Found, slots};
use crate::elf::dynamic::Dynamic;
use crate::elf::symbol::is_thread_local;
use crate::elf::{ElfFile, Machine, Segment, Source};

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

/// Longest interpreter path that is looked at.
const MAX_INTERPRETER: u64 = 4096;
/// Symbols of a static program that are looked at.
const MAX_SYMBOLS: u64 = 4 << 20;

/// The file's block of thread-local storage.
#[derive(Clone, Copy, Debug)]
struct Block {
    address: u64,
    length: u64,
    align: u64,
}

impl Block {
    const fn of(segment: &Segment) -> Self {
        Self {
            address: segment.place.address.0,
            length: segment.memory_length,
            align: segment.align,
        }
    }
}

/// What `source` declares.
///
/// # Errors
/// When it is no ELF file of a known machine, or its program headers are not all there. A file whose
/// symbols are malformed declares nothing.
pub fn facts_of<S: Source + ?Sized>(source: &S) -> Result<Facts, Absent> {
    let file = ElfFile::parse_64(source).ok_or(Absent::Foreign)?;
    let machine = file.header.known_machine().ok_or(Absent::Foreign)?;
    let segments = file
        .segments()
        .map_err(|_| Absent::Malformed("program headers"))?;
    let interpreter = segments.last(elf::PT_INTERP);
    let mut facts = Facts {
        interpreter: interpreter.and_then(|interpreter| c_library(source, &interpreter)),
        ..Facts::default()
    };
    let Some(block) = segments.last(elf::PT_TLS).map(|block| Block::of(&block)) else {
        return Ok(facts);
    };
    let dynamic = Dynamic::read(&file, &segments);
    let dynamic = dynamic.filter(|dynamic| dynamic.symbols(&segments).is_some());
    for variable in Variable::ALL {
        let name = variable.symbol().as_bytes();
        let exported = dynamic.as_ref().and_then(|dynamic| {
            let found = dynamic.symbol(&file, &segments, name, is_thread_local);
            found.map(|(index, symbol)| Found {
                index,
                offset: symbol.st_value(LE),
            })
        });
        // A static program has no dynamic symbols; what it calls so can only be itself.
        let found = exported.or_else(|| {
            let library = dynamic.as_ref().is_some_and(|dynamic| !dynamic.is_program);
            if interpreter.is_some() || library {
                return None;
            }
            static_symbol(&file, name).map(|offset| Found { index: 0, offset })
        });
        let Some(symbol) = found.filter(|symbol| symbol.offset < block.length) else {
            continue;
        };
        let slots = match &dynamic {
            Some(dynamic) => slots(&file, &segments, (dynamic, machine), symbol),
            None => Box::default(),
        };
        let declared = Declared {
            offset: symbol.offset,
            in_program: in_program(machine, block, symbol.offset),
            slots,
        };
        match variable {
            Variable::ThreadContext => facts.thread_context = Some(declared),
            Variable::Elastic => facts.elastic = Some(declared),
        }
    }
    Ok(facts)
}

/// The offset of the thread-local symbol `name` in the block of a static program, by its section headers.
fn static_symbol<S: Source + ?Sized>(file: &ElfFile<'_, S>, name: &[u8]) -> Option<u64> {
    let table = file.few_sections()?.symbols(elf::SHT_SYMTAB)?;
    let found = table.find(file.source, MAX_SYMBOLS, name, is_thread_local)?;
    Some(found.st_value(LE))
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

fn c_library<S: Source + ?Sized>(source: &S, interpreter: &Segment) -> Option<CLibrary> {
    let start = interpreter.place.offset.0;
    let length = interpreter.place.length.min(MAX_INTERPRETER);
    let path = source.bytes(start..start.checked_add(length)?)?;
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    if name.starts_with(b"ld-musl-") {
        Some(CLibrary::Musl)
    } else if name.starts_with(b"ld-linux-") || name.starts_with(b"ld64.so") {
        Some(CLibrary::Gnu)
    } else {
        None
    }
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

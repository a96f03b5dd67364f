//! The header of a file.

use object::LittleEndian as LE;
use object::elf::{self, FileHeader32, FileHeader64};
use object::pod;
use object::read::elf::FileHeader;

use super::source::ReadAt;
use crate::profile::ElfAddress;

/// Why a file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It does not begin as an ELF file does.
    #[error("not an ELF file")]
    NotElf,
    /// It is of a class or byte order that is not known.
    #[error("neither a 32-bit nor a 64-bit little-endian ELF file")]
    WrongClass,
    /// It ends within its header.
    #[error("malformed ELF file: shorter than its header")]
    ShortHeader,
    /// Its program headers are not all there, or of another size than the class's.
    #[error("malformed ELF file: its program headers are not all there, or of a wrong size")]
    ProgramHeaders,
}

/// How wide addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
}

/// A machine that the agent knows the code of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

/// The header, whose fields are as the file states them.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// How wide its addresses are.
    pub class: Class,
    /// `e_machine`.
    pub machine: elf::Machine,
    /// `e_type`.
    pub kind: elf::FileType,
    /// Where the program starts; 0 when nowhere.
    pub entry: ElfAddress,
    pub(super) programs: Table,
    pub(super) sections: Table,
    /// Number of the section with the sections' names.
    pub(super) names: u16,
}

/// A table of headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) offset: u64,
    /// Bytes of one.
    pub(super) size: u16,
    pub(super) count: u16,
}

/// Bytes of a header, by class, and of the part that is the same in both.
const BYTES_64: usize = 64;
const BYTES_32: usize = 52;
const IDENT: usize = 16;
const MAGIC: usize = 4;

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no ELF file, of another class or byte order, or shorter than its header.
    pub fn read<S: ReadAt + ?Sized>(source: &S) -> Result<Self, ElfError> {
        let mut bytes = [0; BYTES_64];
        let length = [BYTES_64, BYTES_32, IDENT, MAGIC]
            .into_iter()
            .find(|length| source.read(0, &mut bytes[..*length]))
            .ok_or(ElfError::NotElf)?;
        let bytes = &bytes[..length];
        if bytes[..MAGIC] != elf::ELFMAG {
            return Err(ElfError::NotElf);
        }
        let ident: &[u8; IDENT] = bytes.first_chunk().ok_or(ElfError::ShortHeader)?;
        if ident[5] != elf::ELFDATA2LSB.0 {
            return Err(ElfError::WrongClass);
        }
        match elf::FileClass(ident[4]) {
            elf::ELFCLASS32 => Self::of::<FileHeader32<LE>>(Class::Bits32, bytes),
            elf::ELFCLASS64 => Self::of::<FileHeader64<LE>>(Class::Bits64, bytes),
            _ => return Err(ElfError::WrongClass),
        }
        .ok_or(ElfError::ShortHeader)
    }

    fn of<H: FileHeader<Endian = LE>>(class: Class, bytes: &[u8]) -> Option<Self> {
        let (header, _) = pod::from_bytes::<H>(bytes).ok()?;
        Some(Self {
            class,
            machine: header.e_machine(LE),
            kind: header.e_type(LE),
            entry: ElfAddress(header.e_entry(LE).into()),
            programs: Table {
                offset: header.e_phoff(LE).into(),
                size: header.e_phentsize(LE),
                count: header.e_phnum(LE),
            },
            sections: Table {
                offset: header.e_shoff(LE).into(),
                size: header.e_shentsize(LE),
                count: header.e_shnum(LE),
            },
            names: header.e_shstrndx(LE).0,
        })
    }

    /// The machine that its code is for, if it is known.
    #[must_use]
    pub const fn known_machine(&self) -> Option<Machine> {
        match self.machine {
            elf::EM_X86_64 => Some(Machine::X86_64),
            elf::EM_AARCH64 => Some(Machine::Aarch64),
            _ => None,
        }
    }

    /// Are its addresses 64 bits wide?
    #[must_use]
    pub const fn is_64(&self) -> bool {
        matches!(self.class, Class::Bits64)
    }
}

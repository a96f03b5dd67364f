//! Addresses, each with the reference point in its type.

use std::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// An address in a process's address space.
    VirtualAddress
}
address! {
    /// An address in the kernel's address space.
    KernelAddress
}
address! {
    /// A position in a file, in bytes from its start.
    FileOffset
}
address! {
    /// An address as an ELF file states it (`st_value`, `p_vaddr`): before relocation.
    ElfAddress
}

/// A code address of a frame, and how it is to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pc {
    /// Interrupted there: looked up as it is.
    Interrupted(VirtualAddress),
    /// To return there: the call is the instruction before.
    Return(VirtualAddress),
}

impl Pc {
    /// The address to look up: of the interrupted instruction, or within the call.
    #[must_use]
    pub const fn lookup(self) -> VirtualAddress {
        match self {
            Self::Interrupted(address) => address,
            Self::Return(address) => VirtualAddress(address.0.saturating_sub(1)),
        }
    }
}

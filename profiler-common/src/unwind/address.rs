//! Addresses of code as they are stored: return addresses on stacks and in link registers.

/// Which bits of a stored return address are the address.
///
/// On aarch64 the others may hold a signature (pointer authentication: "Pointer authentication in AArch64
/// Linux" of the kernel's documentation) and, in the top byte, a tag. How many bits addresses have, and so
/// where a signature begins, is the running kernel's choice: 48 or 52, of which a program sees nothing but
/// signatures. There is no mask but that which was learned from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressMask(u64);

impl AddressMask {
    /// Addresses of x86_64: with five levels of page tables they have 57 bits, and nothing is signed.
    pub const X86_64: Self = Self((1 << 57) - 1);

    /// Bit 55 of an address of aarch64: set in the kernel's half of the address space. Signatures leave it
    /// alone.
    const KERNEL_HALF: u64 = 1 << 55;
    /// What may be set in a user address of aarch64 below the tag, signed or not.
    pub const AARCH64_UNSTRIPPED: u64 = Self::KERNEL_HALF - 1;

    /// Addresses of aarch64, where stripping the signature off [`AddressMask::AARCH64_UNSTRIPPED`] leaves
    /// `stripped`. Bit 55 is kept, so that what is no user address does not become one.
    #[must_use]
    pub const fn aarch64(stripped: u64) -> Self {
        Self(stripped & Self::AARCH64_UNSTRIPPED | Self::KERNEL_HALF)
    }

    /// The mask with these bits: what [`AddressMask::bits`] gave another program.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits that are address.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The address in `stored`.
    #[inline(always)]
    #[must_use]
    pub const fn address(self, stored: u64) -> u64 {
        stored & self.0
    }
}

//! Learns which bits of return addresses are signatures (pointer authentication of aarch64).
//!
//! How many bits addresses have is the running kernel's choice, the same for all processes: this one strips a
//! signature off a value with every bit set and sees what is left.

use profiler_common::unwind::AddressMask;

/// The mask of this machine's user addresses.
#[cfg(target_arch = "x86_64")]
pub(super) const fn learn() -> AddressMask {
    AddressMask::X86_64
}

/// The mask of this machine's user addresses.
#[cfg(target_arch = "aarch64")]
pub(super) fn learn() -> AddressMask {
    /// `HWCAP_PACA` (arch/arm64/include/uapi/asm/hwcap.h): the kernel has switched signatures of
    /// addresses on.
    const SIGNS: usize = 1 << 30;

    let (capabilities, _) = rustix::param::linux_hwcap();
    let mut value = AddressMask::AARCH64_UNSTRIPPED;
    if capabilities & SIGNS != 0 {
        // SAFETY: `xpaclri` (`hint #7`) changes x30 only.
        unsafe {
            std::arch::asm!("hint #7", inout("x30") value, options(nomem, nostack, preserves_flags));
        }
    }
    AddressMask::aarch64(value)
}

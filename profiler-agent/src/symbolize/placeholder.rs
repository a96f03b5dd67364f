//! Names for locations that have none, of what is known of them. What has no such name has a [`Mark`].

use crate::profile::{ElfAddress, Executable, FileOffset, FrameType, KernelAddress, Mark};

/// `libfoo.so+0x1a2b`: the file and the address as it states it; where it states none, the offset.
pub(super) fn file(executable: &Executable, offset: FileOffset) -> String {
    let address = executable
        .elf_address(offset)
        .unwrap_or(ElfAddress(offset.0));
    format!("{}+{address}", executable.name())
}

/// `[kernel]+0x...`.
pub(super) fn kernel(address: KernelAddress) -> String {
    format!("{}+{address}", Mark::Kernel.name())
}

/// `[cpython]`: a frame of an interpreter whose code object says nothing.
pub(super) fn interpreted(frame_type: FrameType) -> String {
    format!("[{}]", frame_type.name())
}

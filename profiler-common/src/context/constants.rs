//! Strings in the read-only data of programs: the keys of labels are, and many values. Each is read once and
//! remembered, which costs less than to read it at every sample. What is remembered of a process is never
//! asked for by another: places are compared with the process, and with its image.

use super::Bytes;
use super::labels::Text;
use crate::layout::context::MAX_KEY;

/// Strings that are remembered; a newer one takes the place of an older one.
const REMEMBERED: usize = 32;
/// Words of the longest string that is remembered.
pub const CONSTANT_WORDS: usize = MAX_KEY / 8;

/// Whose memory a string is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process id; not 0.
    pub pid: u32,
    /// `ProcessEntry::image`: another one after an exec.
    pub image: u64,
}

/// A string that was read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Constant {
    image: u64,
    /// 0: none yet.
    pid: u32,
    length: u32,
    address: u64,
    words: [u64; CONSTANT_WORDS],
}

/// The strings that are remembered.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Constants {
    strings: [Constant; REMEMBERED],
}

impl Default for Constants {
    fn default() -> Self {
        Self {
            strings: [Constant::default(); REMEMBERED],
        }
    }
}

impl Constants {
    /// A string in memory that does not change, at most [`MAX_KEY`] bytes long; what lies behind its
    /// end is undefined. `None` when it is longer or cannot be read.
    #[inline(always)]
    pub fn get<M: Bytes>(
        &mut self,
        owner: Owner,
        text: Text,
        memory: &mut M,
    ) -> Option<&[u64; CONSTANT_WORDS]> {
        if text.length > MAX_KEY as u64 {
            return None;
        }
        let (pid, length) = (owner.pid, text.length as u32);
        let string = &mut self.strings[place(owner, text)];
        if string.address != text.address
            || string.length != length
            || string.pid != pid
            || string.image != owner.image
        {
            string.pid = 0;
            if !memory.read_bytes(text.address, text.length, &mut string.words) {
                return None;
            }
            string.image = owner.image;
            string.pid = pid;
            string.address = text.address;
            string.length = length;
        }
        Some(&string.words)
    }
}

/// Where a string is remembered.
#[inline(always)]
fn place(owner: Owner, text: Text) -> usize {
    // 2^64 divided by the golden ratio: the upper bits of the product depend on all bits.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (text.address ^ owner.image ^ u64::from(owner.pid)).wrapping_mul(SPREAD);
    (mixed >> 32) as usize & (REMEMBERED - 1)
}

const _: () = assert!(REMEMBERED.is_power_of_two() && MAX_KEY.is_multiple_of(8));

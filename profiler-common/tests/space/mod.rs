//! Memory of a thread, for the tests of what is read there.

use std::collections::BTreeMap;

use profiler_common::context::Bytes;
use profiler_common::unwind::{AddressMask, Memory};

/// Memory by byte; everything else cannot be read.
#[derive(Default)]
pub struct Space {
    pub bytes: BTreeMap<u64, u8>,
    /// Reads so far.
    pub reads: u32,
}

impl Space {
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        self.bytes.extend((address..).zip(bytes.iter().copied()));
    }
    pub fn get(&self, address: u64, length: u64) -> Option<Vec<u8>> {
        (0..length)
            .map(|at| self.bytes.get(&address.wrapping_add(at)).copied())
            .collect()
    }
}

impl Memory for Space {
    fn address_mask(&self) -> AddressMask {
        AddressMask::X86_64
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.reads += 1;
        let bytes = self.get(address, 8)?;
        bytes.try_into().ok().map(u64::from_ne_bytes)
    }
    fn interrupted_register(&mut self, _: u8) -> Option<u64> {
        None
    }
}

impl Bytes for Space {
    fn read_bytes<const N: usize>(
        &mut self,
        address: u64,
        bytes: u64,
        into: &mut [u64; N],
    ) -> bool {
        self.reads += 1;
        assert!(bytes <= 8 * N as u64, "{bytes} bytes into {N} words");
        let Some(read) = self.get(address, bytes) else {
            return false;
        };
        for (word, bytes) in into.iter_mut().zip(read.chunks(8)) {
            // What lies behind the end is undefined.
            let mut whole = [0xee; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        true
    }
}

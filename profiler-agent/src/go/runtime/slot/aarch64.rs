//! The slot on aarch64, as `runtime.load_g` fetches it (`runtime/tls_arm64.s`, and what linkers make of it).

use super::Slot;
use crate::profile::ElfAddress;

/// `mrs x0, tpidr_el0`.
const THREAD_POINTER: u32 = 0xd53b_d040;
/// `ldr x28, [x0, x27]`.
const LOAD: u32 = 0xf87b_681c;
/// x27, which the distance from the thread pointer is put into.
const DISTANCE: u32 = 27;

/// The slot that the code of `runtime.load_g` at `start` fetches.
pub(super) fn decode(code: &[u8], start: ElfAddress) -> Option<Slot> {
    let words: Vec<u32> = code
        .as_chunks()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect();
    let first = words.iter().position(|word| *word == THREAD_POINTER)? + 1;
    let length = words[first..].iter().position(|word| *word == LOAD)?;
    let address = start.0.checked_add(4 * first as u64)?;
    match words[first..first + length] {
        [move_wide] => immediate(move_wide, 0).map(Slot::ThreadPointer),
        [high, low] if is_page(high) => got_entry(address, high, low).map(Slot::Indirect),
        [high, low] => {
            let high = immediate(high, 1)?;
            Some(Slot::ThreadPointer(high | keep(low)?))
        }
        _ => None,
    }
}

/// What `movz x27, #immediate, lsl #(16 * shift)` moves.
fn immediate(word: u32, shift: u32) -> Option<i64> {
    let opcode = 0xd280_0000 | shift << 21 | DISTANCE;
    (word & !(0xffff << 5) == opcode).then_some(i64::from(word >> 5 & 0xffff) << (16 * shift))
}

/// What `movk x27, #immediate` puts into the low 16 bits.
fn keep(word: u32) -> Option<i64> {
    (word & !(0xffff << 5) == 0xf280_0000 | DISTANCE).then_some(i64::from(word >> 5 & 0xffff))
}

/// Is it `adrp x27, page`?
const fn is_page(word: u32) -> bool {
    word & 0x9f00_001f == 0x9000_0000 | DISTANCE
}

/// The address that `adrp x27, page; ldr x27, [x27, #offset]` at `address` loads from.
fn got_entry(address: u64, page: u32, load: u32) -> Option<ElfAddress> {
    if load & 0xffc0_03ff != 0xf940_0000 | DISTANCE << 5 | DISTANCE {
        return None;
    }
    // Sign-extended from 21 bits: two low ones, 19 high ones.
    let pages = (page >> 29 & 3 | (page >> 5 & 0x7_ffff) << 2) << 11;
    let pages = i64::from(pages.cast_signed() >> 11);
    let offset = u64::from(load >> 10 & 0xfff) * 8;
    (address & !0xfff)
        .checked_add_signed(pages << 12)?
        .checked_add(offset)
        .map(ElfAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(words: &[u32]) -> Vec<u8> {
        // `adrp x27, ..; ldrb w0, [x27, ..]; cbz x0, ..` come first, `ret` last.
        let words = [
            &[0xf000_0b9b, 0x39b9_0760, 0xb400_0080],
            words,
            &[0xd65f_03c0],
        ]
        .concat();
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn every_model_of_access_is_read() {
        let at = ElfAddress(0xb_3c40);
        let local_exec = code(&[THREAD_POINTER, 0xd280_021b, LOAD]);
        assert_eq!(decode(&local_exec, at), Some(Slot::ThreadPointer(0x10)));
        let relaxed = code(&[THREAD_POINTER, 0xd2a0_005b, 0xf280_021b, LOAD]);
        assert_eq!(decode(&relaxed, at), Some(Slot::ThreadPointer(0x2_0010)));
        // adrp x27, 1ff000; ldr x27, [x27, #3976], as objdump prints it at b3c50.
        let initial_exec = code(&[THREAD_POINTER, 0x9000_0a7b, 0xf947_c77b, LOAD]);
        assert_eq!(
            decode(&initial_exec, at),
            Some(Slot::Indirect(ElfAddress(0x1f_ff88)))
        );
        // A page below: adrp x27, b2000.
        let below = code(&[THREAD_POINTER, 0xf0ff_fffb, 0xf940_077b, LOAD]);
        assert_eq!(
            decode(&below, at),
            Some(Slot::Indirect(ElfAddress(0xb_2008)))
        );
    }

    #[test]
    fn other_code_has_no_slot() {
        let at = ElfAddress(0x1000);
        assert_eq!(decode(&[], at), None);
        assert_eq!(decode(&code(&[THREAD_POINTER, LOAD]), at), None);
        // Another register is moved to; nothing is loaded.
        assert_eq!(
            decode(&code(&[THREAD_POINTER, 0xd280_021a, LOAD]), at),
            None
        );
        assert_eq!(decode(&code(&[THREAD_POINTER, 0xd280_021b]), at), None);
    }
}

//! What an instruction of A64 does, as far as frames are concerned ("Arm Architecture Reference Manual", chapter C4:
//! "A64 Instruction Set Encoding"). What is not told apart counts as writing more than it does.

/// Where it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// At the next instruction.
    Next,
    /// At the next instruction, once what it calls has returned: bytes from the instruction, where it says that.
    Call(Option<i64>),
    /// Elsewhere: bytes from the instruction.
    Jump(i64),
    /// At the next instruction or elsewhere.
    Branch(i64),
    /// Where this register says.
    JumpRegister(u8),
    /// Where this register says, as a return.
    Return(u8),
    /// Nowhere.
    Stop,
}

/// Memory relative to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) store: bool,
    pub(super) base: u8,
    /// From the register's value before the instruction.
    pub(super) offset: i32,
    /// General registers of 64 bits that lie there one behind the other; `ZERO` for none.
    pub(super) registers: [u8; 2],
    /// Added to the base.
    pub(super) writeback: i32,
}

/// A sum of a register and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) to: u8,
    pub(super) from: u8,
    pub(super) number: i32,
}

/// A sum of two registers, or their difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TwoSum {
    pub(super) to: u8,
    pub(super) from: u8,
    /// Added, or taken away.
    pub(super) other: u8,
    pub(super) negative: bool,
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) flow: Flow,
    /// General registers that it may change, by bit; 31 is the stack pointer.
    pub(super) writes: u32,
    pub(super) access: Option<Access>,
    pub(super) sum: Option<Sum>,
}

/// No register.
pub(super) const NONE: u8 = 32;
/// In the encoding: the stack pointer or zero, as it comes.
const SP_OR_ZERO: u32 = 31;

const fn field(word: u32, low: u32, bits: u32) -> u32 {
    word >> low & ((1 << bits) - 1)
}
const fn signed(word: u32, low: u32, bits: u32) -> i32 {
    ((field(word, low, bits) << (32 - bits)).cast_signed()) >> (32 - bits)
}
/// A distance in instructions, in bytes.
const fn near(word: u32, low: u32, bits: u32) -> i64 {
    signed(word, low, bits) as i64 * 4
}
/// The register in a field where 31 is the stack pointer.
const fn with_sp(number: u32) -> u32 {
    1 << number
}
/// The register in a field where 31 is zero.
const fn with_zero(number: u32) -> u32 {
    1 << number & !(1 << SP_OR_ZERO)
}

impl Instruction {
    pub(super) const fn decode(word: u32) -> Self {
        let access = access(word);
        Self {
            flow: flow(word),
            writes: writes(word),
            access,
            sum: sum(word),
        }
    }
}

const fn flow(word: u32) -> Flow {
    // `udf`: the first 65,536 words.
    if word < 1 << 16 {
        return Flow::Stop;
    }
    if word & 0xfc00_0000 == 0x1400_0000 {
        return Flow::Jump(near(word, 0, 26));
    }
    if word & 0xfc00_0000 == 0x9400_0000 {
        return Flow::Call(Some(near(word, 0, 26)));
    }
    if word & 0xff00_0000 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 {
        return Flow::Branch(near(word, 5, 19));
    }
    if word & 0x7e00_0000 == 0x3600_0000 {
        return Flow::Branch(near(word, 5, 14));
    }
    if word & 0xfe00_0000 == 0xd600_0000 {
        // Authenticated ones have bit 24, and return by x30.
        return match (field(word, 21, 3), field(word, 11, 1)) {
            (0, _) => Flow::JumpRegister(field(word, 5, 5) as u8),
            (1, _) => Flow::Call(None),
            (2, 0) => Flow::Return(field(word, 5, 5) as u8),
            (2, _) => Flow::Return(30),
            _ => Flow::Stop,
        };
    }
    // Exceptions, but for `svc`, which returns.
    if word & 0xff00_0000 == 0xd400_0000 && word & 0xffe0_001f != 0xd400_0001 {
        return Flow::Stop;
    }
    Flow::Next
}

/// The sum of two registers, where one is added to the other or taken from it as it is (`add` and `sub`, extended, which alone
/// know the stack pointer).
pub(super) const fn sum_of_two(word: u32) -> Option<TwoSum> {
    if word & 0xbfe0_fc00 != 0x8b20_6000 {
        return None;
    }
    Some(TwoSum {
        to: field(word, 0, 5) as u8,
        from: field(word, 5, 5) as u8,
        other: field(word, 16, 5) as u8,
        negative: field(word, 30, 1) == 1,
    })
}

/// The bits that `movz` puts into a register, and those that it, or `movk`, leaves.
pub(super) const fn moved_bits(word: u32) -> Option<(u64, u64)> {
    let shift = 16 * field(word, 21, 2);
    let bits = (field(word, 5, 16) as u64) << shift;
    match word & 0xff80_0000 {
        0xd280_0000 | 0x5280_0000 => Some((bits, 0)),
        0xf280_0000 | 0x7280_0000 => Some((bits, !(0xffff << shift))),
        _ => None,
    }
}

/// The address that `adr` or `adrp` at `at` puts into a register.
pub(super) const fn relative(word: u32, at: u64) -> Option<u64> {
    if word & 0x1f00_0000 != 0x1000_0000 {
        return None;
    }
    let number = (signed(word, 5, 19) as i64) << 2 | field(word, 29, 2) as i64;
    Some(if is_page(word) {
        (at & !0xfff).wrapping_add_signed(number << 12)
    } else {
        at.wrapping_add_signed(number)
    })
}

/// Is it `adrp`, whose address is that of a page of 4 KiB, whatever the kernel's pages are?
pub(super) const fn is_page(word: u32) -> bool {
    word & 0x9f00_0000 == 0x9000_0000
}

/// Does a function begin with it: does it make room on the stack, sign the return address, or save registers there?
pub(super) const fn makes_a_frame(word: u32) -> bool {
    const SIGNS: [u32; 2] = [0xd503_233f, 0xd503_237f];
    let stack_pointer = 31;
    if let Some(access) = access(word) {
        return access.store && access.base == stack_pointer && access.writeback < 0;
    }
    if let Some(sum) = sum(word) {
        return sum.to == stack_pointer && sum.from == stack_pointer && sum.number < 0;
    }
    word == SIGNS[0] || word == SIGNS[1]
}

const fn sum(word: u32) -> Option<Sum> {
    // add, sub (immediate) of 64 bits that set no flags.
    if word & 0xbf80_0000 != 0x9100_0000 {
        return None;
    }
    let shift = 12 * field(word, 22, 1);
    let number = (field(word, 10, 12) << shift).cast_signed();
    Some(Sum {
        to: field(word, 0, 5) as u8,
        from: field(word, 5, 5) as u8,
        number: if field(word, 30, 1) == 1 {
            -number
        } else {
            number
        },
    })
}

const fn is_pair(word: u32) -> bool {
    word & 0x3a00_0000 == 0x2800_0000
}
const fn is_scaled(word: u32) -> bool {
    word & 0x3b00_0000 == 0x3900_0000
}
/// With an offset of 9 bits.
const fn is_unscaled(word: u32) -> bool {
    word & 0x3b20_0000 == 0x3800_0000
}

/// Loads and stores whose place, or what they add to their base, is a number.
const fn access(word: u32) -> Option<Access> {
    let (base, first) = (field(word, 5, 5) as u8, field(word, 0, 5) as u8);
    let general = field(word, 26, 1) == 0;
    let kind = field(word, 30, 2);
    if is_pair(word) {
        let store = field(word, 22, 1) == 0;
        // `stgp` is the only pair of 64 bits with another size.
        let tagged = general && kind == 1 && store;
        let size = match (general, kind) {
            _ if tagged => 16,
            (true, kind) => 4 << (kind >> 1),
            (false, kind) => 4 << kind,
        };
        let offset = signed(word, 15, 7) * size;
        let (offset, writeback) = match field(word, 23, 2) {
            1 => (0, offset),
            3 => (offset, offset),
            _ => (offset, 0),
        };
        let second = field(word, 10, 5) as u8;
        return Some(Access {
            store: field(word, 22, 1) == 0,
            base,
            offset,
            registers: if general && kind == 2 {
                [first, second]
            } else {
                [NONE; 2]
            },
            writeback,
        });
    }
    let whole = general && kind == 3 && field(word, 22, 2) < 2;
    let registers = [if whole { first } else { NONE }, NONE];
    let store = field(word, 22, 2) == 0;
    if is_scaled(word) {
        return Some(Access {
            store,
            base,
            offset: (field(word, 10, 12) << kind).cast_signed(),
            registers,
            writeback: 0,
        });
    }
    if is_unscaled(word) {
        let offset = signed(word, 12, 9);
        let (offset, writeback) = match field(word, 10, 2) {
            1 => (0, offset),
            3 => (offset, offset),
            _ => (offset, 0),
        };
        return Some(Access {
            store,
            base,
            offset,
            registers,
            writeback,
        });
    }
    None
}

const fn writes(word: u32) -> u32 {
    let (rd, rn) = (field(word, 0, 5), field(word, 5, 5));
    match field(word, 25, 4) {
        // Immediate: sums and logic write the stack pointer unless they set flags.
        8 | 9 => match field(word, 23, 3) {
            2 if field(word, 29, 1) == 0 => with_sp(rd),
            3 => with_sp(rd),
            4 if field(word, 29, 2) != 3 => with_sp(rd),
            _ => with_zero(rd),
        },
        // Branches and system instructions.
        10 | 11 => match flow(word) {
            Flow::Call(_) => 1 << 30,
            _ if word & 0xffe0_0000 == 0xd520_0000 => with_zero(rd),
            _ => 0,
        },
        // Registers; sums with an extended one write the stack pointer.
        5 | 13 => {
            if word & 0x3f20_0000 == 0x0b20_0000 {
                with_sp(rd)
            } else {
                with_zero(rd)
            }
        }
        // Numbers and vectors to a general register.
        7 | 15 => {
            let converts = word & 0x5f20_fc00 == 0x1e20_0000 || word & 0x5f20_0000 == 0x1e00_0000;
            let moves = word & 0xbfe0_ec00 == 0x0e00_2c00;
            // `scvtf`, `ucvtf`, and `fmov` from a general register.
            let to_vector = matches!(field(word, 16, 3), 2 | 3 | 7);
            if converts && !to_vector || moves {
                with_zero(rd)
            } else {
                0
            }
        }
        4 | 6 | 12 | 14 => loads(word, rd, rn),
        _ => 0,
    }
}

/// What loads, stores and atomic instructions write.
const fn loads(word: u32, rt: u32, rn: u32) -> u32 {
    let general = field(word, 26, 1) == 0;
    let target = if general { with_zero(rt) } else { 0 };
    let base = with_sp(rn);
    if is_pair(word) {
        let loads = general && field(word, 22, 1) == 1;
        let loaded = if loads {
            target | with_zero(field(word, 10, 5))
        } else {
            0
        };
        return loaded | if field(word, 23, 1) == 1 { base } else { 0 };
    }
    let loaded = if field(word, 22, 2) == 0 { 0 } else { target };
    if is_scaled(word) {
        return loaded;
    }
    if is_unscaled(word) {
        return loaded | if field(word, 10, 1) == 1 { base } else { 0 };
    }
    match (word & 0x3b00_0000, word & 0x0020_0c00) {
        // With a register as offset; relative to the pc.
        (0x3800_0000, 0x0020_0800) => loaded,
        (0x1800_0000, _) => target,
        // Atomic; ordered with an offset; authenticated.
        (0x3800_0000, 0x0020_0000) => target,
        (0x1900_0000, 0) if field(word, 30, 2) != 3 || field(word, 22, 2) < 2 => loaded,
        (0x3800_0000, _) => target | if field(word, 11, 1) == 1 { base } else { 0 },
        // Structures of vectors: bit 23 adds to the base.
        _ if word & 0xbe00_0000 == 0x0c00_0000 => {
            if field(word, 23, 1) == 1 {
                base
            } else {
                0
            }
        }
        // Exclusive ones; copies of memory, tags.
        _ => {
            let others = with_zero(field(word, 16, 5)) | with_zero(field(word, 10, 5));
            let exclusive = word & 0x3f00_0000 == 0x0800_0000;
            target | others | if exclusive { 0 } else { base }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_write_a_general_register_or_a_vector() {
        let writes_x30 = |word| Instruction::decode(word).writes == 1 << 30;
        // fmov x30, d1; fcvtzs x30, d0; the same with 3 bits behind the point; fcvtas; fcvtmu; fmov x30, v0.d[1]; fjcvtzs;
        // mov x30, v0.d[0].
        for word in [
            0x9e66_003e,
            0x9e78_001e,
            0x9e58_f41e,
            0x9e64_001e,
            0x1e31_001e,
            0x9eae_001e,
            0x1e7e_001e,
            0x4e08_3c1e,
        ] {
            assert!(writes_x30(word), "{word:#x}");
        }
        // fmov d30, x1; scvtf d30, w0; ucvtf d30, x0; scvtf d30, x0, #3; fmov v30.d[1], x0.
        for word in [
            0x9e67_003e,
            0x1e62_001e,
            0x9e63_001e,
            0x9e42_f41e,
            0x9eaf_001e,
        ] {
            assert_eq!(Instruction::decode(word).writes, 0, "{word:#x}");
        }
    }
}

//! Return addresses with signatures and tags in them (pointer authentication of aarch64).

use std::collections::HashMap;

use profiler_common::unwind::{
    Aarch64, AddressMask, CfaKind, Memory, Outcome, Registers, Rule, SavedKind, Slot, Step,
    frame_pointer_step, step,
};
use proptest::prelude::*;

/// What `xpaclri` leaves of a user address on a kernel whose addresses have so many bits: bits 63 to 56 are a
/// tag, 55 says which half, the signature is below ("Arm Architecture Reference Manual", `AArch64.Strip`).
const fn strip(value: u64, address_bits: u32) -> u64 {
    value & (0xff << 56 | 1 << 55 | ((1 << address_bits) - 1))
}

/// What the agent learns on such a kernel.
const fn learned(address_bits: u32) -> AddressMask {
    AddressMask::aarch64(strip(AddressMask::AARCH64_UNSTRIPPED, address_bits))
}

struct Words(HashMap<u64, u64>, AddressMask);

impl Memory for Words {
    fn address_mask(&self) -> AddressMask {
        self.1
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.0.get(&address).copied()
    }
    fn interrupted_register(&mut self, _: u8) -> Option<u64> {
        None
    }
}

const CALLER: u64 = 0xffff_9000_1234;
/// The same with a signature from bit 48 to 54, and a tag.
const SIGNED: u64 = 0x2a53_ffff_9000_1234;

fn leaf(link_register: u64, frame_pointer: u64) -> Registers {
    Registers {
        pc: 0xaaaa_0000_1000,
        stack_pointer: 0x1000,
        frame_pointer: Slot::value(frame_pointer),
        base_register: Slot::lost(),
        link_register,
        interrupted: Registers::LEAF,
        called_leaf: 0,
    }
}

#[test]
fn the_caller_is_found_behind_its_signature_wherever_it_is_kept() {
    let mask = learned(48);
    let mut memory = Words(HashMap::from([(0x1008, SIGNED), (0x1000, 0x2000)]), mask);
    let on_the_stack = Rule {
        cfa_register: 31,
        cfa_offset: 16,
        return_address: SavedKind::AtCfa as u8,
        return_address_offset: -8,
        ..Rule::of(CfaKind::Register)
    };
    let in_its_register = Rule {
        cfa_register: 31,
        ..Rule::of(CfaKind::Register)
    };
    let mut registers = leaf(0, 0);
    let stepped = step::<Aarch64, _>(&mut registers, &on_the_stack, &mut memory);
    assert_eq!((stepped, registers.pc), (Step::Caller, CALLER));
    let mut registers = leaf(SIGNED, 0);
    let stepped = step::<Aarch64, _>(&mut registers, &in_its_register, &mut memory);
    assert_eq!((stepped, registers.pc), (Step::Caller, CALLER));
    let mut registers = leaf(0, 0x1000);
    let stepped = frame_pointer_step::<Aarch64, _>(&mut registers, Outcome::NoRule, &mut memory);
    assert_eq!((stepped, registers.pc), (Step::Caller, CALLER));
}

#[test]
fn a_signature_of_nothing_is_the_root() {
    let mut memory = Words(HashMap::new(), learned(52));
    let mut registers = leaf(0x0070_0000_0000_0000, 0);
    let rule = Rule {
        cfa_register: 31,
        ..Rule::of(CfaKind::Register)
    };
    let stepped = step::<Aarch64, _>(&mut registers, &rule, &mut memory);
    assert_eq!(stepped, Step::End(Outcome::Root));
}

#[test]
fn where_nothing_is_signed_only_the_tag_goes() {
    let mask = AddressMask::aarch64(AddressMask::AARCH64_UNSTRIPPED);
    assert_eq!(mask.address(SIGNED), 0x0053_ffff_9000_1234);
    assert_eq!(AddressMask::X86_64.address(CALLER), CALLER);
}

proptest! {
    /// Every user address comes out as it was signed, on kernels with any width of addresses.
    #[test]
    fn what_was_signed_is_found(address_bits in 36_u32..=52, random in any::<[u64; 3]>()) {
        let address = random[0] & ((1 << address_bits) - 1);
        let signature = random[1] & AddressMask::AARCH64_UNSTRIPPED & !((1 << address_bits) - 1);
        let signed = address | signature | random[2] << 56;
        let mask = learned(address_bits);
        prop_assert_eq!(mask.address(signed), address);
        prop_assert_eq!(mask.address(address), address);
        prop_assert_eq!(AddressMask::from_bits(mask.bits()), mask);
        // As the CPU strips it, but for the tag.
        prop_assert_eq!(mask.address(signed), strip(signed, address_bits) & !(0xff << 56));
    }

    /// An address of the kernel's half never becomes one of a program's.
    #[test]
    fn the_kernel_s_half_stays_apart(address_bits in 36_u32..=55, random in any::<u64>()) {
        let stored = random | 1 << 55;
        prop_assert!(learned(address_bits).address(stored) >= 1 << 55);
    }
}

//! User registers of the interrupted task, by their DWARF numbers.

#[cfg(bpf_target_arch = "aarch64")]
mod aarch64;
#[cfg(bpf_target_arch = "x86_64")]
mod x86_64;

#[cfg(bpf_target_arch = "aarch64")]
pub use aarch64::{
    Machine, REGISTERS, STACK_POINTER, UserRegisters, from_context, from_known, go_running,
    interrupted_pc, is_compat, pc, registers,
};
#[cfg(bpf_target_arch = "x86_64")]
pub use x86_64::{
    Machine, REGISTERS, STACK_POINTER, UserRegisters, from_context, from_known, go_running,
    interrupted_pc, is_compat, pc, registers,
};

//! Where programs keep what they say of the request that a thread works for: exported thread-local
//! variables ("ELF Handling For Thread-Local Storage"; OTEP 4947). It lies below the stages: `inspect`
//! asks about files and processes, and `app` tells the kernel side.
//!
//! | the variable is in | found through | place |
//! |---|---|---|
//! | the program | its symbol and `PT_TLS` | fixed distance from the thread pointer |
//! | a library that was there at the start | the word that a `TPOFF` relocation set | the same |
//! | any library | the pair that `DTPMOD` and `DTPOFF` relocations set | block of a module |
//! | any library | the descriptor that a `TLSDESC` relocation set | one or the other |
//!
//! [`file`] says what a file declares, [`process`] where it came to lie in a process, from the words that
//! the dynamic linker wrote there. Both are pure over what they read ([`Source`](crate::elf::Source), [`ReadAt`](crate::elf::ReadAt)), and bound it.

pub mod file;
mod memory;
pub mod process;
mod slot;

pub use file::{Absent, CLibrary, Declared, Facts, Slot, SlotKind, Variable, facts_of};
pub use memory::ProcessMemory;
pub use process::{Place, Resolved, Role, Unresolved, place, resolve};

//! What a Go executable says about its code: its line table (`pclntab`), which the runtime's own
//! tracebacks read and which `strip` leaves alone. It lies below the stages because two of them need
//! it: unwinding the stack pointer's deltas, naming the functions, lines and inlined calls.
//!
//! ```text
//! pcHeader     magic, instruction quantum, pointer size, counts, offsets of the parts   `header`
//!   names      zero-terminated
//!   cutab      file number within a compilation unit -> offset into files (u32)
//!   files      zero-terminated
//!   pctab      (value delta, address delta) pairs, as varints                           `pc_values`
//!   ftab       (entry, offset of the function's record), sorted by entry; one end entry `table`
//!   records    name, start line, function id, flags, offsets into pctab and funcdata    `function`
//! funcdata     per function; number 3 is its inline tree                                `inline`
//! moduledata   in writable memory: where text and funcdata start                        `module_data`
//! ```
//!
//! | Go | magic | what differs |
//! |---|---|---|
//! | 1.2-1.15 | `0xfffffffb` | refused: another table |
//! | 1.16, 1.17 | `0xfffffffa` | entries and funcdata are addresses; inline entries of 20 bytes |
//! | 1.18, 1.19 | `0xfffffff0` | entries are offsets from text, funcdata from `moduledata.gofunc` |
//! | 1.20- | `0xfffffff1` | start lines; inline entries of 16 bytes |
//!
//! The text's start is in the header up to 1.25 and in moduledata always; both are pointers, so in
//! position-independent files they may exist in relocations alone ([`elf`]).
//!
//! Everything is read in place from the file's bytes and bounded: nothing is allocated but a location's
//! frames. What a version moved (the offset of `gofunc`, the id of wrappers) is checked against the data
//! or found in it, so a newer Go loses inlined calls at worst, and says so.

mod build_info;
mod elf;
mod find;
mod function;
mod header;
mod inline;
mod malformed;
mod module_data;
mod pc_values;
pub mod runtime;
mod table;
mod version;

#[cfg(test)]
mod tests;

pub use build_info::version_of;
pub use find::is_go;
pub use function::{Function, FunctionFlags};
pub use inline::{Frame, Frames, Steps};
pub use malformed::{Malformed, Refusal};
pub use pc_values::PcValues;
pub use runtime::{ElfRange, Origin, Runtime, Slot, runtime_of};
pub use table::{Layout, LineTable};
pub use version::Version;

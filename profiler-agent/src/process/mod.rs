//! Processes, their mappings and executables.
//!
//! [`table::ProcessTable`] is the stage: side-band events go in ([`ProcessTable::apply`]), samples
//! come out located ([`ProcessTable::locate`]), and what changed is told to whom publishes it. What
//! it must ask of the machine it asks a [`Reader`], which [`scan::ProcFs`] answers from /proc with
//! the cache of opened files, [`executables::Executables`]. Beside it, [`KernelCodeTable`] follows what code the kernel makes.
//!
//! Pure: `cgroup`, `elf`, `kernel_code` but for its list, `maps`, `mappings`, `stat`, and the table over its reader.

pub mod cgroup;
pub mod elf;
pub mod executables;
mod history;
pub mod kernel_code;
mod listing;
mod locate;
pub mod mappings;
pub mod maps;
pub mod reader;
pub mod scan;
pub mod stat;
pub mod table;
mod text;
pub mod vdso;

pub use executables::{Executables, Limits, MappedFile};
pub use kernel_code::KernelCodeTable;
pub use locate::frames_of;
pub use mappings::MappingSet;
pub use reader::{FoundProcess, Reader};
pub use scan::ProcFs;
pub use table::ProcessTable;

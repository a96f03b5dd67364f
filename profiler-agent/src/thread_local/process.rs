//! Where a variable came to lie in a process, from the words that the dynamic linker wrote.

use profiler_common::layout::{RuntimeEntry, ThreadLocal};

use super::file::{CLibrary, Declared, Facts, SlotKind, Variable};
use crate::elf::ReadAt;

/// What a file is to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The program.
    Program,
    /// A library.
    Library {
        /// Added (wrapping) to an address of the file it gives the one in the process.
        bias: u64,
    },
}

/// Why the place of a variable is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The library does not use its own variable by any way that leaves a trace.
    #[error("no relocation names the variable")]
    NoSlot,
    /// The dynamic linker is not done (or the memory is not what the file says), or nothing is known of the
    /// program.
    #[error("the dynamic linker has not noted it")]
    NotYet,
    /// The memory cannot be read.
    #[error("the process's memory cannot be read")]
    Unreadable,
    /// A block of a module in a program whose C library is not known.
    #[error("unknown C library")]
    CLibrary,
}

/// The largest number of a module that is believed.
const MAX_MODULE: u64 = 1 << 16;
/// The largest distance within thread-local storage that is believed.
const MAX_DISTANCE: i64 = 1 << 30;
/// No memory of a process lies below (`vm.mmap_min_addr`).
const LOWEST_ADDRESS: i64 = 1 << 16;

/// The place of `declared` in a process with this `memory`.
///
/// # Errors
/// See [`Unresolved`]; trouble with one slot does not keep the next from being tried.
pub fn place<M: ReadAt + ?Sized>(
    declared: &Declared,
    role: Role,
    memory: &M,
) -> Result<ThreadLocal, Unresolved> {
    let Role::Library { bias } = role else {
        return Ok(fixed(declared.in_program));
    };
    let mut why = Unresolved::NoSlot;
    for slot in &declared.slots {
        let address = bias.wrapping_add(slot.address);
        let found = match slot.kind {
            SlotKind::ThreadPointerOffset => thread_pointer_offset(memory, address),
            SlotKind::ModuleAndOffset => module_and_offset(memory, address),
            SlotKind::OwnModule => own_module(memory, address, declared.offset),
            SlotKind::Descriptor => descriptor(memory, address),
        };
        match found {
            Ok(place) => return Ok(place),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

fn thread_pointer_offset<M: ReadAt + ?Sized>(
    memory: &M,
    address: u64,
) -> Result<ThreadLocal, Unresolved> {
    let word = memory.word(address).ok_or(Unresolved::Unreadable)?;
    let offset = word.cast_signed();
    if is_distance(offset) {
        Ok(fixed(offset))
    } else {
        Err(Unresolved::NotYet)
    }
}

fn module_and_offset<M: ReadAt + ?Sized>(
    memory: &M,
    address: u64,
) -> Result<ThreadLocal, Unresolved> {
    let pair: [u8; 16] = memory.array(address).ok_or(Unresolved::Unreadable)?;
    let (module, offset) = words(&pair);
    in_block(module, offset)
}

fn own_module<M: ReadAt + ?Sized>(
    memory: &M,
    address: u64,
    offset: u64,
) -> Result<ThreadLocal, Unresolved> {
    let module = memory.word(address).ok_or(Unresolved::Unreadable)?;
    in_block(module, offset)
}

/// A resolver and its argument: the distance from the thread pointer, or the address of a pair of module
/// and offset. Which of the two shows in what it is: addresses are not that close to zero.
fn descriptor<M: ReadAt + ?Sized>(memory: &M, address: u64) -> Result<ThreadLocal, Unresolved> {
    let pair: [u8; 16] = memory.array(address).ok_or(Unresolved::Unreadable)?;
    let (resolver, argument) = words(&pair);
    if resolver == 0 {
        return Err(Unresolved::NotYet);
    }
    let offset = argument.cast_signed();
    if offset >= LOWEST_ADDRESS
        && let Some(pair) = memory.array::<16>(argument)
        && let (module, offset) = words(&pair)
        && let Ok(place) = in_block(module, offset)
    {
        return Ok(place);
    }
    if is_distance(offset) {
        Ok(fixed(offset))
    } else {
        Err(Unresolved::NotYet)
    }
}

/// Thread-local storage lies below the thread pointer on x86_64, behind two words above it on aarch64.
const fn is_distance(offset: i64) -> bool {
    if cfg!(target_arch = "aarch64") {
        offset >= 16 && offset < MAX_DISTANCE
    } else {
        offset < 0 && offset > -MAX_DISTANCE
    }
}

fn in_block(module: u64, offset: u64) -> Result<ThreadLocal, Unresolved> {
    let offset = offset.cast_signed();
    if module == 0 || module > MAX_MODULE || !(0..MAX_DISTANCE).contains(&offset) {
        return Err(Unresolved::NotYet);
    }
    Ok(ThreadLocal {
        kind: ThreadLocal::DYNAMIC,
        offset,
        module,
        ..ThreadLocal::default()
    })
}

fn fixed(offset: i64) -> ThreadLocal {
    ThreadLocal {
        kind: ThreadLocal::STATIC,
        offset,
        ..ThreadLocal::default()
    }
}

fn words(pair: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*pair);
    (both as u64, (both >> 64) as u64)
}

/// Where a variable is in a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// No file defines it.
    #[default]
    Undefined,
    /// A file defines it; where it lies is not known.
    Unknown(Unresolved),
    /// Here.
    At(ThreadLocal),
}

/// Where the variables are in a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// `Variable::ThreadContext`.
    pub thread_context: Place,
    /// `Variable::Elastic`.
    pub elastic: Place,
    /// Whose vector of blocks the program has; `None` while nothing is known of the program.
    c_library: Option<Option<CLibrary>>,
}

/// Finds the variables of a process that maps these files.
pub fn resolve<'a, M: ReadAt + ?Sized>(
    files: impl Iterator<Item = (&'a Facts, Role)>,
    memory: &M,
) -> Resolved {
    let mut resolved = Resolved::default();
    for (facts, role) in files {
        if role == Role::Program {
            resolved.c_library = Some(facts.interpreter);
        }
        for variable in Variable::ALL {
            let found = match variable {
                Variable::ThreadContext => &mut resolved.thread_context,
                Variable::Elastic => &mut resolved.elastic,
            };
            // The program's own definition comes before those of its libraries.
            let settled = matches!(found, Place::At(_)) && role != Role::Program;
            if let Some(declared) = facts.declared(variable).filter(|_| !settled) {
                *found = match place(declared, role, memory) {
                    Ok(place) => Place::At(place),
                    Err(reason) => Place::Unknown(reason),
                };
            }
        }
    }
    resolved.require_c_library();
    resolved
}

impl Resolved {
    /// Blocks of modules are found through a vector whose layout is the C library's.
    fn require_c_library(&mut self) {
        let reason = match self.c_library {
            Some(Some(_)) => return,
            Some(None) => Unresolved::CLibrary,
            None => Unresolved::NotYet,
        };
        for place in [&mut self.thread_context, &mut self.elastic] {
            if matches!(place, Place::At(at) if at.kind == ThreadLocal::DYNAMIC) {
                *place = Place::Unknown(reason);
            }
        }
    }

    /// Is nothing known of the process?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let known = |place| matches!(place, Place::At(_));
        !known(self.thread_context) && !known(self.elastic)
    }

    /// Is it worth to look again a little later?
    #[must_use]
    pub fn is_pending(&self) -> bool {
        [self.thread_context, self.elastic].contains(&Place::Unknown(Unresolved::NotYet))
    }

    /// Why a variable that the process has was not found.
    pub fn unresolved(&self) -> impl Iterator<Item = (Variable, Unresolved)> {
        let places = [self.thread_context, self.elastic];
        Variable::ALL
            .into_iter()
            .zip(places)
            .filter_map(|(variable, place)| match place {
                Place::Unknown(reason) => Some((variable, reason)),
                Place::Undefined | Place::At(_) => None,
            })
    }

    /// Writes what is known into a process's entry.
    pub fn write(&self, entry: &mut RuntimeEntry) {
        let at = |place| match place {
            Place::At(place) => place,
            Place::Undefined | Place::Unknown(_) => ThreadLocal::default(),
        };
        entry.thread_context = at(self.thread_context);
        entry.elastic = at(self.elastic);
        let aarch64 = cfg!(target_arch = "aarch64");
        (entry.vector_stride, entry.vector_offset) = match self.c_library.flatten() {
            Some(CLibrary::Gnu) => (16, if aarch64 { 0 } else { 8 }),
            Some(CLibrary::Musl) => (8, if aarch64 { -8 } else { 8 }),
            None => (0, 0),
        };
    }
}

#[cfg(test)]
mod tests;

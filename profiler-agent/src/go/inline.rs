//! The functions at an address: what is inlined there, innermost first, then the function that has the
//! code. The way is the runtime's (`inlineUnwinder`): the index at an address names the innermost call;
//! the line of a call is that of its parent address, whose index names the next.
//!
//! An entry of the tree, by offset:
//!
//! | what | 1.16-1.19 (20 bytes) | 1.20- (16 bytes) |
//! |---|---|---|
//! | function id | 2 | 0 |
//! | offset of the name | 12 | 4 |
//! | parent address, from the entry | 16 | 8 |
//! | start line | - | 12 |

use super::function::Function;
use super::header::Format;
use super::malformed::Malformed;
use super::pc_values::PcValues;
use crate::elf::ReadAt as _;
use crate::profile::ElfAddress;

/// Calls that are inlined into each other at most; the compiler's budget ends far before.
const MAX_DEPTH: usize = 256;

/// How many ranges of tables may be walked yet.
#[derive(Clone, Copy, Debug)]
pub struct Steps(pub u64);

/// One function at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'data> {
    /// Its name, with all type arguments.
    pub name: &'data [u8],
    /// The file; `None` where unknown.
    pub file: Option<&'data [u8]>,
    /// The line; 0 where unknown.
    pub line: u32,
    /// Line of its `func`; 0 where unknown.
    pub start_line: u32,
    /// Was it made by the compiler, to call another function in another way? Such frames are in the
    /// list only where there is no other.
    pub wrapper: bool,
}

/// The functions at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames<'data> {
    /// Innermost first; empty only where the function has no name.
    pub frames: Vec<Frame<'data>>,
    /// What could not be read of them.
    pub malformed: Option<Malformed>,
}

/// An entry of an inline tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: u8,
    pub(super) name: i32,
    pub(super) parent: i32,
    pub(super) start_line: u32,
}

impl Call {
    pub(super) fn read(format: Format, tree: &[u8], index: i32) -> Option<Self> {
        let index = usize::try_from(index).ok()?;
        let number = |entry: &[u8], at| Some(entry.half_word(at)?.cast_signed());
        if format < Format::Go120 {
            let entry = tree.get(index.checked_mul(20)?..)?.get(..20)?;
            Some(Self {
                id: entry[2],
                name: number(entry, 12)?,
                parent: number(entry, 16)?,
                start_line: 0,
            })
        } else {
            let entry = tree.get(index.checked_mul(16)?..)?.get(..16)?;
            Some(Self {
                id: entry[0],
                name: number(entry, 4)?,
                parent: number(entry, 8)?,
                start_line: u32::try_from(number(entry, 12)?).unwrap_or(0),
            })
        }
    }
}

impl<'data> Function<'data> {
    /// The functions at `address` (of an instruction: for a call, not where it returns to).
    #[must_use]
    pub fn frames(&self, address: ElfAddress, steps: &mut Steps) -> Frames<'data> {
        let mut frames = Vec::new();
        let malformed = match self.inlined(address, steps, &mut frames) {
            Ok(outer) => self.push_own(outer, steps, &mut frames).err(),
            Err(malformed) => {
                // The calls that were found may be no callers of each other.
                frames.clear();
                let own = self.push_own(address, steps, &mut frames);
                Some(own.err().unwrap_or(malformed))
            }
        };
        Frames { frames, malformed }
    }

    /// Puts the inlined calls at `address` into `frames`; the address of the outermost one in the
    /// function itself.
    fn inlined(
        &self,
        mut address: ElfAddress,
        steps: &mut Steps,
        frames: &mut Vec<Frame<'data>>,
    ) -> Result<ElfAddress, Malformed> {
        let Some(tree) = self.inline_tree()? else {
            return Ok(address);
        };
        for _ in 0..MAX_DEPTH {
            let index = at(self.inline_indices(), address, steps)?.unwrap_or(-1);
            if index < 0 {
                return Ok(address);
            }
            let call = Call::read(self.table.header.format, tree, index);
            let call = call.ok_or(Malformed::InlineTree)?;
            // No wrapper calls a function that panics when it is inlined: the runtime hides them all.
            if call.id != self.table.layout.wrapper {
                let name = self.table.name(call.name).ok_or(Malformed::InlineTree)?;
                let (file, line) = self.position(address, steps)?;
                frames.push(Frame {
                    name,
                    file,
                    line,
                    start_line: call.start_line,
                    wrapper: false,
                });
            }
            address = ElfAddress(self.entry.wrapping_add_signed(i64::from(call.parent)));
        }
        Err(Malformed::InlineTree)
    }

    fn push_own(
        &self,
        address: ElfAddress,
        steps: &mut Steps,
        frames: &mut Vec<Frame<'data>>,
    ) -> Result<(), Malformed> {
        let wrapper = self.id() == self.table.layout.wrapper;
        if wrapper && !frames.is_empty() {
            return Ok(());
        }
        let name = self.name().ok_or(Malformed::Function)?;
        let position = self.position(address, steps);
        let (file, line) = position.unwrap_or((None, 0));
        frames.push(Frame {
            name,
            file,
            line,
            start_line: self.start_line(),
            wrapper,
        });
        position.map(|_| ())
    }

    fn position(
        &self,
        address: ElfAddress,
        steps: &mut Steps,
    ) -> Result<(Option<&'data [u8]>, u32), Malformed> {
        let file = at(self.files(), address, steps)?;
        let line = at(self.lines(), address, steps)?;
        Ok(match (file, line) {
            (Some(file), Some(line)) if file != -1 && line != -1 => {
                (self.file_name(file), u32::try_from(line).unwrap_or(0))
            }
            _ => (None, 0),
        })
    }
}

/// The value at `address`; like the runtime's, the first one for an address before the function.
fn at(
    values: PcValues<'_>,
    address: ElfAddress,
    steps: &mut Steps,
) -> Result<Option<i32>, Malformed> {
    for item in values {
        steps.0 = steps.0.checked_sub(1).ok_or(Malformed::Function)?;
        let (range, value) = item?;
        if address < range.end {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

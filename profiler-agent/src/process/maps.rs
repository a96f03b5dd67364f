//! Lines of /proc/PID/maps: pure, and total over any bytes.
//!
//! ```text
//! 7f3c1a000000-7f3c1a1d5000 r-xp 00028000 fe:01 1049   /usr/lib/libc.so.6
//! start-end (hex), permissions, offset (hex), major:minor (hex), inode, blanks, path or nothing
//! ```
//!
//! The path is the rest of the line; the kernel writes a newline in it as `\012`.
//!
//! A program may copy its code to memory of another kind, huge pages say, and put that where the code was: executable memory
//! of no file that lies between two mappings of one file, where a part of that file would fit, is that part ([`Lines`]).

use std::borrow::Cow;
use std::ops::Range;

use crate::profile::{FileOffset, VirtualAddress};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapsLine<'a> {
    /// Its addresses.
    pub range: Range<VirtualAddress>,
    /// Where in the file it starts.
    pub offset: FileOffset,
    /// Major number of the device of its file.
    pub major: u32,
    /// Minor number of the device of its file.
    pub minor: u32,
    /// Inode number of its file; 0 where there is none.
    pub inode: u64,
    /// The path as the reader's root sees it, or `[vdso]` and the like; empty for anonymous memory.
    pub path: Cow<'a, [u8]>,
}

impl MapsLine<'_> {
    /// The same without what it was read from.
    #[must_use]
    pub fn into_owned(self) -> MapsLine<'static> {
        MapsLine {
            path: self.path.into_owned().into(),
            ..self
        }
    }

    fn bytes(&self) -> u64 {
        self.range.end.0 - self.range.start.0
    }

    /// Is it memory of no file that a program asked for (`[vdso]` and the like are the kernel's)? It may have a name
    /// (`prctl(PR_SET_VMA_ANON_NAME)`) or be of huge pages.
    fn is_anonymous(&self) -> bool {
        let unnamed = self.path.is_empty() || self.path.starts_with(b"[anon:");
        self.inode == 0 && unnamed || *self.path == *b"/anon_hugepage (deleted)"
    }

    fn is_of_file_of(&self, other: &Self) -> bool {
        let file = |line: &Self| (line.major, line.minor, line.inode);
        self.inode != 0 && file(self) == file(other) && self.path == other.path
    }
}

/// The executable mapping that a line (without its newline) tells of; `None` when the mapping is not
/// executable or the line malformed.
#[must_use]
pub fn executable(line: &[u8]) -> Option<MapsLine<'_>> {
    // Nearly every line ends here.
    is_executable(line).then(|| any(line))?
}

fn is_executable(line: &[u8]) -> bool {
    split(line, b' ').is_some_and(|(_, rest)| rest.get(2) == Some(&b'x'))
}

/// The mapping that a line (without its newline) tells of.
fn any(line: &[u8]) -> Option<MapsLine<'_>> {
    let (range, rest) = split(line, b' ')?;
    let (_, rest) = split(rest, b' ')?;
    let (offset, rest) = split(rest, b' ')?;
    let (device, rest) = split(rest, b' ')?;
    let (inode, path) = split(rest, b' ').unwrap_or((rest, &[]));
    let (start, end) = split(range, b'-')?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    if start >= end {
        return None;
    }
    let (major, minor) = split(device, b':')?;
    Some(MapsLine {
        range: VirtualAddress(start)..VirtualAddress(end),
        offset: FileOffset(hexadecimal(offset)?),
        major: u32::try_from(hexadecimal(major)?).ok()?,
        minor: u32::try_from(hexadecimal(minor)?).ok()?,
        inode: std::str::from_utf8(inode).ok()?.parse().ok()?,
        path: unescape(path.trim_ascii_start()),
    })
}

/// What the lines of a process say one after the other.
#[derive(Debug, Default)]
pub struct Lines {
    /// The last line that is not in `pending`.
    before: Vec<u8>,
    /// Executable memory of no file behind it, one behind the other.
    pending: Vec<Range<VirtualAddress>>,
}

/// Executable mappings that have become known.
#[derive(Debug)]
pub enum Told<'a> {
    /// That of a line.
    Mapping(MapsLine<'a>),
    /// Memory of no file.
    Anonymous(Range<VirtualAddress>),
    /// Memory that stands for a part of a file.
    Copied {
        /// Where.
        range: Range<VirtualAddress>,
        /// The part begins there.
        offset: FileOffset,
        /// A mapping of the file.
        beside: &'a MapsLine<'a>,
    },
}

impl Lines {
    /// Takes in the next line (without its newline).
    pub fn take(&mut self, line: &[u8], mut tell: impl FnMut(Told<'_>)) {
        if !is_executable(line) {
            self.end_before(line, &mut tell);
        } else if let Some(mapping) = any(line) {
            if mapping.is_anonymous() {
                let follows = self
                    .pending
                    .last()
                    .is_none_or(|last| last.end == mapping.range.start);
                if !follows {
                    self.end(&mut tell);
                    self.before.clear();
                }
                return self.pending.push(mapping.range);
            }
            self.end_before(line, &mut tell);
            tell(Told::Mapping(mapping));
        } else {
            return;
        }
        self.before.clear();
        self.before.extend_from_slice(line);
    }

    /// There are no more lines.
    pub fn end(&mut self, mut tell: impl FnMut(Told<'_>)) {
        for range in self.pending.drain(..) {
            tell(Told::Anonymous(range));
        }
    }

    /// Tells of what is pending, behind which the mapping of `line` is.
    fn end_before(&mut self, line: &[u8], tell: &mut impl FnMut(Told<'_>)) {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else {
            return;
        };
        let whole = first.start..last.end;
        let between = any(&self.before).zip(any(line)).filter(|(before, behind)| {
            before.is_of_file_of(behind)
                && (before.range.end, behind.range.start) == (whole.start, whole.end)
                && before
                    .offset
                    .0
                    .checked_add(behind.range.start.0 - before.range.start.0)
                    == Some(behind.offset.0)
        });
        let Some((before, _)) = between else {
            return self.end(tell);
        };
        for range in self.pending.drain(..) {
            let offset = before.offset.0 + before.bytes() + (range.start.0 - whole.start.0);
            tell(Told::Copied {
                range,
                offset: FileOffset(offset),
                beside: &before,
            });
        }
    }
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..position], &bytes[position + 1..]))
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |value: u64, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

fn unescape(path: &[u8]) -> Cow<'_, [u8]> {
    const NEWLINE: &[u8] = b"\\012";
    if !path.windows(NEWLINE.len()).any(|window| window == NEWLINE) {
        return Cow::Borrowed(path);
    }
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(NEWLINE) {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(*byte);
            rest = after;
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Lines, MapsLine, Told, executable};
    use crate::profile::{FileOffset, VirtualAddress};

    #[test]
    fn the_fields_of_a_line() {
        let line =
            b"7f3c1a000000-7f3c1a1d5000 r-xp 00028000 fe:01 1049   /usr/lib/a b.so (deleted)";
        assert_eq!(
            executable(line),
            Some(MapsLine {
                range: VirtualAddress(0x7f3c_1a00_0000)..VirtualAddress(0x7f3c_1a1d_5000),
                offset: FileOffset(0x28000),
                major: 0xfe,
                minor: 1,
                inode: 1049,
                path: b"/usr/lib/a b.so (deleted)".as_slice().into(),
            })
        );
    }

    #[test]
    fn lines_without_a_path() {
        for line in [
            b"1000-2000 rwxp 00000000 00:00 0 ".as_slice(),
            b"1000-2000 rwxp 00000000 00:00 0",
        ] {
            assert_eq!(*executable(line).unwrap().path, *b"");
        }
    }

    #[test]
    fn a_newline_in_a_path_is_restored() {
        let line = b"1000-2000 r-xp 0 00:00 5 /tmp/a\\012b\\012\\01";
        assert_eq!(*executable(line).unwrap().path, *b"/tmp/a\nb\n\\01");
    }

    #[test]
    fn what_is_left_out() {
        for line in [
            b"1000-2000 rw-p 00000000 00:00 0".as_slice(),
            b"2000-1000 r-xp 00000000 00:00 0",
            b"1000-1000 r-xp 00000000 00:00 0",
            b"1000 r-xp 00000000 00:00 0",
            b"1000-20000000000000000 r-xp 00000000 00:00 0",
            b"1000-2000 r-xp 00000000 000000001:00 -1",
            b"1000-2000 r-xp",
            b"",
        ] {
            assert_eq!(executable(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    /// What is told of the lines, as text.
    fn told(lines: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        let mut tell = |told: Told<'_>| {
            all.push(match told {
                Told::Mapping(line) => format!("{:x} {:x}", line.range.start.0, line.offset.0),
                Told::Anonymous(range) => format!("{:x} anonymous", range.start.0),
                Told::Copied {
                    range,
                    offset,
                    beside,
                } => format!(
                    "{:x} {:x} as {:x}",
                    range.start.0, offset.0, beside.range.start.0
                ),
            });
        };
        let mut read = Lines::default();
        for line in lines {
            read.take(line.as_bytes(), &mut tell);
        }
        read.end(&mut tell);
        all
    }

    #[test]
    fn code_that_was_copied_is_the_file_s() {
        let head = "1000-2000 r--p 00000000 fe:01 7 /program";
        let copy = "2000-4000 r-xp 00000000 00:00 0";
        let more = "4000-5000 rwxp 00000000 00:00 0 ";
        let tail = "5000-6000 r--p 00004000 fe:01 7 /program";
        assert_eq!(
            told(&[head, copy, more, tail]),
            ["2000 1000 as 1000", "4000 3000 as 1000"]
        );
        // In the middle of what is still the file's.
        let before = "1000-2000 r-xp 00001000 fe:01 7 /program";
        let behind = "4000-5000 r-xp 00004000 fe:01 7 /program";
        assert_eq!(
            told(&[before, copy, behind]),
            ["1000 1000", "2000 2000 as 1000", "4000 4000"]
        );
        let other = "5000-6000 r--p 00004000 fe:01 8 /program";
        let elsewhere = "5000-6000 r--p 00005000 fe:01 7 /program";
        let gap = "3000-4000 r-xp 00000000 00:00 0";
        for lines in [
            vec![head, copy],
            vec![copy, more, tail],
            vec![head, copy, more, other],
            vec![head, copy, more, elsewhere],
            vec![head, copy, tail],
            vec![head, gap, more, tail],
            vec!["", copy, more, tail],
            vec![head, copy, more, "nonsense"],
        ] {
            let all = told(&lines);
            assert!(
                all.iter().all(|told| told.ends_with("anonymous")),
                "{lines:?}: {all:?}"
            );
            assert!(!all.is_empty(), "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(executable(&bytes));
            let mut lines = Lines::default();
            for line in bytes.split(|byte| *byte == b'\n') {
                lines.take(line, |_| {});
            }
        }
        #[test]
        fn nearly_a_line(line in "[0-9a-f]{0,17}-[0-9a-f]{0,17} r?.xp? ?[0-9a-f]{0,17} [0-9a-f:]{0,8} [0-9]{0,21} .{0,8}") {
            if let Some(line) = executable(line.as_bytes()) {
                prop_assert!(line.range.start < line.range.end);
            }
        }
    }
}

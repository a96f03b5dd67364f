//! Lines of /proc/PID/maps: pure, and total over any bytes.
//!
//! ```text
//! 7f3c1a000000-7f3c1a1d5000 r-xp 00028000 fe:01 1049   /usr/lib/libc.so.6
//! start-end (hex), permissions, offset (hex), major:minor (hex), inode, blanks, path or nothing
//! ```
//!
//! The path is the rest of the line; the kernel writes a newline in it as `\012`.

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

/// The executable mapping that a line (without its newline) tells of; `None` when the mapping is not
/// executable or the line malformed.
#[must_use]
pub fn executable(line: &[u8]) -> Option<MapsLine<'_>> {
    let (range, rest) = split(line, b' ')?;
    // Nearly every line ends here.
    if rest.get(2) != Some(&b'x') {
        return None;
    }
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

    use super::{MapsLine, executable};
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

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(executable(&bytes));
        }
        #[test]
        fn nearly_a_line(line in "[0-9a-f]{0,17}-[0-9a-f]{0,17} r?.xp? ?[0-9a-f]{0,17} [0-9a-f:]{0,8} [0-9]{0,21} .{0,8}") {
            if let Some(line) = executable(line.as_bytes()) {
                prop_assert!(line.range.start < line.range.end);
            }
        }
    }
}

//! Scan of a perf map: `/tmp/perf-PID.map`, the names that a JIT compiler gives to its code.
//!
//! One symbol a line, `START SIZE NAME`, both numbers hexadecimal (with or without `0x`), the name
//! up to the end of the line (linux `tools/perf/Documentation/jit-interface.txt`). Lines come in
//! the order of compilation: unsorted, and where ranges overlap the later line is right, because
//! its code replaced the earlier one's.
//!
//! The map is not kept: only a few addresses are asked for, so the text is scanned once for all of
//! them, chunk by chunk, and memory stays at one chunk and one name an address. A file is
//! untrusted: a line is cut at [`MAX_LINE`] bytes, a malformed one is counted and skipped.

use crate::profile::VirtualAddress;

/// Bytes of a line that are kept.
pub const MAX_LINE: usize = 4096;

/// Pairs of a line and an address that it covers that are looked at: in a map of a compiler a line covers
/// some of the asked addresses, in a hostile one every line covers all.
const MAX_COVERED: usize = 4 << 20;

/// Bytes of a name that cost as much as a pair.
const NAME_BYTES: usize = 64;

/// A scan in progress, for a set of addresses.
#[derive(Debug)]
pub struct PerfMapScan {
    /// Sorted, each once.
    addresses: Vec<u64>,
    names: Vec<Option<Box<[u8]>>>,
    /// The last line's beginning, where a chunk ended within it.
    partial: Vec<u8>,
    malformed: u64,
    covered: usize,
}

impl PerfMapScan {
    /// A scan for the names of `addresses`.
    pub fn new(addresses: impl IntoIterator<Item = VirtualAddress>) -> Self {
        let mut addresses: Vec<u64> = addresses.into_iter().map(|address| address.0).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Self {
            names: vec![None; addresses.len()],
            addresses,
            partial: Vec::new(),
            malformed: 0,
            covered: 0,
        }
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = chunk.split_at(end);
            chunk = &rest[1..];
            if self.partial.is_empty() {
                self.line(line);
            } else {
                self.keep(line);
                let line = std::mem::take(&mut self.partial);
                self.line(&line);
                self.partial = line;
                self.partial.clear();
            }
        }
        self.keep(chunk);
    }

    /// Ends the scan: the names found, by address, and the number of malformed lines. A last line
    /// without a line break counts: it may still be growing, but what it says so far is all there is.
    #[must_use]
    pub fn finish(mut self) -> PerfMapNames {
        let last = std::mem::take(&mut self.partial);
        if !last.is_empty() {
            self.line(&last);
        }
        PerfMapNames {
            names: self.addresses.into_iter().zip(self.names).collect(),
            malformed: self.malformed,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.partial.len());
        self.partial
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self, line: &[u8]) {
        let line = &line[..line.len().min(MAX_LINE)];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return;
        }
        let Some((start, size, name)) = parse_line(line) else {
            self.malformed += 1;
            return;
        };
        let end = start.saturating_add(size);
        let first = self.addresses.partition_point(|address| *address < start);
        for (address, found) in self.addresses[first..].iter().zip(&mut self.names[first..]) {
            if *address >= end {
                break;
            }
            self.covered += 1 + name.len() / NAME_BYTES;
            if self.covered > MAX_COVERED {
                self.malformed += 1;
                return;
            }
            *found = Some(name.into());
        }
    }
}

/// What a scan found.
#[derive(Debug)]
pub struct PerfMapNames {
    /// Sorted by address.
    names: Vec<(u64, Option<Box<[u8]>>)>,
    /// Lines that are no symbols.
    pub malformed: u64,
}

impl PerfMapNames {
    /// The name of the code at `address`.
    #[must_use]
    pub fn get(&self, address: VirtualAddress) -> Option<&[u8]> {
        let index = self
            .names
            .binary_search_by_key(&address.0, |(address, _)| *address)
            .ok()?;
        self.names[index].1.as_deref()
    }
}

/// `START SIZE NAME`; `None` for a line that is none.
fn parse_line(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (start, rest) = hexadecimal(line)?;
    let (size, name) = hexadecimal(rest)?;
    (!name.is_empty() && size > 0).then_some((start, size, name))
}

/// A hexadecimal number of at most 64 bits and the text behind the blanks that end it.
fn hexadecimal(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.trim_ascii_start();
    let text = text
        .strip_prefix(b"0x")
        .or_else(|| text.strip_prefix(b"0X"))
        .unwrap_or(text);
    let mut value: u64 = 0;
    for (index, byte) in text.iter().enumerate() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b' ' | b'\t' if index > 0 => return Some((value, text[index..].trim_ascii_start())),
            _ => return None,
        };
        if value >> 60 != 0 {
            return None;
        }
        value = value << 4 | u64::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, without regard to cost: the last line that contains the address.
    fn model(text: &str, address: u64) -> Option<String> {
        text.lines().rev().find_map(|line| {
            let mut parts = line.splitn(3, ' ');
            let start = u64::from_str_radix(parts.next()?, 16).ok()?;
            let size = u64::from_str_radix(parts.next()?, 16).ok()?;
            let name = parts.next().filter(|name| !name.is_empty())?;
            (start <= address && address - start < size).then(|| name.to_owned())
        })
    }

    fn scan(text: &[u8], addresses: &[u64], chunk: usize) -> PerfMapNames {
        let mut scan = PerfMapScan::new(addresses.iter().map(|a| VirtualAddress(*a)));
        text.chunks(chunk.max(1)).for_each(|chunk| scan.feed(chunk));
        scan.finish()
    }

    #[test]
    fn later_lines_win_and_names_keep_their_blanks() {
        let text = b"1000 100 first\n1080 10 LazyCompile:*f /a b.js:1:2\n0x1000 0x8 third\nnonsense\n2000 0 empty\n";
        let names = scan(
            text,
            &[0x1000, 0x1007, 0x1008, 0x1085, 0x1090, 0x1100, 0x2000],
            7,
        );
        let get = |address| {
            names
                .get(VirtualAddress(address))
                .map(String::from_utf8_lossy)
        };
        assert_eq!(get(0x1000).unwrap(), "third");
        assert_eq!(get(0x1007).unwrap(), "third");
        assert_eq!(get(0x1008).unwrap(), "first");
        assert_eq!(get(0x1085).unwrap(), "LazyCompile:*f /a b.js:1:2");
        assert_eq!(get(0x1090).unwrap(), "first");
        assert_eq!(get(0x1100), None);
        assert_eq!(get(0x2000), None);
        assert_eq!(names.malformed, 2);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut scan = PerfMapScan::new([VirtualAddress(0x10)]);
        scan.feed(b"10 10 ");
        for _ in 0..1000 {
            scan.feed(&[b'x'; 4096]);
            assert!(scan.partial.len() <= MAX_LINE);
        }
        scan.feed(b"\n20 10 next\n");
        let names = scan.finish();
        assert!(names.get(VirtualAddress(0x10)).unwrap().len() < MAX_LINE);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            lines in prop::collection::vec((0_u64..200, 0_u64..40, "[a-z: ]{0,6}[a-z]"), 0..40),
            addresses in prop::collection::vec(0_u64..260, 1..20),
            chunk in 1_usize..64,
        ) {
            let text: String = lines
                .iter()
                .map(|(start, size, name)| format!("{start:x} {size:x} {}\n", name.trim_start()))
                .collect();
            let names = scan(text.as_bytes(), &addresses, chunk);
            for address in addresses {
                let found = names.get(VirtualAddress(address)).map(|n| String::from_utf8_lossy(n).into_owned());
                prop_assert_eq!(found, model(&text, address));
            }
        }

        #[test]
        fn any_bytes_in_any_chunks_give_the_same_names(
            text in prop::collection::vec(prop_oneof![
                Just(b'\n'), Just(b' '), Just(b'0'), Just(b'f'), Just(b'x'), Just(b'\r'), any::<u8>()
            ], 0..600),
            addresses in prop::collection::vec(any::<u64>(), 0..5),
            chunk in 1_usize..64,
        ) {
            let mut addresses = addresses;
            addresses.extend([0, 0xf, 0xff, u64::MAX]);
            let whole = scan(&text, &addresses, usize::MAX);
            let parts = scan(&text, &addresses, chunk);
            prop_assert_eq!(whole.malformed, parts.malformed);
            for address in addresses {
                prop_assert_eq!(whole.get(VirtualAddress(address)), parts.get(VirtualAddress(address)));
            }
        }
    }
}

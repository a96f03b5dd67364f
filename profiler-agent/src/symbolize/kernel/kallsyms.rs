//! The kernel's symbols, compact: `/proc/kallsyms` is 5 MB of text, and what is asked of it is the
//! name before an address.
//!
//! A line is `ADDRESS TYPE NAME` with a blank and `\t[MODULE]` behind it where it belongs to a
//! module (linux `kernel/kallsyms.c`, `s_show`). Text symbols alone are kept (t, T, w, W): 8 bytes
//! an address, 4 for the name's place, and the names in one run of bytes; 2 MB for 60,000 symbols.
//! Code that the kernel makes while it runs is left out: `process/kernel_code.rs` knows when it is there. Where several symbols share an address the global one is kept, then the one with the fewest
//! leading underscores. `__pfx_` and `__cfi_` paddings are left out.

use std::ops::Range;

use hashbrown::HashMap;

use crate::profile::KernelAddress;

/// Farther than this behind the last symbol an address belongs to no symbol, where it is not known where the module ends.
const MAX_DISTANCE: u64 = 1 << 20;
/// Bytes of a name that are kept.
const MAX_NAME: usize = 512;

/// The symbols.
#[derive(Debug, Default)]
pub(super) struct Kallsyms {
    /// Sorted.
    addresses: Vec<u64>,
    /// Parallel to `addresses`: where in `names` it starts.
    places: Vec<u32>,
    /// Length byte pairs: name, module.
    names: Vec<u8>,
    /// Start and end of the kernel's own text (`_stext`, `_etext`), where they are listed.
    text: Option<(u64, u64)>,
    /// Where each module is (`super::modules`).
    modules: HashMap<Box<str>, Range<u64>>,
    /// Every address was zero: they are hidden from us.
    hidden: bool,
}

/// A symbol that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelSymbol<'a> {
    /// Where it starts.
    pub(super) start: KernelAddress,
    /// Its name.
    pub(super) name: &'a str,
    /// The module that it belongs to; `None` for the kernel itself.
    pub(super) module: Option<&'a str>,
}

/// Builds [`Kallsyms`] line by line.
#[derive(Debug, Default)]
pub(super) struct KallsymsBuilder {
    symbols: Vec<(u64, u8, u32)>,
    names: Vec<u8>,
    start: u64,
    end: u64,
    lines: usize,
    nonzero: bool,
}

impl KallsymsBuilder {
    /// Takes a line without its line break; what is no symbol is skipped.
    pub(super) fn line(&mut self, line: &str) {
        let mut parts = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else {
            return;
        };
        self.lines += 1;
        self.nonzero |= address != 0;
        match name {
            "_stext" => self.start = address,
            "_etext" => self.end = address,
            _ => {}
        }
        let global = matches!(kind, "T");
        if address == 0
            || !matches!(kind, "t" | "T" | "w" | "W")
            || name.starts_with("__pfx_")
            || name.starts_with("__cfi_")
            || self.symbols.len() >= 1 << 22
        {
            return;
        }
        let module = parts
            .next()
            .and_then(|module| module.strip_prefix('[')?.strip_suffix(']'))
            .unwrap_or("");
        if module == "bpf" || module.starts_with("__builtin__") {
            return;
        }
        let underscores = name
            .bytes()
            .take_while(|byte| *byte == b'_')
            .count()
            .min(100) as u8;
        let rank = underscores + if global { 0 } else { 101 };
        let Ok(place) = u32::try_from(self.names.len()) else {
            return;
        };
        for text in [name, module] {
            let text = &text[..text.floor_char_boundary(MAX_NAME)];
            self.names.extend((text.len() as u16).to_le_bytes());
            self.names.extend(text.as_bytes());
        }
        self.symbols.push((address, rank, place));
    }

    /// The symbols, sorted, one an address; with the addresses of the modules that there are.
    pub(super) fn finish(mut self, modules: HashMap<Box<str>, Range<u64>>) -> Kallsyms {
        self.symbols.sort_unstable();
        self.symbols.dedup_by_key(|(address, ..)| *address);
        self.names.shrink_to_fit();
        Kallsyms {
            addresses: self.symbols.iter().map(|(address, ..)| *address).collect(),
            places: self.symbols.iter().map(|(.., place)| *place).collect(),
            names: self.names,
            text: (0 < self.start && self.start < self.end).then_some((self.start, self.end)),
            modules,
            hidden: self.lines > 0 && !self.nonzero,
        }
    }
}

impl Kallsyms {
    /// The symbol that the code at `address` belongs to.
    pub(super) fn find(&self, address: KernelAddress) -> Option<KernelSymbol<'_>> {
        let index = self
            .addresses
            .partition_point(|start| *start <= address.0)
            .checked_sub(1)?;
        let start = self.addresses[index];
        let place = self.places[index] as usize;
        let (name, rest) = self.text_at(place)?;
        let (module, _) = self.text_at(rest)?;
        // What lies behind the last symbol of all that belongs together is something else.
        let end = match (self.modules.get(module), self.text) {
            (Some(range), _) if range.contains(&start) => range.end,
            (None, Some((first, end))) if module.is_empty() && (first..end).contains(&start) => end,
            _ => start.saturating_add(MAX_DISTANCE),
        };
        if address.0 >= end {
            return None;
        }
        Some(KernelSymbol {
            start: KernelAddress(start),
            name,
            module: (!module.is_empty()).then_some(module),
        })
    }

    fn text_at(&self, place: usize) -> Option<(&str, usize)> {
        let length = self.names.get(place..place + 2)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let end = place + 2 + length;
        let text = std::str::from_utf8(self.names.get(place + 2..end)?).ok()?;
        Some((text, end))
    }

    /// Start and end of the kernel's own text.
    pub(super) const fn text(&self) -> Option<(u64, u64)> {
        self.text
    }

    /// Are all addresses hidden (`kernel.kptr_restrict`, or no CAP_SYSLOG)?
    pub(super) const fn hidden(&self) -> bool {
        self.hidden
    }

    /// Bytes held.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.addresses.capacity() * 8 + self.places.capacity() * 4 + self.names.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Kallsyms {
        let mut builder = KallsymsBuilder::default();
        text.lines().for_each(|line| builder.line(line));
        builder.finish(HashMap::new())
    }

    #[test]
    fn nearest_text_symbol_with_its_module() {
        let symbols = parse(
            "ffffffff81000000 T _stext\nffffffff81000100 t __do_it\nffffffff81000100 T do_it\n\
             ffffffff81000100 W weak\nffffffff81000180 d data\nffffffff810001f0 t __pfx_next\n\
             ffffffff81000200 t next\nffffffff81900000 T _etext\n\
             ffffffffc0000000 t nft_do_chain\t[nf_tables]\nnot a line\n",
        );
        let find = |address| {
            symbols
                .find(KernelAddress(address))
                .map(|s| (s.name, s.module))
        };
        assert_eq!(find(0xffff_ffff_8100_0100), Some(("do_it", None)));
        assert_eq!(find(0xffff_ffff_8100_01ff), Some(("do_it", None)));
        assert_eq!(find(0xffff_ffff_8100_0200), Some(("next", None)));
        assert_eq!(
            find(0xffff_ffff_c000_0010),
            Some(("nft_do_chain", Some("nf_tables")))
        );
        assert_eq!(find(0xffff_ffff_8000_0000), None);
        assert_eq!(find(u64::MAX), None);
        assert_eq!(
            symbols.text(),
            Some((0xffff_ffff_8100_0000, 0xffff_ffff_8190_0000))
        );
        assert!(!symbols.hidden());
    }

    #[test]
    fn hidden_addresses_are_told_from_an_empty_file() {
        assert!(parse("0000000000000000 T _stext\n0000000000000000 T do_it\n").hidden());
        assert!(!parse("").hidden());
    }

    /// The running kernel's own list is the truth: the name before an address is one of the names
    /// at the greatest listed address that is not above it.
    #[test]
    fn agrees_with_the_running_kernel_and_is_small() {
        let text = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let symbols = parse(&text);
        if symbols.addresses.is_empty() {
            assert!(symbols.hidden() || text.is_empty());
            return;
        }
        assert!(symbols.bytes() < 5 << 20, "{} bytes", symbols.bytes());
        let mut listed = std::collections::BTreeMap::<u64, Vec<&str>>::new();
        for line in text.lines() {
            let mut parts = line.split_ascii_whitespace();
            let address = u64::from_str_radix(parts.next().unwrap(), 16).unwrap();
            // A BPF program that is unloaded while the list is read has an address and no name.
            let (Some(kind), Some(name)) = (parts.next(), parts.next()) else {
                continue;
            };
            if "tTwW".contains(kind) && !name.starts_with("__pfx_") && !name.starts_with("__cfi_") {
                listed.entry(address).or_default().push(name);
            }
        }
        for (address, names) in listed.iter().step_by(7) {
            let found = symbols.find(KernelAddress(*address)).unwrap();
            assert_eq!(found.start.0, *address);
            assert!(
                names.contains(&found.name),
                "{} not in {names:?}",
                found.name
            );
        }
    }
}

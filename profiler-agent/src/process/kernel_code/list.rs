//! The list that the kernel has of such code: lines of `/proc/kallsyms` whose module is none (linux `kernel/kallsyms.c`,
//! `get_ksymbol_bpf`, `get_ksymbol_ftrace_mod`, `get_ksymbol_kprobe`).

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use crate::profile::{KernelAddress, KernelCodeKind};

/// Bytes of the list that are read.
const MAX_LIST: u64 = 256 << 20;
/// Pieces of code that are read from it: one more than are kept, so that it shows when there are more.
const MAX_PIECES: usize = super::MAX_PIECES + 1;
/// Bytes of a name that are kept (`KSYM_NAME_LEN`).
const MAX_NAME: usize = 512;

/// A piece of code as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it starts.
    pub start: KernelAddress,
    /// What made it.
    pub kind: KernelCodeKind,
    /// Its symbol.
    pub name: Box<str>,
}

/// Has the kernel list its code, by address.
///
/// # Errors
/// The list cannot be read.
pub fn read() -> io::Result<Vec<Listed>> {
    let mut reader =
        BufReader::with_capacity(64 << 10, File::open("/proc/kallsyms")?.take(MAX_LIST));
    let mut list = Vec::new();
    let mut line = Vec::new();
    while list.len() < MAX_PIECES && reader.read_until(b'\n', &mut line)? > 0 {
        list.extend(parse(&line));
        line.clear();
    }
    list.sort_unstable_by_key(|listed| listed.start);
    list.dedup_by_key(|listed| listed.start);
    Ok(list)
}

/// The code that a line tells of; `None` for symbols of the kernel itself and of modules, and for addresses that are hidden.
fn parse(line: &[u8]) -> Option<Listed> {
    let line = line.trim_ascii_end();
    // Nearly all lines are the kernel's own.
    let open = line.strip_suffix(b"]")?;
    let kind = kind(&open[open.iter().rposition(|byte| *byte == b'[')? + 1..])?;
    let mut parts = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let start = u64::from_str_radix(parts.next()?, 16).ok()?;
    let (_, name) = (parts.next()?, parts.next()?);
    (start != 0).then(|| Listed {
        start: KernelAddress(start),
        kind,
        name: name[..name.floor_char_boundary(MAX_NAME)].into(),
    })
}

/// What made code that is listed under such a module.
fn kind(module: &[u8]) -> Option<KernelCodeKind> {
    if module == b"bpf" {
        Some(KernelCodeKind::Bpf)
    } else if module.starts_with(b"__builtin__") {
        Some(KernelCodeKind::Trampoline)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_no_module_is_told_from_what_does() {
        let parsed = |line: &str| parse(line.as_bytes());
        let program = "ffffffffc02a5c10 t bpf_prog_6deef7357e7b4530_alpha\t[bpf]\n";
        let expected = Listed {
            start: KernelAddress(0xffff_ffff_c02a_5c10),
            kind: KernelCodeKind::Bpf,
            name: "bpf_prog_6deef7357e7b4530_alpha".into(),
        };
        assert_eq!(parsed(program), Some(expected));
        let trampoline = "ffffffffc02a6000 t ftrace_trampoline\t[__builtin__ftrace]\n";
        let kind = parsed(trampoline).map(|listed| listed.kind);
        assert_eq!(kind, Some(KernelCodeKind::Trampoline));
        for other in [
            "ffffffff81000100 T do_it\n",
            "ffffffffc0000000 t nft_do_chain\t[nf_tables]\n",
            "0000000000000000 t bpf_prog_6deef7357e7b4530_alpha\t[bpf]\n",
            "bpf]\n",
            "[bpf]\n",
            "x t y\t[bpf]\n",
            "",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}

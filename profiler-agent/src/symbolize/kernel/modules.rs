//! Where modules are: `/proc/modules` (linux `kernel/module/procfs.c`, `m_show`), a line each,
//! `NAME BYTES REFERENCES USERS STATE ADDRESS [TAINTS]`. From Linux 6.4 on a module's bytes are in several places, of which
//! this one is its code's.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;

use hashbrown::HashMap;

/// Bytes of the list that are read.
const MAX_LIST: u64 = 1 << 20;

/// The list as it is now, but for how many use a module.
pub(super) fn read() -> io::Result<Vec<u8>> {
    let mut list = Vec::new();
    File::open("/proc/modules")?
        .take(MAX_LIST)
        .read_to_end(&mut list)?;
    Ok(settled(&list))
}

/// Names, sizes and addresses alone: the rest changes while a module is what it was.
fn settled(list: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(list.len());
    for line in list.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        let (Some(name), Some(bytes)) = (fields.next(), fields.next()) else {
            continue;
        };
        let address = fields.nth(3).unwrap_or_default();
        for field in [name, b" ", bytes, b" ", address, b"\n"] {
            kept.extend_from_slice(field);
        }
    }
    kept
}

/// The addresses of each module of what [`read`] gave; modules whose address is hidden have none.
pub(super) fn parse(settled: &[u8]) -> HashMap<Box<str>, Range<u64>> {
    let text = String::from_utf8_lossy(settled);
    let parse_line = |line: &str| {
        let mut fields = line.split(' ');
        let (name, bytes, address) = (fields.next()?, fields.next()?, fields.next()?);
        let start = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        let end = start.checked_add(bytes.parse().ok()?)?;
        (start != 0).then(|| (name.into(), start..end))
    };
    text.lines().filter_map(parse_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "nf_tables 303104 45 nft_ct,nft_compat, Live 0xffffffffc0a00000 (E)\n\
                        loop 40960 0 - Live 0xffffffffc0900000\n\
                        hidden 4096 0 - Live 0x0000000000000000\n\
                        odd\n";

    #[test]
    fn a_module_is_at_its_address() {
        let modules = parse(&settled(LIST.as_bytes()));
        let expected: HashMap<Box<str>, Range<u64>> = HashMap::from([
            (
                "nf_tables".into(),
                0xffff_ffff_c0a0_0000..0xffff_ffff_c0a4_a000,
            ),
            ("loop".into(), 0xffff_ffff_c090_0000..0xffff_ffff_c090_a000),
        ]);
        assert_eq!(modules, expected);
    }

    #[test]
    fn who_uses_a_module_is_no_change_of_it() {
        let used = LIST.replace("40960 0 -", "40960 1 -");
        assert_eq!(settled(used.as_bytes()), settled(LIST.as_bytes()));
        let moved = LIST.replace("c0900000", "c0908000");
        assert_ne!(settled(moved.as_bytes()), settled(LIST.as_bytes()));
    }
}

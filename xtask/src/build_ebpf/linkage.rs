//! Linkage of functions in an object's type information (`Documentation/bpf/btf.rst`).

use anyhow::{Context as _, Result, bail};

/// `BTF_KIND_FUNC`.
const FUNCTION: u32 = 12;

/// Makes the function `name` static in `btf`. The kernel verifies a global function by itself, not
/// knowing what its caller passes; but only a global one has a name that does not depend on where it
/// was built.
pub(super) fn make_static(btf: &mut [u8], name: &str) -> Result<()> {
    let header = word(btf, 4)? as usize;
    let (types, types_end) = part(btf, header, 8)?;
    let (strings, strings_end) = part(btf, header, 16)?;
    let mut wanted = name.as_bytes().to_vec();
    wanted.push(0);
    let mut position = types;
    while position < types_end {
        let (name_offset, info) = (word(btf, position)? as usize, word(btf, position + 4)?);
        let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let named = btf
            .get(strings + name_offset..strings_end)
            .is_some_and(|rest| rest.starts_with(&wanted));
        if kind == FUNCTION && named {
            btf[position + 4..position + 8].copy_from_slice(&(info & !0xffff).to_le_bytes());
            return Ok(());
        }
        position += 12
            + match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * members,
                6 | 13 => 8 * members,
                _ => 0,
            };
    }
    bail!("the object's type information has no function {name}")
}

/// Start and end of a part whose offset and length the header has at `at`.
fn part(btf: &[u8], header: usize, at: usize) -> Result<(usize, usize)> {
    let start = header + word(btf, at)? as usize;
    Ok((start, start + word(btf, at + 4)? as usize))
}

fn word(btf: &[u8], at: usize) -> Result<u32> {
    let bytes = btf
        .get(at..at + 4)
        .context("the type information is cut short")?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

//! What a table of abbreviations costs to parse: it may announce a million attributes that take no space, for
//! each of a file's units and entries.

use gimli::{EndianSlice, LittleEndian, Reader as _, constants as dw};

/// Attributes of one kind of entry. Compilers write up to some tens.
const MAX_ATTRIBUTES: usize = 256;

/// Kinds and attributes of the table that `section` begins with; `None` where it is malformed, a kind has more
/// attributes than any has, or there are more than `limit` of them.
pub(super) fn cost(mut section: EndianSlice<'_, LittleEndian>, limit: usize) -> Option<usize> {
    let mut cost = 0;
    while section.read_uleb128().ok()? != 0 {
        section.read_uleb128().ok()?;
        section.read_u8().ok()?;
        let kind = cost;
        loop {
            let name = section.read_uleb128().ok()?;
            let form = section.read_uleb128().ok()?;
            cost += 1;
            if (name, form) == (0, 0) {
                break;
            }
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                section.read_sleb128().ok()?;
            }
            if cost - kind > MAX_ATTRIBUTES || cost > limit {
                return None;
            }
        }
    }
    Some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(table: &[u8], limit: usize) -> Option<usize> {
        cost(EndianSlice::new(table, LittleEndian), limit)
    }

    #[test]
    fn kinds_and_attributes_are_counted_and_bounded() {
        // A unit with a name, and a kind with a constant that the table itself has.
        let table = b"\x01\x11\x01\x03\x08\0\0\x02\x34\0\x1c\x21\x7f\0\0\0behind";
        assert_eq!(of(table, 10), Some(4));
        assert_eq!(of(&table[..12], 10), None);
        let kinds = b"\x01\x11\x01\x03\x08\0\0".repeat(6);
        assert_eq!(of(&[&kinds[..], b"\0"].concat(), 10), None);
        let attributes = b"\xb7\x42\x19".repeat(1_000_000);
        let lying = [b"\x01\x11\x01", &attributes[..], b"\0\0\0"].concat();
        assert_eq!(of(&lying, usize::MAX), None);
    }
}

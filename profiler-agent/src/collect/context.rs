//! The entries behind a record's frames: the layout of `profiler_common::layout::context`. Pure.

use profiler_common::layout::context::{
    ENTRY_GOROUTINE, ENTRY_INCOMPLETE, ENTRY_LABEL, ENTRY_LINK, FLAG_CUT, FLAG_KEY_UNREAD,
    FLAG_VALUE_UNREAD, LINK_BYTES, LINK_ELASTIC, LINK_INSTRUMENTATION, LINK_THREAD_CONTEXT,
    MAX_KEY, MAX_LABELS, MAX_LINKS, MAX_VALUE, UNREAD_BYTES,
};

use super::decode::Malformed;
use crate::profile::{LabelPart, LinkSource, RawContext, RawLabel, UnreadText, VirtualAddress};

/// Decodes all entries.
pub(super) fn decode(mut bytes: &[u8]) -> Result<RawContext, Malformed> {
    let mut context = RawContext::default();
    while !bytes.is_empty() {
        let entry = Entry::take(&mut bytes).ok_or(Malformed::Context)?;
        match entry.kind {
            ENTRY_GOROUTINE => {
                let id = entry.value.try_into().map_err(|_| Malformed::Context)?;
                context.goroutine = Some(u64::from_ne_bytes(id));
            }
            ENTRY_LABEL => {
                let fits = entry.key.len() <= MAX_KEY && entry.value.len() <= MAX_VALUE;
                if !fits || context.labels.len() >= MAX_LABELS {
                    return Err(Malformed::Context);
                }
                let key = text(&mut context, &entry, LabelPart::Key)?;
                let value = text(&mut context, &entry, LabelPart::Value)?;
                context.labels.push(RawLabel {
                    key,
                    value,
                    cut: entry.flags & FLAG_CUT != 0,
                });
            }
            ENTRY_LINK => {
                let ids: [u8; LINK_BYTES] =
                    entry.value.try_into().map_err(|_| Malformed::Context)?;
                let source = match entry.flags {
                    LINK_THREAD_CONTEXT => LinkSource::ThreadContext,
                    LINK_ELASTIC => LinkSource::Elastic,
                    LINK_INSTRUMENTATION => LinkSource::Instrumentation,
                    _ => return Err(Malformed::Context),
                };
                if context.links.len() >= MAX_LINKS {
                    return Err(Malformed::Context);
                }
                context.links.push((source, ids));
            }
            ENTRY_INCOMPLETE => context.incomplete = true,
            _ => return Err(Malformed::Context),
        }
    }
    Ok(context)
}

/// A part of the next label; of one that could not be read nothing, and where it is goes to `context`.
fn text(
    context: &mut RawContext,
    entry: &Entry<'_>,
    part: LabelPart,
) -> Result<Box<[u8]>, Malformed> {
    let (bytes, flag, most) = match part {
        LabelPart::Key => (entry.key, FLAG_KEY_UNREAD, MAX_KEY),
        LabelPart::Value => (entry.value, FLAG_VALUE_UNREAD, MAX_VALUE),
    };
    if entry.flags & flag == 0 {
        return Ok(bytes.into());
    }
    let place: [u8; UNREAD_BYTES] = bytes.try_into().map_err(|_| Malformed::Context)?;
    let word = |at: usize| {
        let word: [u8; 8] = std::array::from_fn(|byte| place[at + byte]);
        u64::from_ne_bytes(word)
    };
    let length = u16::try_from(word(8)).map_err(|_| Malformed::Context)?;
    if usize::from(length) > most {
        return Err(Malformed::Context);
    }
    context.unread.push(UnreadText {
        label: context.labels.len(),
        part,
        address: VirtualAddress(word(0)),
        length,
    });
    Ok(Box::default())
}

struct Entry<'a> {
    kind: u8,
    flags: u8,
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<8>()?;
        let [kind, flags, k0, k1, v0, v1, _, _] = *header;
        let (key, rest) = padded(rest, u16::from_ne_bytes([k0, k1]))?;
        let (value, rest) = padded(rest, u16::from_ne_bytes([v0, v1]))?;
        *bytes = rest;
        Some(Self {
            kind,
            flags,
            key,
            value,
        })
    }
}

/// The first `length` bytes, and what follows their padding.
fn padded(bytes: &[u8], length: u16) -> Option<(&[u8], &[u8])> {
    let length = usize::from(length);
    let (padded, rest) = bytes.split_at_checked(length.next_multiple_of(8))?;
    Some((&padded[..length], rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(kind: u8, flags: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, flags];
        bytes.extend((key.len() as u16).to_ne_bytes());
        bytes.extend((value.len() as u16).to_ne_bytes());
        bytes.extend([0; 2]);
        for part in [key, value] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(8), 0xee);
        }
        bytes
    }

    #[test]
    fn every_kind_of_entry_is_read() {
        let bytes = [
            entry(ENTRY_GOROUTINE, 0, b"", &77u64.to_ne_bytes()),
            entry(ENTRY_LABEL, 0, b"endpoint", b"/cart"),
            entry(ENTRY_LABEL, FLAG_CUT, b"user", &[b'x'; MAX_VALUE]),
            entry(ENTRY_LINK, LINK_ELASTIC, b"", &[7; LINK_BYTES]),
            entry(ENTRY_INCOMPLETE, 0, b"", b""),
        ]
        .concat();
        let context = decode(&bytes).unwrap();
        assert_eq!(context.goroutine, Some(77));
        assert_eq!(&*context.labels[0].key, b"endpoint");
        assert_eq!(&*context.labels[0].value, b"/cart");
        assert_eq!(
            (context.labels[0].cut, context.labels[1].cut),
            (false, true)
        );
        assert_eq!(context.links, [(LinkSource::Elastic, [7; LINK_BYTES])]);
        assert!(context.incomplete);
    }

    fn place(address: u64, length: u64) -> Vec<u8> {
        [address.to_ne_bytes(), length.to_ne_bytes()].concat()
    }

    #[test]
    fn of_a_text_that_could_not_be_read_there_is_its_place() {
        let bytes = [
            entry(ENTRY_LABEL, 0, b"endpoint", b"/cart"),
            entry(ENTRY_LABEL, FLAG_VALUE_UNREAD, b"route", &place(0x5000, 13)),
            entry(ENTRY_LABEL, FLAG_KEY_UNREAD, &place(0x6000, 2), b"x"),
        ]
        .concat();
        let mut context = decode(&bytes).unwrap();
        let unread = |label, part, address, length| UnreadText {
            label,
            part,
            address: VirtualAddress(address),
            length,
        };
        let value = unread(1, LabelPart::Value, 0x5000, 13);
        let key = unread(2, LabelPart::Key, 0x6000, 2);
        assert_eq!(context.unread, [value, key]);
        context.set(value, b"/v1");
        context.unread = vec![key];
        context.give_up_unread();
        let labels = context.labels.iter();
        let labels: Vec<_> = labels.map(|label| (&*label.key, &*label.value)).collect();
        assert_eq!(
            labels,
            [(&b"endpoint"[..], &b"/cart"[..]), (b"route", b"/v1")]
        );
        assert!(context.incomplete);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bytes in [
            entry(9, 0, b"", b""),
            entry(ENTRY_GOROUTINE, 0, b"", b"short"),
            entry(ENTRY_LINK, LINK_ELASTIC, b"", b"short"),
            entry(ENTRY_LINK, 99, b"", &[7; LINK_BYTES]),
            entry(ENTRY_LABEL, 0, &[b'k'; MAX_KEY + 1], b""),
            entry(ENTRY_LABEL, FLAG_VALUE_UNREAD, b"k", b"short"),
            entry(
                ENTRY_LABEL,
                FLAG_KEY_UNREAD,
                &place(1, MAX_KEY as u64 + 1),
                b"",
            ),
            entry(ENTRY_LABEL, FLAG_VALUE_UNREAD, b"k", &place(1, u64::MAX)),
            entry(ENTRY_LABEL, 0, b"k", b"v").repeat(MAX_LABELS + 1),
            entry(ENTRY_LABEL, 0, b"k", b"v")[..20].to_vec(),
        ] {
            assert_eq!(decode(&bytes), Err(Malformed::Context), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes);
        }
    }
}

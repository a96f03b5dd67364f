//! Trace and span ids: as labels write them, and as records hold them.

use crate::profile::Link;

/// What the labels of one sample say of its request.
#[derive(Debug, Default)]
pub(super) struct Ids {
    trace_id: Option<[u8; 16]>,
    span_id: Option<[u8; 8]>,
    parent: Option<Link>,
    /// Labels that should be ids and are none.
    pub(super) malformed: u32,
}

impl Ids {
    /// Takes a label that is to be an id; `false` where it is a label as any other.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> bool {
        let well_formed = match key {
            b"trace_id" => keep(&mut self.trace_id, id(value)),
            b"span_id" => keep(&mut self.span_id, id(value)),
            b"traceparent" => keep(&mut self.parent, traceparent(value)),
            _ => return false,
        };
        self.malformed += u32::from(!well_formed);
        true
    }

    /// The link that they make: both ids, else a `traceparent`, else the id that there is.
    pub(super) fn link(&self) -> Option<Link> {
        match (self.trace_id, self.span_id) {
            (Some(trace_id), Some(span_id)) => Some(Link { trace_id, span_id }),
            (None, None) => self.parent,
            (trace_id, span_id) => self.parent.or(Some(Link {
                trace_id: trace_id.unwrap_or_default(),
                span_id: span_id.unwrap_or_default(),
            })),
        }
    }
}

/// Keeps the first well-formed value; was this one well-formed?
fn keep<T>(kept: &mut Option<T>, value: Option<T>) -> bool {
    let well_formed = value.is_some();
    if kept.is_none() {
        *kept = value;
    }
    well_formed
}

/// A link as a record holds it; `None` where one of its ids is all zero.
pub(super) fn of_record(bytes: &[u8; 24]) -> Option<Link> {
    let (trace_id, span_id) = bytes.split_first_chunk::<16>()?;
    let link = Link {
        trace_id: *trace_id,
        span_id: span_id.try_into().ok()?,
    };
    (link.trace_id != [0; 16] && link.span_id != [0; 8]).then_some(link)
}

/// `VERSION-TRACE-SPAN-FLAGS`. Version 00 ends there; a later one (not ff) may go on behind a dash.
fn traceparent(text: &[u8]) -> Option<Link> {
    let mut parts = text.split(|byte| *byte == b'-');
    let version: [u8; 1] = digits(parts.next()?)?;
    let trace_id = id(parts.next()?)?;
    let span_id = id(parts.next()?)?;
    let _flags: [u8; 1] = digits(parts.next()?)?;
    let ends = parts.next().is_none();
    let known = version == [0] && ends || version != [0] && version != [0xff];
    known.then_some(Link { trace_id, span_id })
}

/// An id in hexadecimal digits, not all of them zero.
fn id<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    digits(text).filter(|id| *id != [0; BYTES])
}

fn digits<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    if text.len() != BYTES * 2 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &[u8] = b"0af7651916cd43dd8448eb211c80319c";
    const SPAN: &[u8] = b"b7ad6b7169203331";

    fn link(labels: &[(&[u8], &[u8])]) -> (Option<Link>, u32) {
        let mut ids = Ids::default();
        for (key, value) in labels {
            assert!(ids.take(key, value));
        }
        (ids.link(), ids.malformed)
    }

    fn expected(trace: bool, span: bool) -> Link {
        let zero_unless = |given: bool, byte: u8| if given { byte } else { 0 };
        let trace_id = [
            0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80,
            0x31, 0x9c,
        ];
        let span_id = [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31];
        Link {
            trace_id: trace_id.map(|byte| zero_unless(trace, byte)),
            span_id: span_id.map(|byte| zero_unless(span, byte)),
        }
    }

    #[test]
    fn both_ids_or_one_make_a_link() {
        let both = link(&[(b"trace_id", TRACE), (b"span_id", SPAN)]);
        assert_eq!(both, (Some(expected(true, true)), 0));
        let span = link(&[(b"span_id", SPAN)]);
        assert_eq!(span, (Some(expected(false, true)), 0));
        let trace = link(&[(b"trace_id", TRACE)]);
        assert_eq!(trace, (Some(expected(true, false)), 0));
        assert!(!Ids::default().take(b"span_name", b"GET /cart"));
    }

    #[test]
    fn a_traceparent_makes_a_link() {
        let text = [b"00", TRACE, SPAN, b"01"].join(&b'-');
        let whole = Some(expected(true, true));
        assert_eq!(link(&[(b"traceparent", &text)]), (whole, 0));
        let later = [b"01", TRACE, SPAN, b"01", b"more"].join(&b'-');
        assert_eq!(link(&[(b"traceparent", &later)]), (whole, 0));
        // Half a link says less than a whole one.
        assert_eq!(
            link(&[(b"span_id", b"1111111111111111"), (b"traceparent", &text)]),
            (whole, 0)
        );
    }

    #[test]
    fn what_is_malformed_is_counted_and_makes_no_link() {
        let parent = |parts: [&[u8]; 4]| parts.join(&b'-');
        let zeros = [b'0'; 32];
        for (key, value) in [
            (&b"trace_id"[..], &b""[..]),
            (b"trace_id", &TRACE[1..]),
            (b"trace_id", &zeros),
            (b"trace_id", b"0af7651916cd43dd8448eb211c80319g"),
            (b"span_id", b"0000000000000000"),
            (b"span_id", TRACE),
            (b"span_id", b"+7ad6b7169203331"),
            (b"traceparent", TRACE),
            (b"traceparent", &parent([b"ff", TRACE, SPAN, b"01"])),
            (b"traceparent", &parent([b"00", TRACE, SPAN, b"01-more"])),
            (b"traceparent", &parent([b"00", &zeros, SPAN, b"01"])),
            (b"traceparent", &parent([b"00", TRACE, &zeros[..16], b"01"])),
            (b"traceparent", &parent([b"00", TRACE, SPAN, b"1"])),
        ] {
            let shown = String::from_utf8_lossy(value);
            assert_eq!(link(&[(key, value)]), (None, 1), "{shown}");
        }
    }

    #[test]
    fn a_record_of_zeros_is_none() {
        let mut bytes = [7; 24];
        assert_eq!(
            of_record(&bytes),
            Some(Link {
                trace_id: [7; 16],
                span_id: [7; 8]
            })
        );
        bytes[16..].fill(0);
        assert_eq!(of_record(&bytes), None);
        assert_eq!(of_record(&[0; 24]), None);
    }
}

use proptest::prelude::*;
use std::cell::Cell;

use super::*;

const HEADER: u64 = 0x1000;
const PAYLOAD: u64 = 0x2000;

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            text: Some(value.to_owned()),
            ..AnyValue::default()
        }),
    }
}

fn payload(attributes: Vec<KeyValue>) -> Vec<u8> {
    let resource = Some(Resource { attributes });
    ProcessContext { resource }.encode_to_vec()
}

fn header(version: u32, length: usize, published: u64) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend(version.to_ne_bytes());
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(published.to_ne_bytes());
    bytes.extend(PAYLOAD.to_ne_bytes());
    bytes
}

/// Memory with a header and a payload.
fn memory(header: Vec<u8>, payload: Vec<u8>) -> impl Fn(u64, &mut [u8]) -> bool {
    move |at, into| {
        let (start, bytes) = if at >= PAYLOAD {
            (PAYLOAD, &payload)
        } else {
            (HEADER, &header)
        };
        let found = at
            .checked_sub(start)
            .and_then(|at| bytes.get(at as usize..)?.get(..into.len()));
        if let Some(found) = found {
            into.copy_from_slice(found);
        }
        found.is_some()
    }
}

fn named(attributes: &[ResourceAttribute]) -> Vec<(&str, String)> {
    attributes
        .iter()
        .map(|attribute| (&*attribute.key, format!("{:?}", attribute.value)))
        .collect()
}

#[test]
fn attributes_are_read_sorted_and_once() {
    let number = KeyValue {
        key: "replica".to_owned(),
        value: Some(AnyValue {
            integer: Some(3),
            ..AnyValue::default()
        }),
    };
    let nothing = KeyValue {
        key: "empty".to_owned(),
        value: Some(AnyValue::default()),
    };
    let payload = payload(vec![
        text("service.name", "shop"),
        number,
        text("service.name", "other"),
        nothing,
        text("", "no key"),
        text("a", "1"),
    ]);
    let header = header(2, payload.len(), 77);
    let memory = memory(header, payload);
    let (published, attributes) = read(VirtualAddress(HEADER), &memory).unwrap();
    assert_eq!(published, Published(77));
    assert_eq!(
        named(&attributes),
        [
            ("a", "Text(\"1\")".to_owned()),
            ("replica", "Integer(3)".to_owned()),
            ("service.name", "Text(\"shop\")".to_owned()),
        ]
    );
}

/// What is there is read once, and what is malformed is refused once, until something else is published.
#[test]
fn each_publication_is_read_once() {
    let whole = payload(vec![text("service.name", "shop")]);
    let length = whole.len();
    let mut last = None;
    let mut look = |header: Vec<u8>| {
        let found = read_new(
            VirtualAddress(HEADER),
            &mut last,
            memory(header, whole.clone()),
        );
        found.map(|attributes| attributes.map(|attributes| attributes.len()))
    };
    let too_long = MAX_PAYLOAD + 1;
    for (length, published, expected) in [
        (length, 77, Ok(Some(1))),
        (length, 77, Ok(None)),
        (length - 1, 78, Err(Unpublished::Malformed)),
        (length - 1, 78, Ok(None)),
        (length - 1, 79, Err(Unpublished::Malformed)),
        (too_long as usize, 80, Err(Unpublished::TooLong(too_long))),
        (too_long as usize, 80, Ok(None)),
        // What could not be read is tried again.
        (length + 1, 81, Err(Unpublished::Absent)),
        (length + 1, 81, Err(Unpublished::Absent)),
        (length, 0, Err(Unpublished::Updating)),
        (length, 81, Ok(Some(1))),
        (length, 81, Ok(None)),
    ] {
        assert_eq!(look(header(2, length, published)), expected, "{published}");
    }
}

#[track_caller]
fn check(header: Vec<u8>, payload: Vec<u8>, expected: Unpublished) {
    let found = read(VirtualAddress(HEADER), memory(header, payload));
    assert_eq!(found.map(|_| ()), Err(expected));
}

#[test]
fn what_is_no_context_is_refused_with_its_reason() {
    let whole = payload(vec![text("service.name", "shop")]);
    let length = whole.len();
    check(header(1, length, 77), whole.clone(), Unpublished::Absent);
    check(header(2, length, 0), whole.clone(), Unpublished::Updating);
    check(
        header(2, length + 1, 77),
        whole.clone(),
        Unpublished::Absent,
    );
    check(
        header(2, length - 1, 77),
        whole.clone(),
        Unpublished::Malformed,
    );
    let much = MAX_PAYLOAD + 1;
    check(
        header(2, much as usize, 77),
        whole.clone(),
        Unpublished::TooLong(much),
    );
    let mut unsigned = header(2, length, 77);
    unsigned[0] = b'o';
    check(unsigned, whole, Unpublished::Absent);
}

#[test]
fn what_changes_while_it_is_read_is_not_believed() {
    let payload = payload(vec![text("service.name", "shop")]);
    let reads = Cell::new(0);
    let changing = |at: u64, into: &mut [u8]| {
        reads.set(reads.get() + 1);
        let header = header(2, payload.len(), 77 + reads.get());
        memory(header, payload.clone())(at, into)
    };
    let found = read(VirtualAddress(HEADER), changing);
    assert_eq!(found.map(|_| ()), Err(Unpublished::Updating));
}

#[test]
fn the_mapping_is_found_by_its_name() {
    for name in [
        "[anon_shmem:OTEL_CTX]",
        "[anon:OTEL_CTX]",
        "/memfd:OTEL_CTX (deleted)",
    ] {
        let line = format!("7f3c1a000000-7f3c1a001000 r--p 00000000 00:01 1049   {name}");
        assert_eq!(
            find(line.as_bytes()),
            Some(VirtualAddress(0x7f3c_1a00_0000))
        );
    }
    for name in ["", "/tmp/OTEL_CTX", "[anon:OTHER]", "[heap]"] {
        let line = format!("7f3c1a000000-7f3c1a001000 r--p 00000000 00:01 1049   {name}");
        assert_eq!(find(line.as_bytes()), None, "{name}");
    }
}

proptest! {
    #[test]
    fn any_payload_is_decoded_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(attributes) = decode(&bytes) {
            prop_assert!(attributes.len() <= MAX_ATTRIBUTES);
        }
    }

    #[test]
    fn any_line_is_read(line in "[0-9a-f]{0,17}-?[ -~]{0,30}(OTEL_CTX)?[ -~]{0,9}") {
        let _ = find(line.as_bytes());
    }
}

//! Answers of OTLP over HTTP: those that the specification lists, and others.

use std::time::Duration;

use hyper::body::Bytes;
use proptest::prelude::*;

use super::*;
use crate::export::otlp::grpc::tests::retry_info;
use crate::profile::UnixTime;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Answer {
    let map = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Answer {
        // 30 s before the date of RFC 9110's example.
        received: UnixTime(784_111_747 * 1_000_000_000),
        status: StatusCode::from_u16(status).unwrap(),
        headers: map.collect(),
        body: Bytes::copy_from_slice(body),
        trailers: HeaderMap::new(),
    }
}

fn of(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Delivery {
    outcome(&answer(status, headers, body))
}

const TYPE: (&str, &str) = ("content-type", "application/x-protobuf");

#[test]
fn the_path_follows_that_of_the_endpoint() {
    let of = |endpoint: &str, whole| {
        let path = path(&endpoint.parse().unwrap(), whole).unwrap();
        path.to_string()
    };
    assert_eq!(of("http://c:4318", false), "/v1development/profiles");
    assert_eq!(of("http://c/otlp/", false), "/otlp/v1development/profiles");
    assert_eq!(of("http://c/o?t=1", false), "/o/v1development/profiles?t=1");
    assert_eq!(of("http://c/in?t=1", true), "/in?t=1");
    assert_eq!(of("http://c", true), "/");
}

#[test]
fn success_may_be_partial() {
    assert_eq!(of(200, &[TYPE], b""), Delivery::Accepted);
    assert_eq!(of(204, &[], b""), Delivery::Accepted);
    assert_eq!(
        of(200, &[("content-type", "application/json")], b"{}"),
        Delivery::Accepted
    );
    // partial_success { rejected_profiles: 3, error_message: "old" }, by the published field numbers.
    let partial = [0x0a, 7, 0x08, 3, 0x12, 3, b'o', b'l', b'd'];
    let expected = Delivery::PartlyRejected {
        profiles: 3,
        message: "old".into(),
    };
    assert_eq!(of(200, &[TYPE], &partial), expected);
}

#[test]
fn what_is_no_receiver_has_nothing() {
    let page = [("content-type", "text/html; charset=utf-8")];
    for (headers, body) in [(&page[..], &b"<html>"[..]), (&[TYPE], b"\xff")] {
        let delivery = of(200, headers, body);
        assert!(
            matches!(delivery, Delivery::Retry { after: None, .. }),
            "{delivery:?}"
        );
    }
}

#[test]
fn statuses_are_sorted_as_the_specification_has_them() {
    for status in [429, 502, 503, 504] {
        let delivery = of(status, &[], b"later");
        assert!(
            matches!(delivery, Delivery::Retry { after: None, .. }),
            "{delivery:?}"
        );
    }
    for (status, words) in [
        (301, "endpoint"),
        (400, "Bad Request"),
        (401, "authorization"),
        (403, "authorization"),
        (404, "service.profilesSupport"),
        (405, "service.profilesSupport"),
        (413, "smaller requests"),
        (415, "compression"),
        (500, "Internal"),
        (501, "Not Implemented"),
    ] {
        let Delivery::Refused { message } = of(status, &[("location", "http://x/")], b"no") else {
            panic!("{status} is refused");
        };
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let after = |delivery| match delivery {
        Delivery::Retry { after, .. } => after,
        other => panic!("{other:?}"),
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(after(of(429, &[("retry-after", "7")], b"")), seconds(7));
    let date = ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(after(of(503, &[date], b"")), seconds(30));
    assert_eq!(after(of(503, &[("retry-after", "soon")], b"")), None);
    let info = retry_info();
    assert_eq!(
        after(of(503, &[TYPE], &info)),
        Some(Duration::from_millis(7_500))
    );
    // Both are floors.
    assert_eq!(after(of(503, &[TYPE, date], &info)), seconds(30));
}

#[test]
fn a_failure_says_what_the_receiver_says() {
    // google.rpc.Status { message: "bad\nindex" }
    let status = [&[0x12, 9][..], b"bad\nindex"].concat();
    let expected = Delivery::Refused {
        message: "HTTP 400 Bad Request: bad index".into(),
    };
    assert_eq!(of(400, &[TYPE], &status), expected);
    assert_eq!(
        of(400, &[("content-type", "text/plain")], b"bad\nindex"),
        expected
    );
    let Delivery::Refused { message } = of(400, &[], &[b'x'; 60_000]) else {
        panic!("refused");
    };
    assert!(message.len() < 600, "{}", message.len());
}

proptest! {
    #[test]
    fn no_answer_breaks_it(
        code in 100u16..999, body in prop::collection::vec(any::<u8>(), 0..80),
        kind in prop::sample::select(vec!["", "text/html", "application/x-protobuf"]), wait in "[ -~]{0,40}",
    ) {
        let delivery = of(code, &[("content-type", kind), ("retry-after", &wait)], &body);
        prop_assert!(delivery != Delivery::Accepted || (200..300).contains(&code));
    }
}

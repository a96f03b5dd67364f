//! Statuses as they stand in headers and trailers.

use hyper::body::Bytes;
use proptest::prelude::*;

use super::*;
use crate::profile::UnixTime;

/// `google.rpc.Status` with a `RetryInfo` of 7.5 s, written byte by byte from the published
/// field numbers.
pub(in crate::export::otlp) fn retry_info() -> Vec<u8> {
    let duration = [0x08, 7, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
    let info = [&[0x0a, duration.len() as u8][..], &duration].concat();
    let url = b"type.googleapis.com/google.rpc.RetryInfo";
    let any = [
        &[0x0a, url.len() as u8][..],
        url,
        &[0x12, info.len() as u8],
        &info,
    ]
    .concat();
    [&[0x08, 8, 0x1a, any.len() as u8][..], &any].concat()
}

fn answer(trailers: &[(&'static str, &str)], body: &[u8]) -> Answer {
    let map = trailers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Answer {
        received: UnixTime(0),
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
        trailers: map.collect(),
    }
}

fn standard(bytes: &[u8]) -> String {
    let mut child = std::process::Command::new("base64")
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn the_receivers_delay_is_in_the_details() {
    let details = standard(&retry_info());
    let trailers = [
        ("grpc-status", "8"),
        ("grpc-message", "slow%20down"),
        ("grpc-status-details-bin", &details),
    ];
    let expected = Delivery::Retry {
        after: Some(Duration::from_millis(7_500)),
        message: "ResourceExhausted: slow down".into(),
    };
    assert_eq!(outcome(&answer(&trailers, b"")), expected);
    let mut unpadded = trailers;
    unpadded[2].1 = details.trim_end_matches('=');
    assert_eq!(outcome(&answer(&unpadded, b"")), expected);
    // Cut details say nothing; the rest still counts.
    for length in 0..retry_info().len() {
        let details = standard(&retry_info()[..length]);
        let trailers = [("grpc-status", "8"), ("grpc-status-details-bin", &details)];
        let delivery = outcome(&answer(&trailers, b""));
        assert!(matches!(delivery, Delivery::Refused { .. }), "{delivery:?}");
    }
}

#[test]
fn a_status_alone_is_in_the_headers() {
    let mut answer = answer(&[], b"");
    answer.headers.insert("grpc-status", "12".parse().unwrap());
    let Delivery::Refused { message } = outcome(&answer) else {
        panic!("refused");
    };
    assert!(message.contains("service.profilesSupport"), "{message}");
}

#[test]
fn what_stands_between_is_understood() {
    let of = |status: u16| {
        let mut answer = answer(&[], b"bad gateway");
        answer.status = StatusCode::from_u16(status).unwrap();
        outcome(&answer)
    };
    for status in [429, 502, 503, 504] {
        let expected = Delivery::Retry {
            after: None,
            message: format!(
                "Unavailable: HTTP {} bad gateway",
                StatusCode::from_u16(status).unwrap()
            ),
        };
        assert_eq!(of(status), expected);
    }
    for status in [400, 401, 403, 404, 500] {
        assert!(matches!(of(status), Delivery::Refused { .. }), "{status}");
    }
}

#[test]
fn an_answer_may_be_compressed() {
    // partial_success { rejected_profiles: 3 }
    let plain = vec![0x0a, 2, 0x08, 3];
    for coding in [Coding::Gzip, Coding::Zstd] {
        let message = crate::export::compress::compressed(plain.clone(), coding);
        let body = [&[1, 0, 0, 0, message.len() as u8][..], &message].concat();
        let mut answer = answer(&[("grpc-status", "0")], &body);
        let unknown = outcome(&answer);
        assert!(matches!(unknown, Delivery::Retry { .. }), "{unknown:?}");
        let name = coding.name().unwrap().parse().unwrap();
        answer.headers.insert("grpc-encoding", name);
        let delivery = outcome(&answer);
        assert!(matches!(
            delivery,
            Delivery::PartlyRejected { profiles: 3, .. }
        ));
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_no_delivery() {
    let ok = [("grpc-status", "0")];
    assert_eq!(outcome(&answer(&ok, &[0; 5])), Delivery::Accepted);
    for body in [
        &[][..],
        &[0; 4],
        &[1, 0, 0, 0, 0],
        &[0, 0, 0, 0, 1],
        &[0, 255, 255, 255, 255, 1],
        &[0, 0, 0, 0, 1, 0x0a],
    ] {
        let delivery = outcome(&answer(&ok, body));
        assert!(matches!(delivery, Delivery::Retry { .. }), "{body:?}");
    }
    let without_status = outcome(&answer(&[], &[0; 5]));
    assert!(matches!(without_status, Delivery::Retry { .. }));
}

proptest! {
    #[test]
    fn no_answer_breaks_it(
        status in "[0-9a-z]{0,3}", message in "[ -~]{0,40}", details in "[ -~]{0,80}",
        body in prop::collection::vec(any::<u8>(), 0..60), code in 100u16..999,
    ) {
        let trailers =
            [("grpc-status", &*status), ("grpc-message", &message), ("grpc-status-details-bin", &details)];
        let mut answer = answer(&trailers, &body);
        let _ = outcome(&answer);
        answer.trailers.clear();
        answer.status = StatusCode::from_u16(code).unwrap();
        let delivery = outcome(&answer);
        prop_assert!(delivery != Delivery::Accepted);
    }
}

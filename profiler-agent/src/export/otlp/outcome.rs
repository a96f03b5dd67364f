//! What a receiver's answer means for the payload (OTLP specification, "OTLP/gRPC response",
//! "Failures").

use std::error::Error;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceResponse;
use prost::Message;
use tonic::{Code, Status};

use crate::profile::Delivery;

/// `google.rpc.Status`, what of it is read: the details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The receiver answered.
pub(super) fn answered(response: ExportProfilesServiceResponse) -> Delivery {
    match response.partial_success {
        Some(partial) if partial.rejected_profiles > 0 => Delivery::PartlyRejected {
            profiles: partial.rejected_profiles.unsigned_abs(),
            message: partial.error_message,
        },
        Some(partial) if !partial.error_message.is_empty() => {
            tracing::warn!(
                message = partial.error_message,
                "the receiver took all profiles with a warning"
            );
            Delivery::Accepted
        }
        _ => Delivery::Accepted,
    }
}

/// The receiver (or the way to it) failed.
pub(super) fn failed(status: &Status) -> Delivery {
    let after = retry_delay(status.details());
    let retry = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        // Made on this side, of a connection that broke: not the receiver's word.
        Code::Unknown => status.source().is_some(),
        _ => false,
    };
    let mut message = format!("{:?}: {}", status.code(), status.message());
    let mut source = status.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        source = error.source();
    }
    if retry {
        return Delivery::Retry { after, message };
    }
    if let Some(fix) = fix(status.code()) {
        message = format!("{message}; {fix}");
    }
    Delivery::Refused { message }
}

fn fix(code: Code) -> Option<&'static str> {
    match code {
        Code::Unimplemented => Some(
            "the receiver's profiles pipeline is off, or this is not its OTLP/gRPC port: an \
             OpenTelemetry collector needs a pipeline `profiles` in its configuration and \
             --feature-gates=service.profilesSupport",
        ),
        Code::Unauthenticated | Code::PermissionDenied => {
            Some("set OTEL_EXPORTER_OTLP_PROFILES_HEADERS to what the receiver asks for")
        }
        Code::ResourceExhausted => {
            Some("the receiver takes smaller requests only, or its quota is used up")
        }
        _ => None,
    }
}

/// The delay of the first `RetryInfo` in a status's details.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status
        .details
        .iter()
        .find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay;
    let delay = delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).ok()?;
    let nanos = u32::try_from(delay.nanos).ok()?;
    Some(Duration::new(seconds, nanos.min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesPartialSuccess;

    use super::*;

    /// `google.rpc.Status` with a `RetryInfo` of 7.5 s, written byte by byte from the published
    /// field numbers.
    fn retry_info() -> Vec<u8> {
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

    fn of(code: Code, details: Vec<u8>) -> Delivery {
        failed(&Status::with_details(
            code,
            "said the receiver",
            details.into(),
        ))
    }

    #[test]
    fn codes_are_sorted_as_the_specification_has_them() {
        use Code::*;
        for code in [
            Cancelled,
            DeadlineExceeded,
            Aborted,
            OutOfRange,
            Unavailable,
            DataLoss,
        ] {
            let delivery = of(code, Vec::new());
            assert!(
                matches!(delivery, Delivery::Retry { after: None, .. }),
                "{code:?}"
            );
        }
        for code in [
            Unknown,
            InvalidArgument,
            NotFound,
            AlreadyExists,
            PermissionDenied,
            FailedPrecondition,
            Unimplemented,
            Internal,
            Unauthenticated,
            ResourceExhausted,
        ] {
            assert!(
                matches!(of(code, Vec::new()), Delivery::Refused { .. }),
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it() {
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            let expected = Delivery::Retry {
                after: Some(Duration::from_millis(7_500)),
                message: format!("{code:?}: said the receiver"),
            };
            assert_eq!(of(code, retry_info()), expected);
        }
        assert!(matches!(
            of(Code::Internal, retry_info()),
            Delivery::Refused { .. }
        ));
        for length in 0..retry_info().len() {
            let cut = retry_info()[..length].to_vec();
            assert!(matches!(
                of(Code::ResourceExhausted, cut),
                Delivery::Refused { .. }
            ));
        }
    }

    #[test]
    fn a_receiver_without_profiles_is_explained() {
        let Delivery::Refused { message } = of(Code::Unimplemented, Vec::new()) else {
            panic!("refused");
        };
        assert!(message.contains("service.profilesSupport"), "{message}");
    }

    #[test]
    fn partial_success() {
        let answer = |rejected_profiles, error_message: &str| {
            answered(ExportProfilesServiceResponse {
                partial_success: Some(ExportProfilesPartialSuccess {
                    rejected_profiles,
                    error_message: error_message.into(),
                }),
            })
        };
        assert_eq!(answer(0, "only a warning"), Delivery::Accepted);
        let expected = Delivery::PartlyRejected {
            profiles: 2,
            message: "too old".into(),
        };
        assert_eq!(answer(2, "too old"), expected);
        assert_eq!(
            answered(ExportProfilesServiceResponse::default()),
            Delivery::Accepted
        );
    }
}

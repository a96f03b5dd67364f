//! What a receiver's answer means for the payload (OTLP specification, "OTLP/gRPC response",
//! "Failures").

use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceResponse;

use crate::export::text::shortened;
use crate::profile::Delivery;

/// What helps where nothing takes profiles.
pub(super) const PIPELINE_OFF: &str = "the receiver's profiles pipeline is off, or this is not its OTLP port \
     (usually 4317 for gRPC, 4318 for HTTP): an OpenTelemetry collector needs a pipeline `profiles` in its \
     configuration and --feature-gates=service.profilesSupport";

/// The codes of gRPC, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// Numbers that nobody assigned mean the unknown.
    pub(super) fn from_number(number: usize) -> Self {
        Self::ALL.get(number).copied().unwrap_or(Self::Unknown)
    }
}

/// The receiver answered.
pub(super) fn answered(response: ExportProfilesServiceResponse) -> Delivery {
    match response.partial_success {
        Some(partial) if partial.rejected_profiles > 0 => Delivery::PartlyRejected {
            profiles: partial.rejected_profiles.unsigned_abs(),
            message: shortened(partial.error_message.as_bytes()),
        },
        Some(partial) if !partial.error_message.is_empty() => {
            tracing::warn!(
                message = shortened(partial.error_message.as_bytes()),
                "the receiver took all profiles with a warning"
            );
            Delivery::Accepted
        }
        _ => Delivery::Accepted,
    }
}

/// The receiver refused, for now or for good; `after` is the delay that it asks for.
pub(super) fn failed(code: Code, said: &str, after: Option<Duration>) -> Delivery {
    let retry = match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        _ => false,
    };
    let mut message = format!("{code:?}: {said}");
    if retry {
        return Delivery::Retry { after, message };
    }
    if let Some(fix) = fix(code) {
        message = format!("{message}; {fix}");
    }
    Delivery::Refused { message }
}

fn fix(code: Code) -> Option<&'static str> {
    match code {
        Code::Unimplemented => Some(PIPELINE_OFF),
        Code::Unauthenticated | Code::PermissionDenied => {
            Some("set the headers that the receiver asks for (authorization, tenant)")
        }
        Code::ResourceExhausted => {
            Some("the receiver takes smaller requests only, or its quota is used up")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesPartialSuccess;

    use super::*;

    fn of(code: Code) -> Delivery {
        failed(code, "said the receiver", None)
    }

    #[test]
    fn codes_are_sorted_as_the_specification_has_them() {
        // The numbers, from the specification's table.
        let retried = [1, 4, 10, 11, 14, 15];
        for number in 1..20 {
            let delivery = of(Code::from_number(number));
            let retry = matches!(delivery, Delivery::Retry { after: None, .. });
            assert_eq!(retry, retried.contains(&number), "{number}: {delivery:?}");
        }
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it() {
        let after = Some(Duration::from_millis(7_500));
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            let expected = Delivery::Retry {
                after,
                message: format!("{code:?}: said the receiver"),
            };
            assert_eq!(failed(code, "said the receiver", after), expected);
        }
        let internal = failed(Code::Internal, "", after);
        assert!(matches!(internal, Delivery::Refused { .. }));
    }

    #[test]
    fn a_receiver_without_profiles_is_explained() {
        let Delivery::Refused { message } = of(Code::Unimplemented) else {
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

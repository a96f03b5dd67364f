//! A [`WindowSummary`] as bytes.
//!
//! One version byte (3), then LEB128 numbers and texts (length in bytes, UTF-8):
//! kind (its name), period in ns (0: none), samples, number of processes, per process (pid, service, comm, samples), further
//! processes, their samples, number of outcomes, per outcome (name, count), number of losses, per
//! loss (name, count), then the check value of [`seal`](super::seal). A comm that equals its service is stored as an
//! empty text. Version 2 had no kind, version 1 no check value either: they are of CPU time, and are read too.

use super::leb128::{Reader, number, text};
use super::seal::{seal, unseal};
use crate::profile::{
    NamedCount, ProcessTotal, ProfileKind, SampleKind, SamplePeriod, WindowSummary,
};

const VERSION: u8 = 3;
/// Without a kind.
const OF_CPU_TIME: u8 = 2;
/// Without a check value.
const UNSEALED: u8 = 1;
/// Outcomes and loss causes that are read: more than there are.
const MAX_COUNTS: u64 = 256;

/// The summary as bytes.
pub(super) fn encode(summary: &WindowSummary) -> Vec<u8> {
    let mut out = vec![VERSION];
    text(&mut out, summary.kind.kind.name());
    let period = summary.kind.period.map_or(0, SamplePeriod::nanoseconds);
    number(&mut out, period);
    number(&mut out, summary.samples);
    number(&mut out, summary.processes.len() as u64);
    for process in &summary.processes {
        number(&mut out, u64::from(process.pid));
        text(&mut out, &process.service);
        let comm = if process.comm == process.service {
            ""
        } else {
            &process.comm
        };
        text(&mut out, comm);
        number(&mut out, process.samples);
    }
    number(&mut out, summary.rest_processes);
    number(&mut out, summary.rest_samples);
    for counts in [&summary.outcomes, &summary.losses] {
        number(&mut out, counts.len() as u64);
        for count in counts {
            text(&mut out, &count.name);
            number(&mut out, count.count);
        }
    }
    seal(&mut out);
    out
}

/// The summary that `bytes` hold; `None` when they are damaged, or of another version.
pub(super) fn decode(bytes: &[u8]) -> Option<WindowSummary> {
    let version = *bytes.first()?;
    let bytes = match version {
        VERSION | OF_CPU_TIME => unseal(bytes)?,
        UNSEALED => bytes,
        _ => return None,
    };
    let mut reader = Reader(bytes);
    reader.byte()?;
    let kind = match version {
        VERSION => ProfileKind::from_name(reader.text()?)?,
        _ => ProfileKind::OnCpu,
    };
    let period = Some(reader.number()?).filter(|period| *period > 0);
    let period = period.map(SamplePeriod::from_nanoseconds);
    let samples = reader.number()?;
    let mut processes = Vec::new();
    for _ in 0..reader.count(WindowSummary::MAX_PROCESSES as u64)? {
        let pid = u32::try_from(reader.number()?).ok()?;
        let service: Box<str> = reader.text()?.into();
        let comm = match reader.text()? {
            "" => service.clone(),
            comm => comm.into(),
        };
        processes.push(ProcessTotal {
            pid,
            service,
            comm,
            samples: reader.number()?,
        });
    }
    let summary = WindowSummary {
        kind: SampleKind { kind, period },
        samples,
        processes,
        rest_processes: reader.number()?,
        rest_samples: reader.number()?,
        outcomes: counts(&mut reader)?,
        losses: counts(&mut reader)?,
    };
    reader.0.is_empty().then_some(summary)
}

fn counts(reader: &mut Reader<'_>) -> Option<Vec<NamedCount>> {
    (0..reader.count(MAX_COUNTS)?)
        .map(|_| {
            Some(NamedCount {
                name: reader.text()?.into(),
                count: reader.number()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode};
    use crate::profile::{
        NamedCount, ProcessTotal, ProfileKind, SampleKind, SamplePeriod, WindowSummary,
    };

    fn counts() -> impl Strategy<Value = Vec<NamedCount>> {
        prop::collection::vec(
            ("[a-z_]{1,20}", any::<u64>()).prop_map(|(name, count)| NamedCount {
                name: name.into(),
                count,
            }),
            0..5,
        )
    }

    prop_compose! {
        fn summaries()(
            (kind, period) in (0..ProfileKind::ALL.len(), prop::option::of(1u64..)),
            samples: u64,
            processes in prop::collection::vec((any::<u32>(), ".{1,9}", ".{1,9}", any::<u64>()), 0..20),
            rest_processes: u64,
            rest_samples: u64,
            outcomes in counts(),
            losses in counts(),
        ) -> WindowSummary {
            WindowSummary {
                kind: SampleKind {
                    kind: ProfileKind::ALL[kind],
                    period: period.map(SamplePeriod::from_nanoseconds),
                },
                samples,
                processes: processes
                    .into_iter()
                    .map(|(pid, service, comm, samples)| ProcessTotal {
                        pid,
                        service: service.into(),
                        comm: comm.into(),
                        samples,
                    })
                    .collect(),
                rest_processes,
                rest_samples,
                outcomes,
                losses,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(summary in summaries()) {
            prop_assert_eq!(decode(&encode(&summary)), Some(summary));
        }

        #[test]
        fn a_cut_summary_is_none(summary in summaries(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&summary);
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]), None);
        }

        #[test]
        fn a_damaged_summary_is_none(
            summary in summaries(),
            place in any::<prop::sample::Index>(),
            change in 1u8..,
        ) {
            let mut bytes = encode(&summary);
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            prop_assert_eq!(decode(&bytes), None);
        }

        #[test]
        fn those_of_former_versions_are_read(mut summary in summaries()) {
            let period = SamplePeriod::from_hertz(99);
            summary.kind = SampleKind::on_cpu(period);
            let now = encode(&summary);
            // They had no kind, which is of three letters here, and the first one no check value.
            let mut before = vec![2];
            before.extend(&now[5..now.len() - 4]);
            let mut first = before.clone();
            first[0] = 1;
            crate::store::seal::seal(&mut before);
            prop_assert_eq!(decode(&before), Some(summary.clone()));
            prop_assert_eq!(decode(&first), Some(summary));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }
}

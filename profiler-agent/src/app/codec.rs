//! Profiles as the bytes of formats, for the page.

use crate::export::{Format, ReadLimits, pprof};
use crate::page::AnswerFormat;
use crate::profile::{ArchiveError, Profile};
use crate::store::encoding;

/// A profile in a format that is not the page's own.
pub(super) fn encode(profile: &Profile, format: AnswerFormat) -> Result<Vec<u8>, ArchiveError> {
    let format = match format {
        AnswerFormat::Json => return Err("JSON is the page's own format".into()),
        AnswerFormat::Collapsed => Format::Collapsed,
        AnswerFormat::Pprof => Format::Pprof,
        AnswerFormat::Svg => Format::Svg,
    };
    Ok(format.encode(profile)?)
}

/// A profile as the bytes that the store holds.
pub(super) fn encode_window(profile: &Profile) -> Result<Vec<u8>, ArchiveError> {
    encoding::encode(profile).ok_or_else(|| "the profile is larger than a window may be".into())
}

/// A profile from the bytes that the store holds: former versions wrote pprof.
pub(super) fn decode_window(bytes: &[u8]) -> Result<Profile, ArchiveError> {
    if encoding::is_encoded(bytes) {
        return encoding::decode(bytes).ok_or_else(|| "its bytes are damaged".into());
    }
    Ok(pprof::decode(bytes, &ReadLimits::default())?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use profiler_common::unwind::Outcome;

    use super::{decode_window, encode_window};
    use crate::profile::example::example;
    use crate::profile::{
        ArchivedWindow, FrameType, LocationKind, Profile, ProfileKind, SampleLoss, UnixTime,
        WindowArchive, WindowLinks, WindowSummary,
    };
    use crate::store::{Limits, MergeOutcome, Store};

    const SECOND: u64 = 1_000_000_000;
    const EPOCH: u64 = 1_767_225_600 * SECOND;

    /// A store as the version before encoded profiles wrote it: see `format_4.rs` beside the file.
    fn format_4(directory: &Path) -> Store {
        let file = include_bytes!("../../tests/store/fixtures/format_4.redb.zst");
        let file = zstd::stream::decode_all(&file[..]).unwrap();
        std::fs::write(directory.join(Store::FILE), file).unwrap();
        Store::open(directory, Limits::default()).unwrap()
    }

    fn windows(store: &Store) -> Vec<(ArchivedWindow, Profile)> {
        let mut found = Vec::new();
        let damaged = store.visit(UnixTime(0), UnixTime(u64::MAX), &mut |window| {
            found.push(window);
        });
        assert!(damaged.unwrap().is_empty());
        let read = |window: ArchivedWindow| {
            let bytes = store.read(window.id).unwrap().unwrap();
            (window, decode_window(&bytes).unwrap())
        };
        found.into_iter().map(read).collect()
    }

    type Frame<'a> = (&'a str, LocationKind, FrameType);

    /// The stack of each sample as its frames, leaf first, and how many samples it is.
    fn stacks(profile: &Profile) -> Vec<(Vec<Frame<'_>>, u64)> {
        let frame = |location: u32| {
            let location = &profile.locations[location as usize];
            let function = location.lines[0].function.0 as usize;
            (
                &*profile.functions[function].name,
                location.kind,
                location.frame_type,
            )
        };
        let samples = profile.samples.iter();
        let stack = |sample: &crate::profile::ProfileSample| {
            let stack = profile.stacks.get(sample.stack).iter();
            (stack.map(|index| frame(index.0)).collect(), sample.count)
        };
        samples.map(stack).collect()
    }

    #[test]
    fn windows_of_format_4_are_read_and_merged_with_later_ones() {
        use LocationKind::{Named, StackEnd, Unnamed};
        let directory = tempfile::tempdir().unwrap();
        let store = format_4(directory.path());
        assert!(store.set_aside().is_empty() && store.damages() == 0);
        assert_eq!(store.kinds(), [ProfileKind::OnCpu, ProfileKind::OffCpu]);
        let read = windows(&store);
        assert_eq!(read.len(), 9);
        for (window, profile) in &read {
            let number = (window.start.0 - EPOCH) / (10 * SECOND);
            let each = match window.summary.kind.kind {
                ProfileKind::OnCpu => 10_000_000,
                _ => 3_000_000,
            };
            assert_eq!((profile.start, profile.end), (window.start, window.end));
            assert_eq!(profile.kind, window.summary.kind);
            assert_eq!(profile.value(), 4 * each);
            let whole = vec![
                ("inner", Named, FrameType::Native),
                ("[jit]", Unnamed, FrameType::Native),
                ("main", Named, FrameType::Rust),
            ];
            let broken = vec![
                ("do_syscall_64", Named, FrameType::Kernel),
                ("main", Named, FrameType::Rust),
                (
                    "[unwind: no_rule]",
                    StackEnd(Outcome::NoRule),
                    FrameType::Native,
                ),
            ];
            assert_eq!(
                stacks(profile),
                [(whole.clone(), 2), (whole, 1), (broken, 1)]
            );
            let linked = &profile.samples[1];
            let link = linked.link.unwrap();
            assert_eq!(link.trace_id, [0x1a; 16]);
            assert_eq!(link.span_id, (number + 1).to_be_bytes());
            assert_eq!(
                linked.occurrences.times(),
                [UnixTime(window.start.0 + 30_000)]
            );
            let labels = &profile.label_sets[linked.labels.0 as usize];
            assert_eq!(labels.get("endpoint"), Some("/cart"));
            assert_eq!(profile.losses.of(SampleLoss::RingFull), 1);
        }
        // The span that it had is of a form that is not read any more: it is merged anew, with windows of now.
        let everything = (UnixTime(0), UnixTime(u64::MAX));
        let spans = || store.merged_spans(everything.0, everything.1).unwrap();
        assert!(spans().is_empty());
        let profile = example();
        let (summary, links) = (WindowSummary::of(&profile), WindowLinks::of(&profile));
        let bytes = encode_window(&profile).unwrap();
        for number in 8..16 {
            let time = |number: u64| UnixTime(EPOCH + number * 10 * SECOND);
            store
                .append(time(number), time(number + 1), &summary, &links, &bytes)
                .unwrap();
        }
        let never = AtomicBool::new(false);
        let merge = || {
            store
                .merge_next(&decode_window, (Limits::MERGE_BYTES, &never))
                .unwrap()
        };
        let outcomes: Vec<MergeOutcome> = std::iter::from_fn(merge).collect();
        let ended = |wanted| {
            outcomes
                .iter()
                .filter(|outcome| **outcome == wanted)
                .count()
        };
        assert_eq!(ended(MergeOutcome::Merged), 1, "{outcomes:?}");
        // The second minute has windows of both, which were sampled at different rates.
        assert_eq!(ended(MergeOutcome::MixedPeriods), 1, "{outcomes:?}");
        let merged = spans();
        assert_eq!((merged.len(), merged[0].windows.len()), (1, 6));
        let merged = store.read_merged(&merged[0]).unwrap().unwrap();
        assert_eq!(merged.sample_count(), 6 * 4);
        assert_eq!(merged.value(), 6 * 4 * 10_000_000);
        let newest = windows(&store).pop().unwrap().1;
        assert_eq!(newest, profile);
    }

    #[test]
    fn what_is_neither_is_an_error() {
        let mut bytes = encode_window(&example()).unwrap();
        bytes[10] ^= 1;
        assert_eq!(
            decode_window(&bytes).unwrap_err().to_string(),
            "its bytes are damaged"
        );
        assert!(decode_window(b"nothing").is_err());
    }
}

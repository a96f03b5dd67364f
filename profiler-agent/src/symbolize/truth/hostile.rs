//! Files that lie: any change to any bytes gives names or none, never a panic or an endless walk.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const SOURCE: &str = r#"
#include <vector>
#include <algorithm>
#include <string>
struct Item { int key; std::string text; };
static bool less(const Item& a, const Item& b) { return a.key < b.key; }
int main(int argc, char** argv) {
  std::vector<Item> items;
  for (int i = 0; i < argc * 10; i++) items.push_back({i ^ 5, std::to_string(i)});
  std::sort(items.begin(), items.end(), less);
  return items[0].key;
}
"#;

/// The program's bytes for each way that sections may be stored, and its original executable.
fn programs() -> Vec<(Vec<u8>, Arc<Executable>)> {
    let directory = tempfile::tempdir().unwrap();
    [
        ["-gdwarf-5", "-gz=none"],
        ["-gdwarf-4", "-gz=none"],
        ["-gdwarf-5", "-gz=zlib"],
    ]
    .iter()
    .map(|flags| {
        let file = compile(
            directory.path(),
            "p.cpp",
            SOURCE,
            &["g++", "-O2", "-g", flags[0], flags[1]],
        );
        (
            std::fs::read(&file).unwrap(),
            executable(1, &file, "/p", None),
        )
    })
    .collect()
}

/// The executable with other bytes.
fn altered(original: &Executable, bytes: &[u8], directory: &Path) -> Arc<Executable> {
    let path = directory.join("altered");
    std::fs::write(&path, bytes).unwrap();
    Arc::new(Executable {
        id: ExecutableId(1),
        path: "/p".into(),
        file: Some(File::open(path).unwrap()),
        image: None,
        length: bytes.len() as u64,
        build_id: None,
        htl_hash: OnceLock::new(),
        segments: original.segments.clone(),
        constants: original.constants.clone(),
        root: Some(File::open(directory).unwrap()),
    })
}

/// A change: where (in millionths of the file), and what is put there.
fn change() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..4),
        prop::collection::vec(Just(0xff), 1..9),
        prop::collection::vec(Just(0), 1..9),
        prop::collection::vec(Just(0x80), 1..20),
    ];
    (0_u32..1_000_000, bytes)
}

#[test]
fn altered_files_are_survived() {
    let programs = programs();
    let directory = tempfile::tempdir().unwrap();
    let offsets = text_offsets_of(&programs[0].1, 60);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    // Section headers lie at the end: a shortened file has none, and most cases keep them.
    let kept = prop_oneof![9 => Just(1_000_u32), 1 => 0_u32..1_000];
    let cases = (
        0..programs.len(),
        prop::collection::vec(change(), 0..40),
        kept,
    );
    runner
        .run(&cases, |(which, changes, kept)| {
            let (bytes, original) = &programs[which];
            let mut bytes = bytes.clone();
            for (place, change) in changes {
                let place = (bytes.len() as u64 * u64::from(place) / 1_000_000) as usize;
                let length = change.len().min(bytes.len() - place);
                bytes[place..place + length].copy_from_slice(&change[..length]);
            }
            bytes.truncate((bytes.len() as u64 * u64::from(kept) / 1_000) as usize);
            let file = altered(original, &bytes, directory.path());
            let start = Instant::now();
            let profile = resolve(&mut symbolizer(), &file, &offsets);
            prop_assert!(start.elapsed() < Duration::from_secs(20));
            prop_assert!(!profile.locations.is_empty());
            prop_assert!(
                profile
                    .locations
                    .iter()
                    .all(|location| !location.lines.is_empty())
            );
            Ok(())
        })
        .unwrap();
}

fn text_offsets_of(file: &Executable, count: u64) -> Vec<FileOffset> {
    let segment = file.segments[0];
    let step = (segment.length / count).max(1);
    (0..segment.length)
        .step_by(step as usize)
        .map(|within| FileOffset(segment.offset.0 + within))
        .collect()
}

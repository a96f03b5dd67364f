use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use profiler_common::unwind::Rule;
use tempfile::TempDir;

use super::*;
use crate::profile::ElfAddress;

fn key(number: u8) -> TableKey {
    TableKey::build_id(&BuildId::new(&[number; 20]).unwrap(), 1000)
}

/// A consistent table of `rows` rows in one bucket.
fn table(rows: u32) -> UnwindTable {
    let mut words = vec![2, 2 + rows];
    words.extend((0..rows).map(|row| (row << 16) | (row % 3)));
    UnwindTable {
        start: ElfAddress(0x40_0000),
        buckets: 1,
        words,
        rules: vec![Rule::NONE, Rule::END_OF_STACK, Rule::UNSUPPORTED],
    }
}

fn only_file(directory: &TempDir) -> PathBuf {
    let mut entries = fs::read_dir(directory.path()).unwrap();
    let path = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    path
}

#[test]
fn keeps_a_table_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = TableCache::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(cache.get(&key(1)), None);
    cache.put(&key(1), &table(500)).unwrap();
    assert_eq!(cache.get(&key(1)), Some(table(500)));
    let mut cache = TableCache::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(cache.get(&key(1)), Some(table(500)));
    assert_eq!(cache.get(&key(2)), None);
    let mode = fs::metadata(directory.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(
        cache.bytes(),
        fs::metadata(only_file(&directory)).unwrap().len()
    );
}

#[test]
fn every_flipped_byte_is_a_counted_miss() {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = TableCache::open(directory.path(), 1 << 20).unwrap();
    cache.put(&key(1), &table(3)).unwrap();
    let path = only_file(&directory);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&path, &bad).unwrap();
        let mut cache = TableCache::open(directory.path(), 1 << 20).unwrap();
        assert_eq!(cache.get(&key(1)), None, "byte {at}");
        assert_eq!(cache.statistics().corrupt, 1, "byte {at}");
        assert!(!path.exists());
        assert_eq!(cache.bytes(), 0);
    }
}

#[test]
fn a_cut_or_grown_file_is_a_miss() {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = TableCache::open(directory.path(), 1 << 20).unwrap();
    cache.put(&key(1), &table(3)).unwrap();
    let path = only_file(&directory);
    let good = fs::read(&path).unwrap();
    let mut grown = good.clone();
    grown.push(0);
    for bad in [&good[..0], &good[..7], &good[..good.len() - 1], &grown[..]] {
        fs::write(&path, bad).unwrap();
        let mut cache = TableCache::open(directory.path(), 1 << 20).unwrap();
        assert_eq!(cache.get(&key(1)), None);
        assert_eq!(cache.statistics().corrupt, 1);
    }
}

#[test]
fn the_least_recently_used_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = format::encoded_length(&table(100));
    let mut cache = TableCache::open(directory.path(), 3 * bytes).unwrap();
    for number in 1..=3 {
        cache.put(&key(number), &table(100)).unwrap();
    }
    assert!(cache.get(&key(1)).is_some());
    cache.put(&key(4), &table(100)).unwrap();
    assert_eq!(cache.get(&key(2)), None);
    for number in [1, 3, 4] {
        assert!(cache.get(&key(number)).is_some(), "{number}");
    }
    assert_eq!(cache.statistics().evicted, 1);
    // The order of use survives: 1 was used first of what is left.
    let mut cache = TableCache::open(directory.path(), 2 * bytes).unwrap();
    assert_eq!(cache.get(&key(1)), None);
    assert!(cache.get(&key(4)).is_some());
    assert!(cache.bytes() <= 2 * bytes);
}

#[test]
fn a_table_beyond_the_budget_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = TableCache::open(directory.path(), 1000).unwrap();
    cache.put(&key(1), &table(500)).unwrap();
    assert_eq!(cache.bytes(), 0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_an_interrupted_write_left_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(".new-x.unwind"), b"half").unwrap();
    fs::write(directory.path().join("README"), b"not ours").unwrap();
    TableCache::open(directory.path(), 1000).unwrap();
    assert!(only_file(&directory).ends_with("README"));
}

#[test]
fn a_symbolic_link_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path(), &link).unwrap();
    assert!(matches!(
        TableCache::open(&link, 1000),
        Err(CacheError::Foreign { .. })
    ));
}

//! Files that are damaged, or are none.

use std::path::Path;
use std::process::Command;

use profiler_agent::profile::{UnixTime, WindowArchive, WindowId, WindowLinks};
use profiler_agent::store::{Limits, Store};

use super::{SECOND, append, check_whole, content, summary};

#[test]
fn a_foreign_file_is_set_aside() {
    for foreign in [
        b"not a database".to_vec(),
        vec![0; 9000],
        content(3, 1 << 20),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(Store::FILE);
        std::fs::write(&path, &foreign).unwrap();
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        let aside = store.set_aside();
        assert_eq!(aside.len(), 1);
        assert_eq!(std::fs::read(&aside[0].path).unwrap(), foreign);
        append(&store, 1).unwrap();
        assert_eq!(check_whole(&store), Some(1));
    }
}

/// What makes something that is no regular file at a path.
type Make = fn(&Path) -> std::io::Result<()>;

fn fifo(path: &Path) -> std::io::Result<()> {
    let made = Command::new("mkfifo").arg(path).status()?;
    assert!(made.success());
    Ok(())
}

#[test]
fn what_is_no_regular_file_is_set_aside() {
    let kinds: [(&str, Make); 4] = [
        ("directory", |path| std::fs::create_dir(path)),
        ("FIFO", fifo),
        ("link", |path| std::os::unix::fs::symlink("/dev/null", path)),
        ("socket", |path| {
            std::os::unix::net::UnixListener::bind(path).map(drop)
        }),
    ];
    for (kind, make) in kinds {
        let directory = tempfile::tempdir().unwrap();
        make(&directory.path().join(Store::FILE)).unwrap();
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        let aside = store.set_aside();
        assert_eq!(aside.len(), 1, "{kind}");
        let reason = &aside[0].reason;
        assert!(reason.contains("not a regular file"), "{kind}: {reason}");
        assert_eq!(store.damages(), 1, "{kind}");
        append(&store, 1).unwrap();
        assert_eq!(check_whole(&store), Some(1), "{kind}");
    }
}

/// A summary whose bytes are damaged is that of no window; the others are whole.
#[test]
fn a_damaged_summary_costs_its_window() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(Store::FILE);
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    for number in 1..=3u64 {
        let mut summary = summary(number);
        summary.processes[7].service = format!("only-in-{number}").into();
        let (start, end) = (number * 10 * SECOND, (number + 1) * 10 * SECOND);
        let (links, bytes) = (WindowLinks::default(), content(number, 1000));
        store
            .append(UnixTime(start), UnixTime(end), &summary, &links, &bytes)
            .unwrap();
    }
    drop(store);
    let mut damaged = std::fs::read(&path).unwrap();
    // Pages that are no longer in use may have it too.
    let found = (0..damaged.len()).filter(|place| damaged[*place..].starts_with(b"only-in-2"));
    for place in found.collect::<Vec<_>>() {
        damaged[place] = b'0';
    }
    std::fs::write(&path, damaged).unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    let visit = || {
        let mut whole = Vec::new();
        let left_out = store.visit(UnixTime(0), UnixTime(u64::MAX), &mut |window| {
            assert_eq!(
                &*window.summary.processes[7].service,
                format!("only-in-{}", window.id.0 + 1)
            );
            whole.push(window.id);
        });
        (whole, left_out.unwrap())
    };
    for _ in 0..2 {
        assert_eq!(visit(), (vec![WindowId(0), WindowId(2)], vec![WindowId(1)]));
        assert_eq!(store.damages(), 1, "it counts once");
    }
    assert_eq!(store.set_aside(), []);
}

/// Whatever is damaged: the store opens, appends, and what it says is right or an error.
#[test]
fn a_damaged_file_is_survived() {
    let pristine = tempfile::tempdir().unwrap();
    let store = Store::open(pristine.path(), Limits::default()).unwrap();
    for number in 1..=10 {
        append(&store, number).unwrap();
    }
    drop(store);
    let whole = std::fs::read(pristine.path().join(Store::FILE)).unwrap();
    let mut set_aside = 0;
    for attempt in 0..60u64 {
        let directory = tempfile::tempdir().unwrap();
        let mut damaged = whole.clone();
        if attempt % 6 == 5 {
            damaged.truncate(damaged.len() / 60 * attempt as usize);
        } else {
            let random = content(attempt + 1, 64);
            let at = usize::from_le_bytes(random[..8].try_into().unwrap()) % damaged.len();
            // Early pages hold the structure; damage those more often.
            let at = if attempt % 2 == 0 { at % 40_960 } else { at };
            let until = damaged.len().min(at + 56);
            damaged[at..until].copy_from_slice(&random[8..8 + until - at]);
        }
        std::fs::write(directory.path().join(Store::FILE), damaged).unwrap();
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        // An append may find the damage; the next ones then start afresh.
        let appended = (11..=13)
            .filter(|number| append(&store, *number).is_ok())
            .count();
        assert!(appended >= 1, "attempt {attempt}");
        set_aside += store.set_aside().len();
        let _ = store.visit(UnixTime(0), UnixTime(u64::MAX), &mut |window| {
            let _ = store.read(window.id);
        });
    }
    assert!(set_aside > 5, "the damage was never found: {set_aside}");
}

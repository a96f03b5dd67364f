//! What is kept stays within its budget, whatever passes.

use std::time::Duration;

use super::*;
use crate::profile::Degradation;
use crate::symbolize::SymbolizerThread;

/// How many files below `directory` this process has open.
fn open_files(directory: &Path) -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.starts_with(directory))
        .count()
}

/// 300 files, each with an open debug file of its own, one window each.
#[test]
fn indices_and_open_files_of_many_executables_are_bounded() {
    let root = tempfile::tempdir().unwrap();
    let source = "static inline int f(int x) { volatile int y = x; return y * 3; }\nint main(int c, char **v) { return f(c) + f(c + 1); }";
    let whole = compile(
        root.path(),
        "p.c",
        source,
        &["gcc", "-O1", "-g", "-Wl,--build-id=none"],
    );
    let bare = root.path().join("bare");
    run(
        "objcopy",
        &["--only-keep-debug", whole.to_str().unwrap(), "p.debug"],
        root.path(),
    );
    run(
        "strip",
        &["-s", "-o", "bare", whole.to_str().unwrap()],
        root.path(),
    );
    run(
        "objcopy",
        &["--add-gnu-debuglink=p.debug", "bare"],
        root.path(),
    );
    let offsets = text_offsets(&bare, 100);
    let config = SymbolizeConfig {
        cache_bytes: 256 << 10,
        index_bytes: 16 << 10,
        ..SymbolizeConfig::default()
    };
    let mut symbolizer = Symbolizer::new(&config);
    let mut most = 0;
    for id in 0..300 {
        let path = root.path().join(format!("copy{id}"));
        std::fs::copy(&bare, &path).unwrap();
        let file = executable(id, &path, &format!("/copy{id}"), Some(root.path()));
        let profile = resolve(&mut symbolizer, &file, &offsets);
        assert!(
            profile
                .functions
                .iter()
                .any(|function| &*function.name == "main")
        );
        assert!(
            profile
                .functions
                .iter()
                .any(|function| &*function.name == "f")
        );
        let usage = symbolizer.usage();
        assert!(usage.index_bytes <= config.index_bytes, "{usage:?}");
        assert!(usage.name_bytes <= config.cache_bytes, "{usage:?}");
        most = most.max(open_files(root.path()));
    }
    // The executable and its root are the caller's two; ours are the kept debug files.
    assert!(most <= 256 + 2, "{most} open files");
    drop(symbolizer);
    assert_eq!(open_files(root.path()), 0);
}

/// A location whose names were evicted gets the same ones again.
#[test]
fn eviction_changes_nothing_but_the_cost() {
    let directory = tempfile::tempdir().unwrap();
    let source =
        "int f(int x) { return x * 3; }\nint main(int c, char **v) { return f(c) + f(c + 1); }";
    let whole = compile(directory.path(), "p.c", source, &["gcc", "-O1", "-g"]);
    let file = executable(1, &whole, "/p", None);
    let offsets = text_offsets(&whole, 200);
    let mut kept = symbolizer();
    let mut evicting = Symbolizer::new(&SymbolizeConfig {
        cache_bytes: 0,
        index_bytes: 0,
        ..SymbolizeConfig::default()
    });
    for _ in 0..3 {
        let expected = resolve(&mut kept, &file, &offsets);
        let found = resolve(&mut evicting, &file, &offsets);
        assert_eq!(expected.functions, found.functions);
        assert_eq!(expected.locations, found.locations);
        assert_eq!(evicting.usage().index_bytes, 0);
        assert_eq!(evicting.usage().locations, 0);
    }
}

/// Names of a window in which there was no time are not kept: the next one finds them.
#[test]
fn without_time_there_are_symbols_and_a_later_window_finds_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let source = "static inline int f(int x) { volatile int y = x; return y * 3; }\nint main(int c, char **v) { return f(c) + f(c + 1); }";
    let whole = compile(directory.path(), "p.c", source, &["gcc", "-O1", "-g"]);
    let file = executable(1, &whole, "/p", None);
    let offsets = text_offsets(&whole, 200);
    let expected = resolve(&mut symbolizer(), &file, &offsets);
    let mut hurried = Symbolizer::new(&SymbolizeConfig {
        window_time: Duration::from_nanos(2),
        ..SymbolizeConfig::default()
    });
    let nothing = resolve(&mut hurried, &file, &offsets);
    assert_eq!(
        nothing.losses.of(Degradation::SymbolizerBehind),
        offsets.len() as u64
    );
    hurried.set_window_time(SymbolizeConfig::default().window_time);
    let found = resolve(&mut hurried, &file, &offsets);
    assert_eq!(found.functions, expected.functions);
    assert_eq!(found.locations, expected.locations);

    // A file that takes too long has its symbols, and after some attempts its debug information is left alone.
    let mut slow = Symbolizer::new(&SymbolizeConfig {
        file_steps: 100,
        ..SymbolizeConfig::default()
    });
    for left_out in [1, 1, 0] {
        let found = resolve(&mut slow, &file, &offsets);
        let main = |name: &crate::profile::Function| &*name.name == "main";
        assert!(found.functions.iter().any(main));
        assert!(
            found
                .functions
                .iter()
                .all(|function| &*function.name != "f")
        );
        assert_eq!(found.losses.of(Degradation::DebugInfoBudget), left_out);
    }
}

#[test]
fn in_a_hurry_nothing_is_read_and_that_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let source = "int main(int c, char **v) { return c * 3; }";
    let file = compile(directory.path(), "p.c", source, &["gcc", "-O1", "-g"]);
    let program = executable(1, &file, "/calls", None);
    let (thread, handle) =
        SymbolizerThread::spawn(SymbolizeConfig::default(), Default::default()).unwrap();
    handle.hurry().up();
    let offsets = text_offsets(&file, 20);
    let process = process(
        ProcessKey {
            pid: 1,
            started: BootTime(0),
        },
        "/calls",
    );
    let locations = offsets
        .iter()
        .map(|offset| LocationKey::File(program.id, *offset))
        .collect();
    let window = window(&process, locations, &[program]);
    let profile = handle.resolve(window, clocks()).unwrap().wait().unwrap();
    drop(handle);
    thread.join().unwrap();
    assert!(
        profile
            .locations
            .iter()
            .all(|location| !location.kind.is_named())
    );
    let name = &profile.functions[0].name;
    assert!(name.starts_with("calls+0x"), "{name}");
    assert_eq!(
        profile.losses.of(Degradation::SymbolizerBehind),
        offsets.len() as u64
    );
}

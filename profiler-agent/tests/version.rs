//! `--version`, against what git and the record of the eBPF toolchain say.

#[path = "../build/commit.rs"]
mod commit;

use std::fs;
use std::path::Path;
use std::process::Command;

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=test", "-c", "user.email=test@localhost"])
        .args(arguments)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("git writes UTF-8");
    text.trim().to_owned()
}

#[test]
fn the_commit_is_what_git_says() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir_all(root.join("src/inner")).unwrap();
    fs::write(root.join("src/main.rs"), "fn main() {}").unwrap();
    fs::write(root.join("notes"), "1").unwrap();
    assert!(commit::read(root, &["src"]).is_none(), "no repository");
    git(root, &["init", "--quiet"]);
    assert!(commit::read(root, &["src"]).is_none(), "no commit");
    git(root, &["add", "."]);
    git(root, &["commit", "--quiet", "-m", "first"]);
    let first = git(root, &["rev-parse", "HEAD"]);
    let read = || commit::read(root, &["src"]).unwrap();
    assert_eq!(read().text, first);
    fs::write(root.join("notes"), "2").unwrap();
    assert_eq!(read().text, first, "what is not built does not count");
    fs::write(root.join("src/main.rs"), "fn main() { }").unwrap();
    assert_eq!(read().text, format!("{first} (modified)"));
    let index = fs::read(root.join(".git/index")).unwrap();
    fs::write(root.join(".git/index"), "no index").unwrap();
    assert_eq!(
        read().text,
        format!("{first} (git cannot say whether modified)")
    );
    fs::write(root.join(".git/index"), index).unwrap();
    let watched: Vec<_> = read()
        .watched
        .into_iter()
        .map(|path| (fs::read(&path).unwrap(), path))
        .collect();
    git(root, &["commit", "--quiet", "-a", "-m", "second"]);
    assert_eq!(read().text, git(root, &["rev-parse", "HEAD"]));
    let changed = |(content, path): &(Vec<u8>, _)| fs::read(path).unwrap() != *content;
    assert!(
        watched.iter().any(changed),
        "a commit changes no file that is watched"
    );
    assert!(
        commit::read(&root.join("src/inner"), &["."]).is_none(),
        "a source that lies in somebody else's repository"
    );
}

#[test]
fn the_version_names_the_embedded_object() {
    let output = Command::new(env!("CARGO_BIN_EXE_profiler-agent"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(
        lines[0],
        format!("profiler-agent {}", env!("CARGO_PKG_VERSION"))
    );
    assert!(lines[1].starts_with("commit "), "{text}");
    let record =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiler-ebpf/object/toolchain.toml");
    let record = fs::read_to_string(record).unwrap();
    let machine = std::env::consts::ARCH;
    let entry = format!("\"profiler-{machine}.bpf.o\" = \"");
    let digest = record
        .split(&entry)
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(
        lines[2],
        format!("eBPF object of {machine}, SHA-256 {digest}")
    );
}

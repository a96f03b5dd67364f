//! The commit that is built, for `--version`: part of the build script, and of its test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The commit of a working tree.
#[derive(Debug)]
pub struct Commit {
    /// The commit's 40 digits, with ` (modified)` behind them where the sources differ from it, or with the note that git
    /// cannot say whether they do.
    pub text: String,
    /// The files and directories that change when another commit is checked out or made.
    pub watched: Vec<PathBuf>,
}

/// The commit that git has checked out in `workspace`, or `None` without git, without a repository, or where the
/// repository is that of a directory further out. `sources`, relative to `workspace`, are what is built.
pub fn read(workspace: &Path, sources: &[&str]) -> Option<Commit> {
    let top = PathBuf::from(git(workspace, &["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != workspace.canonicalize().ok()? {
        return None;
    }
    let commit = git(workspace, &["rev-parse", "--verify", "HEAD"])?;
    let differs = ["diff", "--quiet", "HEAD", "--"];
    let differs = command(workspace, &differs).args(sources).status().ok()?;
    let modified = match differs.code() {
        Some(0) => "",
        Some(1) => " (modified)",
        // It failed or was ended: an index that cannot be read, say.
        _ => " (git cannot say whether modified)",
    };
    let mut files = vec![
        "HEAD".to_owned(),
        "logs/HEAD".to_owned(),
        "packed-refs".to_owned(),
    ];
    files.extend(git(workspace, &["symbolic-ref", "--quiet", "HEAD"]));
    let path =
        |file: &String| Some(workspace.join(git(workspace, &["rev-parse", "--git-path", file])?));
    Some(Commit {
        text: format!("{commit}{modified}"),
        // A path that does not exist would make cargo run the build script every time.
        watched: files
            .iter()
            .filter_map(path)
            .filter(|path| path.exists())
            .collect(),
    })
}

fn command(workspace: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(workspace).args(arguments);
    // Set in hooks, where they name the repository of the hook.
    command
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE");
    command
}

/// What git prints, a line without its end; `None` where it fails or is missing.
fn git(workspace: &Path, arguments: &[&str]) -> Option<String> {
    let output = command(workspace, arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

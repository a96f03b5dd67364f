//! Python with the published OTLP messages: an environment in `target/python`, made when it is first
//! needed and again when `tests/readers/requirements.txt` has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace;

/// The interpreter of an environment that has what `tests/readers/requirements.txt` pins.
///
/// # Panics
/// If the environment cannot be made; says which command failed and what it needs.
#[must_use]
pub fn with_otlp_messages() -> PathBuf {
    let requirements = workspace().join("tests/readers/requirements.txt");
    let wanted =
        fs::read_to_string(&requirements).expect("tests/readers/requirements.txt is there");
    let environment = workspace().join("target/python");
    let python = environment.join("bin/python");
    // Written last: an environment that was left half made has none.
    let made_of = environment.join("requirements.txt");
    if fs::read_to_string(&made_of).is_ok_and(|made| made == wanted) {
        return python;
    }
    run(Command::new("/usr/bin/python3")
        .args(["-m", "venv", "--clear"])
        .arg(&environment));
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .arg("--requirement")
        .arg(&requirements));
    fs::write(&made_of, wanted).expect("what the environment was made of can be written");
    python
}

/// Runs a reader of `tests/readers` on a file; what it prints.
///
/// # Panics
/// If it fails.
#[must_use]
pub fn read(reader: &str, file: &Path) -> String {
    let script = workspace().join("tests/readers").join(reader);
    run(Command::new(with_otlp_messages()).arg(script).arg(file))
}

fn run(command: &mut Command) -> String {
    const NEEDED: &str = "`cargo xtask test` installs python3-venv; the package index must be \
                          within reach the first time";
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error} ({NEEDED})"));
    assert!(
        output.status.success(),
        "{command:?}: {} ({NEEDED})\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

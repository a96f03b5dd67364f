//! Symbols and inline chains as independent programs have them: `nm` and `addr2line`.

use std::ops::Range;
use std::path::Path;
use std::process::Command;

/// The functions at an address of an ELF file, innermost first, with their lines.
///
/// # Panics
///
/// When `addr2line` fails.
#[must_use]
pub fn functions_at(file: &Path, address: u64) -> Vec<(String, u32)> {
    let output = Command::new("addr2line")
        .args(["-C", "-f", "-i", "-e"])
        .arg(file)
        .arg(format!("{address:#x}"))
        .output()
        .expect("binutils are installed (`cargo xtask test` sees to it)");
    assert!(
        output.status.success(),
        "addr2line refuses {}",
        file.display()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .chunks_exact(2)
        .map(|pair| {
            // `/src/a.c:12 (discriminator 3)`
            let line = pair[1]
                .split(" (")
                .next()
                .and_then(|place| place.rsplit(':').next());
            (
                pair[0].to_owned(),
                line.and_then(|line| line.parse().ok()).unwrap_or(0),
            )
        })
        .collect()
}

/// The address, as the file states it, of the file's first page.
///
/// # Panics
///
/// When `readelf` fails, or when the first page is not loaded.
#[must_use]
pub fn first_page(file: &Path) -> u64 {
    let output = Command::new("readelf")
        .arg("-lW")
        .arg(file)
        .output()
        .expect("binutils are installed (`cargo xtask test` sees to it)");
    assert!(
        output.status.success(),
        "readelf refuses {}",
        file.display()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
            match words.as_slice() {
                ["LOAD", offset, address, ..] if number(offset) == Some(0) => number(address),
                _ => None,
            }
        })
        .expect("the first page is loaded")
}

/// The addresses of a file's functions.
///
/// # Panics
///
/// When `nm` fails.
#[must_use]
pub fn symbols_of(file: &Path) -> Vec<Range<u64>> {
    let output = Command::new("nm")
        .args(["--defined-only", "--print-size"])
        .arg(file)
        .output()
        .expect("binutils are installed (`cargo xtask test` sees to it)");
    assert!(output.status.success(), "nm refuses {}", file.display());
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [start, size, kind, ..] = words.as_slice() else {
                return None;
            };
            let start = matches!(*kind, "t" | "T" | "w" | "W" | "i").then(|| number(start))??;
            Some(start..start + number(size)?)
        })
        .collect()
}

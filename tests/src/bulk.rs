//! Programs with as much debug information as wanted: a real one's, and behind it units that look like a
//! compiler's (DWARF 4: functions with parameters, each at its own place), as `objcopy` puts them in.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the text that one unit is about.
const UNIT_TEXT: u64 = 512;
/// Functions of a unit: of one byte each.
const UNIT_FUNCTIONS: u64 = UNIT_TEXT;
const PARAMETERS: u32 = 4;

/// Abbreviations: a unit (name, language, low_pc, high_pc); a function (external, name, line, low_pc,
/// high_pc); a parameter (name, line). DWARF 4, sections 7.5.3 and 7.5.4.
const ABBREVIATIONS: &[u8] = &[
    1, 0x11, 1, 0x03, 0x08, 0x13, 0x0b, 0x11, 0x01, 0x12, 0x06, 0, 0, //
    2, 0x2e, 1, 0x3f, 0x19, 0x03, 0x08, 0x3b, 0x05, 0x11, 0x01, 0x12, 0x06, 0, 0, //
    3, 0x05, 0, 0x03, 0x08, 0x3b, 0x05, 0, 0, //
    0,
];

/// Writes `program` with at least `bytes` of debug information to `result`. The units that are added claim
/// the text `code`, again and again where they are many.
///
/// # Panics
///
/// When the program has no debug information, or binutils fail.
pub fn with_debug_info(program: &Path, code: Range<u64>, bytes: u64, result: &Path) {
    let section = |name: &str| -> PathBuf {
        let file = result.with_extension(name.trim_start_matches(".debug_"));
        let dump = format!("--dump-section={name}={}", file.display());
        objcopy(&[&dump], program, Path::new("/dev/null"));
        file
    };
    let (info, abbreviations) = (section(".debug_info"), section(".debug_abbrev"));
    let mut table = fs::read(&abbreviations).expect("the section was written");
    let unit = Unit::new(table.len() as u32);
    table.extend(ABBREVIATIONS);
    fs::write(&abbreviations, table).expect("a file can be written");

    let file = File::options().append(true).open(&info);
    let file = file.expect("the section was written");
    let mut length = file.metadata().expect("an open file").len();
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut starts = code.clone().step_by(UNIT_TEXT as usize).cycle();
    while length < bytes {
        let bytes = unit.at(starts.next().expect("the code is not empty"));
        file.write_all(&bytes).expect("there is room for the file");
        length += bytes.len() as u64;
    }
    file.flush().expect("there is room for the file");
    drop(file);

    let update = |name: &str, file: &Path| format!("--update-section={name}={}", file.display());
    let updates = [
        update(".debug_info", &info),
        update(".debug_abbrev", &abbreviations),
    ];
    objcopy(&[&updates[0], &updates[1]], program, result);
    for file in [info, abbreviations] {
        fs::remove_file(file).expect("the section's file is there");
    }
}

fn objcopy(arguments: &[&str], from: &Path, to: &Path) {
    let mut command = Command::new("objcopy");
    command.args(arguments).arg(from).arg(to);
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error} (`cargo xtask test` installs binutils)")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A unit whose code is still to be placed.
struct Unit {
    bytes: Vec<u8>,
    /// Where its addresses stand, with their distance from its start.
    addresses: Vec<(usize, u64)>,
}

impl Unit {
    fn new(abbreviations: u32) -> Self {
        let mut unit = Self {
            bytes: Vec::new(),
            addresses: Vec::new(),
        };
        unit.bytes.extend([0; 4]);
        unit.bytes.extend(4_u16.to_le_bytes());
        unit.bytes.extend(abbreviations.to_le_bytes());
        unit.bytes.push(8);
        unit.bytes.push(1);
        unit.bytes.extend(b"/build/library/src/unit.c\0");
        unit.bytes.push(0x0c);
        unit.place(0, UNIT_TEXT as u32);
        for function in 0..UNIT_FUNCTIONS {
            unit.bytes.push(2);
            unit.text(&format!("function_of_a_large_library_{function:04}"));
            unit.bytes.extend((function as u16).to_le_bytes());
            unit.place(function, 1);
            for parameter in 0..PARAMETERS {
                unit.bytes.push(3);
                unit.text(&format!("parameter_{parameter}"));
                unit.bytes.extend((function as u16).to_le_bytes());
            }
            unit.bytes.push(0);
        }
        unit.bytes.push(0);
        let length = unit.bytes.len() as u32 - 4;
        unit.bytes[..4].copy_from_slice(&length.to_le_bytes());
        unit
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn place(&mut self, from: u64, length: u32) {
        self.addresses.push((self.bytes.len(), from));
        self.bytes.extend([0; 8]);
        self.bytes.extend(length.to_le_bytes());
    }

    fn at(&self, start: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (place, from) in &self.addresses {
            bytes[*place..place + 8].copy_from_slice(&(start + from).to_le_bytes());
        }
        bytes
    }
}

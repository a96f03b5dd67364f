//! Programs whose call frame information lies: more of it than code, nested without end, or a search table that is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sources;

/// A function of its own, and the beginning of what is said of it: a CIE (System V ABI, `.eh_frame`; version 1, pointers
/// relative to where they are, as compilers write it).
const FUNCTION: &str = "\
    .text\n.globl lie\n.type lie, @function\n\
    lie: mov $200000, %ecx\n1: dec %ecx\n jnz 1b\n ret\n.Lend: .size lie, .-lie\n\
    .section .note.GNU-stack,\"\",@progbits\n\
    .section .eh_frame,\"a\",@progbits\n";

/// A CIE: its augmentation, and what is behind the encoding of pointers. Local label 5 is where it begins.
fn cie(augmentation: &str) -> String {
    format!(
        "5: .long 7f-6f\n6: .long 0\n .byte 1\n {augmentation}\n .byte 0\n .uleb128 1\n .sleb128 -8\n .byte 16\n\
         .uleb128 1\n .byte 0x1b\n .byte 0x0c, 7, 8, 0x90, 1\n .balign 8\n7:\n"
    )
}

/// An FDE of the function by the last CIE, with these instructions.
fn fde(instructions: &str) -> String {
    format!(
        " .long 9f-8f\n8: .long .-5b\n .long lie-.\n .long .Lend-lie\n .uleb128 0\n{instructions}\n .balign 8, 0\n9:\n"
    )
}

fn repeated(count: u32, what: &str) -> String {
    format!(".rept {count}\n{what}\n.endr\n")
}

/// Kinds of lies: a name, what is said of the function, and whether the linker can make a search table of it.
fn lies() -> Vec<(&'static str, String, bool)> {
    let plain = cie(".ascii \"zR\"");
    let one = |instructions: &str| [plain.clone(), fde(instructions)].concat();
    let many_fdes = repeated(150_000, &fde(".byte 0"));
    let many_cies = repeated(80_000, &[plain.clone(), fde(".byte 0")].concat());
    vec![
        // The row of each address, again and again: advance by 0, the CFA's offset is 8.
        (
            "cfa_rows",
            one(&repeated(2_000_000, ".byte 0x40, 0x0e, 8")),
            true,
        ),
        // Remember the state.
        ("cfa_states", one(&repeated(6_000_000, ".byte 0x0a")), true),
        // The CFA is an expression of four million operations that do nothing.
        (
            "cfa_terms",
            one(&[
                ".byte 0x0f\n .uleb128 4000000\n".to_owned(),
                repeated(4_000_000, ".byte 0x96"),
            ]
            .concat()),
            true,
        ),
        ("many_fdes", [plain.clone(), many_fdes].concat(), false),
        ("many_cies", many_cies, false),
        (
            "augmented",
            [
                cie(&[
                    ".ascii \"z\"\n".to_owned(),
                    repeated(4_000_000, ".byte 'R'"),
                ]
                .concat()),
                fde(".byte 0"),
            ]
            .concat(),
            false,
        ),
    ]
}

/// Writes one program for each kind of lie.
///
/// # Panics
///
/// When a compiler or binutils fail.
#[must_use]
pub fn programs(directory: &Path) -> Vec<PathBuf> {
    let compiled = lies().into_iter().map(|(kind, text, searchable)| {
        let assembly = directory.join(format!("{kind}.s"));
        fs::write(&assembly, [FUNCTION, &text].concat()).expect("there is room");
        let result = directory.join(kind);
        compile(&assembly, &result, searchable);
        fs::remove_file(assembly).expect("it was written");
        result
    });
    let mut programs: Vec<PathBuf> = compiled.collect();
    let honest = directory.join("honest.s");
    let text = [cie(".ascii \"zR\""), fde(".byte 0")].concat();
    fs::write(&honest, [FUNCTION, &text].concat()).expect("there is room");
    let program = directory.join("searched");
    compile(&honest, &program, true);
    // Its version, three encodings, where the information is, and the number of entries; then pairs of address and entry.
    programs.push(with_table(&program, "no_end", |table| {
        table[8..12].fill(0xff);
    }));
    programs.push(with_table(&program, "one_entry", |table| {
        let first: [u8; 4] = table[16..20].try_into().expect("four bytes");
        for pair in table[12..].as_chunks_mut::<8>().0 {
            pair[4..].copy_from_slice(&first);
        }
    }));
    for file in [honest, program] {
        fs::remove_file(file).expect("it was written");
    }
    programs
}

fn compile(assembly: &Path, result: &Path, searchable: bool) {
    let mut command = Command::new("gcc");
    command
        .args(["-O2", "-g0", "-fomit-frame-pointer"])
        .arg(sources().join("c/misleading.c"))
        .arg(assembly)
        .arg("-o")
        .arg(result);
    if !searchable {
        command.arg("-Wl,--no-eh-frame-hdr");
    }
    let status = command.status().expect("gcc is there");
    assert!(status.success(), "{command:?}");
}

/// A copy of a program with another search table.
fn with_table(program: &Path, kind: &str, lie: impl FnOnce(&mut [u8])) -> PathBuf {
    let directory = program.parent().expect("a directory");
    let part = directory.join(format!("{kind}.table"));
    let objcopy = |option: &str, result: &Path| {
        let mut command = Command::new("objcopy");
        command.arg(format!(
            "--{option}-section=.eh_frame_hdr={}",
            part.display()
        ));
        let status = command.arg(program).arg(result).status();
        assert!(status.expect("objcopy is there").success(), "{command:?}");
    };
    objcopy("dump", &directory.join("unchanged"));
    let mut table = fs::read(&part).expect("it was dumped");
    lie(&mut table);
    fs::write(&part, table).expect("there is room");
    let result = directory.join(kind);
    objcopy("update", &result);
    for file in [part, directory.join("unchanged")] {
        fs::remove_file(file).expect("it was written");
    }
    result
}

//! Symbols and debug information that are not in the executable itself.

use super::*;
use crate::profile::Degradation;

const C: &str = r#"
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
static inline int square(int x) { return x * x; }
__attribute__((noinline)) static int hidden_work(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) sum += square(i) ^ n;
  return sum;
}
int main(int argc, char **argv) {
  char *text = malloc(100 + argc);
  memset(text, argc, 100);
  printf("%d %zu\n", hidden_work(argc), strlen(text));
  free(text);
  return 0;
}
"#;

/// The built program, and its copy without symbols and debug information.
fn stripped(directory: &Path, compiler: &[&str]) -> (PathBuf, PathBuf) {
    let whole = compile(directory, "p.c", C, compiler);
    let bare = directory.join("bare");
    run(
        "strip",
        &["-s", "-o", "bare", whole.to_str().unwrap()],
        directory,
    );
    (whole, bare)
}

/// File offsets of a function that the whole program's symbol table names, and of its inlined code.
fn offsets_of(whole: &Path, function: &str) -> Vec<FileOffset> {
    use object::ObjectSymbol as _;
    let data = std::fs::read(whole).unwrap();
    let parsed = ElfFile64::<object::Endianness>::parse(&*data).unwrap();
    let symbol = parsed
        .symbols()
        .find(|symbol| symbol.name() == Ok(function))
        .unwrap();
    let text = parsed.section_by_name(".text").unwrap();
    let start = symbol.address() - text.address() + text.file_range().unwrap().0;
    (start..start + symbol.size()).map(FileOffset).collect()
}

fn names(profile: &Profile) -> Vec<Vec<String>> {
    let location = |location: &Location| {
        let name = |line: &crate::profile::LineEntry| {
            profile.functions[line.function.0 as usize].name.to_string()
        };
        location.lines.iter().map(name).collect()
    };
    profile.locations.iter().map(location).collect()
}

fn check_whole(profile: &Profile) {
    let names = names(profile);
    assert!(
        names
            .iter()
            .all(|names| names.last().unwrap() == "hidden_work"),
        "{names:?}"
    );
    assert!(
        names
            .iter()
            .any(|names| names == &["square", "hidden_work"]),
        "{names:?}"
    );
    assert!(
        profile
            .functions
            .iter()
            .all(|function| function.file.ends_with("/p.c"))
    );
    assert!(
        profile
            .functions
            .iter()
            .any(|f| &*f.name == "hidden_work" && f.start_line == 6)
    );
    assert!(profile.losses.is_empty(), "{:?}", profile.losses);
}

/// The stripped program at `bin/p` below a root of its own, with its debug information at `debug`, which its link states by
/// its last name: `p`, as the program's own is.
fn linked_by_its_own_name(debug: &str, build_id: &str) {
    let root = tempfile::tempdir().unwrap();
    let (whole, _) = stripped(root.path(), &["gcc", "-O2", "-g", build_id]);
    let debug = root.path().join(debug);
    let program = root.path().join("bin/p");
    for file in [&debug, &program] {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    }
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (whole_path, debug) = (text(&whole), text(&debug));
    let link = format!("--add-gnu-debuglink={debug}");
    let arguments = ["--only-keep-debug", &whole_path, &debug];
    run("objcopy", &arguments, root.path());
    run(
        "strip",
        &["-s", "-o", &text(&program), &whole_path],
        root.path(),
    );
    run("objcopy", &[&link, &text(&program)], root.path());
    let file = executable(1, &program, "/bin/p", Some(root.path()));
    let offsets = offsets_of(&whole, "hidden_work");
    check_whole(&resolve(&mut symbolizer(), &file, &offsets));
}

#[test]
fn a_debug_link_that_states_the_program_s_own_name() {
    for build_id in ["-Wl,--build-id=sha1", "-Wl,--build-id=none"] {
        linked_by_its_own_name("bin/.debug/p", build_id);
        linked_by_its_own_name("usr/lib/debug/bin/p", build_id);
    }
}

#[test]
fn a_build_id_longer_than_a_hash_leads_to_its_file() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    linked_by_its_own_name(
        &format!("usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]),
        &format!("-Wl,--build-id=0x{id}"),
    );
}

/// The program whose compiler left its debug information in an object file, and that file.
fn split(directory: &Path, version: &str) -> (PathBuf, PathBuf) {
    let flags = ["gcc", "-O2", "-g", "-gsplit-dwarf", version, "-c"];
    let object = compile(directory, "p.c", C, &flags);
    let program = directory.join("program");
    let arguments = [object.to_str().unwrap(), "-o", program.to_str().unwrap()];
    run("gcc", &arguments, directory);
    let find = |extension: &str| {
        let files = std::fs::read_dir(directory).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        files.find(|file| file.extension().is_some_and(|found| found == extension))
    };
    (program, find("dwo").expect("the compiler wrote it"))
}

#[test]
fn debug_information_that_the_linker_left_in_object_files() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let directory = tempfile::tempdir().unwrap();
        let (program, object) = split(directory.path(), version);
        let path = program.to_str().unwrap();
        let file = executable(1, &program, path, None);
        let offsets = offsets_of(&program, "hidden_work");
        check_whole(&resolve(&mut symbolizer(), &file, &offsets));
        // A second window finds the functions that it knows.
        let mut known = symbolizer();
        check_whole(&resolve(&mut known, &file, &offsets[1..]));
        check_whole(&resolve(&mut known, &file, &offsets));

        // Where the object files are gone, symbols and lines are left.
        std::fs::remove_file(object).unwrap();
        let profile = resolve(&mut symbolizer(), &file, &offsets);
        for names in names(&profile) {
            assert_eq!(names, ["hidden_work"]);
        }
        assert!(profile.functions.iter().all(|f| f.file.ends_with("/p.c")));
    }
}

#[test]
fn debug_information_of_object_files_in_one_package() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let directory = tempfile::tempdir().unwrap();
        let (program, object) = split(directory.path(), version);
        let package = directory.path().join("program.dwp");
        package_of(&object, &package, version);
        std::fs::remove_file(object).unwrap();
        let file = executable(1, &program, program.to_str().unwrap(), None);
        let offsets = offsets_of(&program, "hidden_work");
        check_whole(&resolve(&mut symbolizer(), &file, &offsets));
    }
}

/// Makes a package of one object file: its sections, and an index that says where in them its unit is (DWARF 5,
/// section 7.3.5; before, GCC's "DebugFissionDWP").
fn package_of(object: &Path, package: &Path, version: &str) {
    let data = std::fs::read(object).unwrap();
    let parsed = ElfFile64::<object::Endianness>::parse(&*data).unwrap();
    let section = |name: &str| {
        let section = parsed.section_by_name(name).unwrap();
        section.data().unwrap().to_vec()
    };
    let info = section(".debug_info.dwo");
    let modern = version == "-gdwarf-5";
    // The id: in the header of the unit, or its root's attribute, which readelf finds.
    let id = if modern {
        u64::from_le_bytes(info[12..20].try_into().unwrap())
    } else {
        let text = run(
            "readelf",
            &["--debug-dump=info", object.to_str().unwrap()],
            Path::new("/"),
        );
        let line = text.lines().find(|line| line.contains("dwo_id")).unwrap();
        let number = line.rsplit("0x").next().unwrap().trim();
        u64::from_str_radix(number, 16).unwrap()
    };
    // Kinds of sections, by their numbers in an index.
    let mut columns = vec![(1, info.len()), (3, section(".debug_abbrev.dwo").len())];
    columns.push((6, section(".debug_str_offsets.dwo").len()));
    let mut index = Vec::new();
    let version = if modern { 5_u32 } else { 2 };
    for word in [version, columns.len() as u32, 1, 2] {
        index.extend(word.to_le_bytes());
    }
    let slot = (id & 1) as usize;
    let mut slots = [0_u64; 2];
    slots[slot] = id;
    let mut rows = [0_u32; 2];
    rows[slot] = 1;
    slots.iter().for_each(|id| index.extend(id.to_le_bytes()));
    rows.iter().for_each(|row| index.extend(row.to_le_bytes()));
    columns
        .iter()
        .for_each(|(kind, _)| index.extend(u32::to_le_bytes(*kind)));
    columns
        .iter()
        .for_each(|_| index.extend(0_u32.to_le_bytes()));
    columns
        .iter()
        .for_each(|(_, length)| index.extend((*length as u32).to_le_bytes()));
    let file = package.with_extension("index");
    std::fs::write(&file, index).unwrap();
    let add = format!("--add-section=.debug_cu_index={}", file.display());
    let arguments = [&add, object.to_str().unwrap(), package.to_str().unwrap()];
    run("objcopy", &arguments, Path::new("/"));
}

#[test]
fn sections_that_an_older_linker_compressed() {
    let directory = tempfile::tempdir().unwrap();
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let whole = compile(directory.path(), "p.c", C, &["gcc", "-O2", "-g", version]);
        let arguments = [
            "--compress-debug-sections=zlib-gnu",
            whole.to_str().unwrap(),
            "z",
        ];
        run("objcopy", &arguments, directory.path());
        let compressed = directory.path().join("z");
        let sections = run("readelf", &["-SW", "z"], directory.path());
        assert!(
            sections.contains(".zdebug_info") && sections.contains(".zdebug_str"),
            "{sections}"
        );
        let file = executable(1, &compressed, "/z", None);
        let offsets = offsets_of(&whole, "hidden_work");
        check_whole(&resolve(&mut symbolizer(), &file, &offsets));
    }
}

#[test]
fn a_debug_link_within_the_process_s_root() {
    let root = tempfile::tempdir().unwrap();
    let (whole, bare) = stripped(root.path(), &["gcc", "-O2", "-g"]);
    let debug = root.path().join("usr/lib/debug/opt");
    std::fs::create_dir_all(&debug).unwrap();
    run(
        "objcopy",
        &[
            "--only-keep-debug",
            whole.to_str().unwrap(),
            "usr/lib/debug/opt/bare.debug",
        ],
        root.path(),
    );
    run(
        "objcopy",
        &[
            "--add-gnu-debuglink=usr/lib/debug/opt/bare.debug",
            bare.to_str().unwrap(),
        ],
        root.path(),
    );
    let file = executable(1, &bare, "/opt/bare", Some(root.path()));
    check_whole(&resolve(
        &mut symbolizer(),
        &file,
        &offsets_of(&whole, "hidden_work"),
    ));
}

#[test]
fn a_build_id_directory_within_the_process_s_root() {
    let root = tempfile::tempdir().unwrap();
    let (whole, bare) = stripped(root.path(), &["gcc", "-O2", "-g", "-Wl,--build-id=sha1"]);
    let file = executable(1, &bare, "/opt/bare", Some(root.path()));
    let id = file.build_id.unwrap().to_string();
    let directory = root.path().join("usr/lib/debug/.build-id").join(&id[..2]);
    std::fs::create_dir_all(&directory).unwrap();
    let debug = directory.join(format!("{}.debug", &id[2..]));
    run(
        "objcopy",
        &[
            "--only-keep-debug",
            whole.to_str().unwrap(),
            debug.to_str().unwrap(),
        ],
        root.path(),
    );
    check_whole(&resolve(
        &mut symbolizer(),
        &file,
        &offsets_of(&whole, "hidden_work"),
    ));

    // The same path with another program's debug information is not believed.
    let other = compile(
        root.path(),
        "other.c",
        "int main(void) { return 1; }",
        &["gcc", "-g"],
    );
    std::fs::copy(other, &debug).unwrap();
    let profile = resolve(&mut symbolizer(), &file, &offsets_of(&whole, "hidden_work"));
    assert!(
        names(&profile)
            .iter()
            .all(|names| names[0].starts_with("bare+0x"))
    );
}

#[test]
fn a_link_out_of_the_root_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let (whole, bare) = stripped(outside.path(), &["gcc", "-O2", "-g"]);
    let root = outside.path().join("root");
    std::fs::create_dir_all(root.join("opt")).unwrap();
    run(
        "objcopy",
        &["--add-gnu-debuglink=p.c.out", bare.to_str().unwrap()],
        outside.path(),
    );
    std::os::unix::fs::symlink(&whole, root.join("opt/p.c.out")).unwrap();
    let file = executable(1, &bare, "/opt/bare", Some(&root));
    let profile = resolve(&mut symbolizer(), &file, &offsets_of(&whole, "hidden_work"));
    assert!(
        names(&profile)
            .iter()
            .all(|names| names[0].starts_with("bare+0x"))
    );
}

#[test]
fn compressed_symbols_in_the_file_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, bare) = stripped(directory.path(), &["gcc", "-O2", "-g"]);
    let whole_path = whole.to_str().unwrap();
    run(
        "objcopy",
        &[
            "-S",
            "--keep-symbol=hidden_work",
            "--strip-debug",
            whole_path,
            "mini",
        ],
        directory.path(),
    );
    run("xz", &["mini"], directory.path());
    run(
        "objcopy",
        &[
            "--add-section",
            ".gnu_debugdata=mini.xz",
            bare.to_str().unwrap(),
        ],
        directory.path(),
    );
    let file = executable(1, &bare, "/opt/bare", None);
    let profile = resolve(&mut symbolizer(), &file, &offsets_of(&whole, "hidden_work"));
    assert!(
        names(&profile)
            .iter()
            .all(|names| names == &["hidden_work"]),
        "{:?}",
        names(&profile)
    );
}

#[test]
fn sections_compressed_with_zstd() {
    let directory = tempfile::tempdir().unwrap();
    let whole = compile(directory.path(), "p.c", C, &["gcc", "-O2", "-g"]);
    let compressed = directory.path().join("compressed");
    run(
        "objcopy",
        &[
            "--compress-debug-sections=zstd",
            whole.to_str().unwrap(),
            compressed.to_str().unwrap(),
        ],
        directory.path(),
    );
    let file = executable(1, &compressed, "/opt/compressed", None);
    check_whole(&resolve(
        &mut symbolizer(),
        &file,
        &offsets_of(&whole, "hidden_work"),
    ));
}

#[test]
fn debug_information_above_the_budget_leaves_symbols_and_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let whole = compile(directory.path(), "p.c", C, &["gcc", "-O2", "-g"]);
    let file = executable(1, &whole, "/opt/whole", None);
    let mut symbolizer = Symbolizer::new(&SymbolizeConfig {
        debug_info_bytes: 64,
        ..SymbolizeConfig::default()
    });
    let offsets = offsets_of(&whole, "hidden_work");
    let (first, second) = offsets.split_at(offsets.len() / 2);
    let profile = resolve(&mut symbolizer, &file, first);
    assert!(
        names(&profile)
            .iter()
            .all(|names| names == &["hidden_work"])
    );
    assert_eq!(profile.losses.of(Degradation::DebugInfoBudget), 1);
    let profile = resolve(&mut symbolizer, &file, second);
    assert_eq!(profile.losses.of(Degradation::DebugInfoBudget), 0);
}

#[test]
fn linkage_stubs_are_called_by_their_functions() {
    let directory = tempfile::tempdir().unwrap();
    for extra in [
        "-fcf-protection=full",
        "-fcf-protection=none",
        "-Wl,-z,now",
        "-no-pie",
    ] {
        let (whole, bare) = stripped(
            directory.path(),
            &["gcc", "-O2", "-fno-builtin", "-Wl,-z,lazy", extra],
        );
        let listing = run(
            "objdump",
            &[
                "-d",
                "-j",
                ".plt",
                "-j",
                ".plt.sec",
                "-j",
                ".plt.got",
                whole.to_str().unwrap(),
            ],
            Path::new("/"),
        );
        let file = executable(1, &bare, "/opt/bare", None);
        let mut checked = 0;
        for line in listing.lines() {
            let Some((address, name)) = line
                .strip_suffix("@plt>:")
                .and_then(|line| line.split_once(" <"))
            else {
                continue;
            };
            let segment = file.segments[0];
            let address = u64::from_str_radix(address, 16).unwrap();
            let offset = FileOffset(address - segment.address.0 + segment.offset.0 + 4);
            let profile = resolve(&mut symbolizer(), &file, &[offset]);
            let found = names(&profile);
            assert_eq!(found, [[format!("{name}@plt")]], "{extra} {line}");
            checked += 1;
        }
        assert!(checked >= 4, "{extra}: {listing}");
    }
}

/// `dwz` moves what two programs have in common into a third file, which both refer to.
#[test]
fn parts_shared_with_other_programs_in_a_supplementary_file() {
    let root = tempfile::tempdir().unwrap();
    let (inline, rest) = C.split_once("__attribute__").unwrap();
    std::fs::write(root.path().join("shared.h"), inline).unwrap();
    let source = format!("#include \"shared.h\"\n__attribute__{rest}");
    let compiler = ["gcc", "-O2", "-g", "-gdwarf-4"];
    let one = compile(root.path(), "one.c", &source, &compiler);
    compile(root.path(), "two.c", &source, &compiler);
    let shared = root.path().join("usr/lib/debug/.dwz/common.debug");
    std::fs::create_dir_all(shared.parent().unwrap()).unwrap();
    let offsets = offsets_of(&one, "hidden_work");
    let (to, called) = (
        "usr/lib/debug/.dwz/common.debug",
        "/usr/lib/debug/.dwz/common.debug",
    );
    run(
        "dwz",
        &["-m", to, "-M", called, "one.c.out", "two.c.out"],
        root.path(),
    );
    let file = executable(1, &one, "/opt/one", Some(root.path()));
    let inlined = |profile: &Profile, name: &str| {
        let chains = names(profile);
        assert!(
            chains
                .iter()
                .all(|names| names.last().unwrap() == "hidden_work")
        );
        chains.iter().any(|names| names == &[name, "hidden_work"])
    };
    let profile = resolve(&mut symbolizer(), &file, &offsets);
    assert!(inlined(&profile, "square"), "{:?}", names(&profile));
    std::fs::remove_file(shared).unwrap();
    let profile = resolve(&mut symbolizer(), &file, &offsets);
    assert!(inlined(&profile, "[unknown]"), "{:?}", names(&profile));
}

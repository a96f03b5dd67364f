//! Functions, inlined calls and lines of optimised programs, thousands of addresses each.

use std::path::Path;

use super::*;
use crate::profile::FrameType;

const CPP: &str = r#"
#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <vector>
#include <cstdio>
namespace {
struct Shape { virtual ~Shape() = default; virtual double area() const = 0; };
struct Circle final : Shape { double r; explicit Circle(double r) : r(r) {} double area() const override { return 3.14 * r * r; } };
static inline double twice(double x) { return x * 2; }
__attribute__((noinline)) double hidden(const std::vector<double>& v) {
  return std::accumulate(v.begin(), v.end(), 0.0, [](double a, double b) { return a + twice(b); });
}
}
template <typename T> struct Tree { std::map<T, std::string> nodes; void add(T key) { nodes.emplace(key, std::to_string(key)); } };
extern "C" int a(int x) { return x * 3 + 1; }
__attribute__((noinline)) static int recurse(int depth) { if (depth > 100) throw depth; return depth < 2 ? a(depth) : recurse(depth - 1) + recurse(depth - 2); }
int main(int argc, char** argv) {
  std::vector<double> v(1000, argc);
  Tree<int> tree;
  for (int i = 0; i < 100; i++) tree.add(i * argc);
  Circle c(argc);
  std::sort(v.begin(), v.end(), [](double x, double y) { return x > y; });
  try { recurse(argc * 200); } catch (int d) { std::printf("%d\n", d); }
  std::string s;
  for (auto& [k, t] : tree.nodes) s += t;
  std::printf("%f %f %zu %d\n", hidden(v), static_cast<Shape&>(c).area(), s.size(), recurse(argc + 10));
}
"#;

const RUST: &str = r#"
use std::collections::HashMap;
mod inner {
    #[inline(always)]
    pub fn step(x: u64) -> u64 { x.wrapping_mul(31).rotate_left(7) }
    #[inline(never)]
    pub fn run<T: Iterator<Item = u64>>(items: T) -> u64 { items.map(|x| step(x) ^ 5).filter(|x| x % 3 != 0).sum() }
}
#[unsafe(no_mangle)]
pub extern "C" fn exported(x: u64) -> u64 { inner::step(x) }
fn main() {
    let n = std::env::args().count() as u64;
    let mut map: HashMap<String, Vec<u64>> = HashMap::new();
    for i in 0..n * 100 { map.entry(format!("key{}", i % 7)).or_default().push(i); }
    let mut all: Vec<_> = map.into_iter().collect();
    all.sort_by(|a, b| b.0.cmp(&a.0));
    println!("{:?} {} {}", all.first(), inner::run(0..n * 1000), exported(n));
}
"#;

/// Of `count` addresses all have the chain of functions, files and lines that addr2line says, but for
/// a share of `tolerated` per mille.
fn check(file: &Path, count: u64, tolerated: usize) -> Profile {
    let executable = executable(1, file, "/opt/program", None);
    let offsets = text_offsets(file, count);
    let addresses: Vec<ElfAddress> = offsets
        .iter()
        .map(|o| executable.elf_address(*o).unwrap())
        .collect();
    let truth = addr2line(file, &addresses);
    let profile = resolve(&mut symbolizer(), &executable, &offsets);
    let mut wrong = Vec::new();
    let mut with_lines = 0;
    let mut padding = 0;
    for (index, expected) in truth.iter().enumerate() {
        let location =
            &profile.locations[profile.stacks.get(profile.samples[0].stack)[index].0 as usize];
        let found = frames(&profile, location);
        with_lines += usize::from(expected[0].2 > 0);
        // Between functions: in no function's range, though addr2line names the one before.
        if found[0].0.starts_with("program+0x") && expected.len() == 1 {
            padding += 1;
        } else if !same(expected, &found) {
            wrong.push((addresses[index], expected, found));
        }
    }
    for (address, expected, found) in wrong.iter().take(8) {
        println!("{address}\n  expected {expected:?}\n  found    {found:?}");
    }
    println!(
        "{} of {} differ, {with_lines} with lines, {padding} padding",
        wrong.len(),
        truth.len()
    );
    assert!(with_lines * 2 > truth.len(), "the truth says too little");
    assert!(padding * 10 < truth.len());
    assert!(wrong.len() * 1000 <= truth.len() * tolerated);
    profile
}

/// Equal but for what addr2line does not know (it prints `??` and line 0), and for code without debug
/// information: there it names the symbol before, however far, and the assembler's source file.
fn same(expected: &[Frame], found: &[Frame]) -> bool {
    if let ([expected], [found]) = (expected, found)
        && expected.2 == 0
        && !expected.1.starts_with('/')
    {
        return found.2 == 0 && expected.0 == found.0;
    }
    // A function without a linkage name is `recurse` in DWARF, `_ZL7recursei.cold` in the
    // symbol table.
    let fuller = |expected: &str, found: &str| {
        let stem = expected.split('<').next().unwrap_or(expected);
        !expected.starts_with("_Z") && found.starts_with("_Z") && found.contains(stem)
            || found
                .strip_prefix(expected)
                .is_some_and(|rest| rest.starts_with('.'))
    };
    // addr2line takes the symbol's name for an innermost inlined function without a linkage name.
    let symbol_s = |depth: usize, found: &str| {
        depth == 0 && expected.len() > 1 && !found.starts_with("_Z") && !found.starts_with("_R")
    };
    expected.len() == found.len()
        && expected
            .iter()
            .zip(found)
            .enumerate()
            .all(|(depth, (expected, found))| {
                (expected.0 == "??"
                    || expected.0 == found.0
                    || fuller(&expected.0, &found.0)
                    || symbol_s(depth, &found.0))
                    && (expected.1 == "??" || expected.1 == found.1)
                    && expected.2 == found.2
            })
}

#[test]
fn cpp_with_dwarf_5() {
    let directory = tempfile::tempdir().unwrap();
    let file = compile(
        directory.path(),
        "p.cpp",
        CPP,
        &["g++", "-O2", "-g", "-gdwarf-5"],
    );
    let profile = check(&file, 5_000, 0);
    assert!(
        profile.functions.iter().any(|f| &*f.name == "a"),
        "a C name stays"
    );
    assert!(
        profile
            .functions
            .iter()
            .any(|f| f.name.starts_with("Tree<int>::add("))
    );
    assert!(
        profile
            .locations
            .iter()
            .any(|location| location.lines.len() > 3)
    );
}

#[test]
fn cpp_with_dwarf_4_and_compressed_sections() {
    let directory = tempfile::tempdir().unwrap();
    let file = compile(
        directory.path(),
        "p.cpp",
        CPP,
        &[
            "g++",
            "-O2",
            "-g",
            "-gdwarf-4",
            "-ffunction-sections",
            "-Wl,--gc-sections",
            "-gz=zlib",
        ],
    );
    check(&file, 3_000, 0);
}

#[test]
fn rust_with_its_standard_library() {
    let directory = tempfile::tempdir().unwrap();
    let file = compile(
        directory.path(),
        "p.rs",
        RUST,
        &["rustc", "--edition=2024", "-O", "-g"],
    );
    let profile = check(&file, 5_000, 0);
    let rust = profile
        .locations
        .iter()
        .filter(|l| l.frame_type == FrameType::Rust)
        .count();
    assert!(rust * 2 > profile.locations.len());
    assert!(
        profile
            .functions
            .iter()
            .any(|f| f.name.contains("inner::run"))
    );
    assert!(profile.functions.iter().all(|f| !f.name.contains("17h")));
}

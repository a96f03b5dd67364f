//! Tables from Go's line table: beside Go's own call frame information, which its linker writes from other
//! data structures, and function by function where the two are not the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_agent::go::{Function, LineTable};
use profiler_agent::profile::UnwindTable;
use profiler_agent::unwind::{build, build_go};
use profiler_common::unwind::table::rule_index;
use profiler_common::unwind::{CfaKind, Rule, SavedKind, StackSwitch};

const WITH_C: &str = "package main\n\n// static int one(void) { return 1; }\nimport \"C\"\n\n\
    import \"net/http\"\n\nfunc main() { println(C.one(), http.StatusText(200)) }\n";
const PLAIN: &str = "package main\n\nimport \"net/http\"\n\n\
    func main() { println(http.StatusText(200)) }\n";

fn program(directory: &Path, source: &str, machine: &str, arguments: &[&str]) -> PathBuf {
    std::fs::write(directory.join("main.go"), source).expect("a file is written");
    std::fs::write(directory.join("go.mod"), "module program\n\ngo 1.21\n")
        .expect("a file is written");
    let output = directory.join("program");
    let status = Command::new("go")
        .arg("build")
        .args(arguments)
        .arg("-o")
        .arg(&output)
        .current_dir(directory)
        .env("GOTOOLCHAIN", "local")
        .env("GOARCH", machine)
        .env("CGO_ENABLED", if source == WITH_C { "1" } else { "0" })
        .status()
        .expect("Go is installed: `cargo xtask test` says how");
    assert!(status.success());
    output
}

struct Program {
    data: Vec<u8>,
    /// From the line table, and from call frame information alone.
    tables: [UnwindTable; 2],
}

impl Program {
    fn new(source: &str, machine: &str) -> Self {
        Self::with(source, machine, &[])
    }

    fn with(source: &str, machine: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory is made");
        let path = program(directory.path(), source, machine, arguments);
        let data = std::fs::read(path).expect("the program is read");
        let lines = LineTable::find(&data).expect("a Go program has a line table");
        let with = build_go(data.as_slice(), &lines).expect("a table");
        assert!(with.statistics.go_functions as usize > lines.len() * 99 / 100);
        assert_eq!(with.statistics.rules_full, 0);
        // A stripped program has no other information.
        let without = build(data.as_slice()).map_or(with.table.clone(), |built| built.table);
        let tables = [with.table, without];
        Self { data, tables }
    }

    fn lines(&self) -> LineTable<'_> {
        LineTable::find(&self.data).expect("it was found before")
    }

    fn rule(&self, table: usize, address: u64) -> Rule {
        let table = &self.tables[table];
        let offset = address - table.start.0;
        let number = rule_index(table.words.as_slice(), table.buckets, offset).expect("covered");
        table.rules[usize::from(number)]
    }

    /// The rules of the function in assembly of this name, and how far from its start each holds from on.
    fn rules(&self, name: &str) -> Vec<(u64, Rule)> {
        let lines = self.lines();
        let named = |function: &Function<'_>| function.name() == Some(name.as_bytes());
        let function = lines.functions().find(named).expect(name);
        let start = function.entry().0;
        let mut rules: Vec<(u64, Rule)> = Vec::new();
        for address in start..function.end().0 {
            let rule = self.rule(0, address);
            if rules.last().is_none_or(|(_, last)| *last != rule) {
                rules.push((address - start, rule));
            }
        }
        rules
    }

    fn switches(&self, name: &str) -> Vec<(u16, i32)> {
        let rules = self.rules(name);
        let mut switches: Vec<_> = rules
            .iter()
            .map(|(_, rule)| (rule.switch, rule.switch_offset))
            .filter(|(switch, _)| *switch != StackSwitch::None as u16)
            .collect();
        switches.dedup();
        switches
    }
}

/// Every address of functions without specialities has the CFA and the return address that Go's call frame
/// information states.
fn agrees(program: &Program) {
    let (mut same, mut functions) = (0_u64, 0);
    for function in program.lines().functions() {
        let flags = function.flags();
        if flags.top_frame() || flags.writes_stack_pointer() || flags.assembly() {
            continue;
        }
        functions += 1;
        for address in function.entry().0..function.end().0 {
            let [with, without] = [0, 1].map(|table| program.rule(table, address));
            if with.cfa == CfaKind::None as u8 || with.signal != 0 {
                continue;
            }
            let name = String::from_utf8_lossy(function.name().unwrap_or_default());
            assert_eq!(
                (with.cfa, with.cfa_register, with.cfa_offset),
                (without.cfa, without.cfa_register, without.cfa_offset),
                "{name} at {address:#x}"
            );
            let place = |rule: &Rule| (rule.return_address, rule.return_address_offset);
            assert_eq!(place(&with), place(&without), "{name} at {address:#x}");
            same += 1;
        }
    }
    assert!(functions > 2000 && same > 500_000, "{functions} {same}");
}

#[test]
fn deltas_say_what_call_frame_information_says_on_x86_64() {
    agrees(&Program::new(PLAIN, "amd64"));
}

#[test]
fn deltas_say_what_call_frame_information_says_on_aarch64() {
    agrees(&Program::new(PLAIN, "arm64"));
}

#[test]
fn switches_on_x86_64() {
    let program = Program::new(WITH_C, "amd64");
    let switch = |switch: StackSwitch, offset: i32| vec![(switch as u16, offset)];
    for (name, expected) in [
        ("runtime.systemstack", switch(StackSwitch::SystemStack, 0)),
        ("runtime.mcall", switch(StackSwitch::Call, 0)),
        ("runtime.morestack", switch(StackSwitch::Grow, 0)),
        ("gogo", switch(StackSwitch::Resume, 0)),
        ("runtime.asmcgocall", switch(StackSwitch::ForeignCall, 8)),
        ("runtime.cgocallback", switch(StackSwitch::Callback, 0)),
        ("runtime.schedule", switch(StackSwitch::Schedule, 0)),
        ("runtime.nanotime1", switch(StackSwitch::FramePointer, 0)),
        ("time.now", switch(StackSwitch::FramePointer, 0)),
        ("runtime.sigfwd", switch(StackSwitch::FramePointer, 0)),
        ("runtime.clone", vec![]),
        ("runtime.memmove", vec![]),
    ] {
        assert_eq!(program.switches(name), expected, "{name}");
    }
    for name in ["runtime.goexit", "runtime.mstart", "runtime.rt0_go"] {
        let mut rules = program.rules(name);
        // Behind it is padding.
        rules.retain(|(_, rule)| *rule != Rule::NONE);
        assert_eq!(rules, [(0, Rule::END_OF_STACK)], "{name}");
    }
    // Called with C's registers in their places, which it saves: rbx lowest.
    let rules = program.rules("crosscall2");
    let deepest = rules
        .iter()
        .map(|(_, rule)| rule)
        .max_by_key(|rule| rule.cfa_offset);
    let deepest = deepest.expect("it has rules");
    assert_eq!(
        (deepest.frame_pointer, deepest.frame_pointer_offset),
        (SavedKind::AtCfa as u8, -16)
    );
    assert_eq!(
        (deepest.base_register, deepest.base_register_offset),
        (SavedKind::AtCfa as u8, -64)
    );
    assert_eq!(rules[0].1.base_register, SavedKind::Same as u8);
    // C's functions keep what their compiler says.
    let sigreturn = program.rules("runtime.sigreturn__sigaction");
    assert_eq!((sigreturn[0].0, sigreturn[0].1.signal), (0, 1));
    let injected = program.rules("runtime.asyncPreempt");
    let padding = |rule: &Rule| *rule == Rule::NONE;
    assert!(
        injected
            .iter()
            .all(|(_, rule)| rule.signal == 1 || padding(rule))
    );
}

#[test]
fn racecall_keeps_its_stack_pointer_in_a_register() {
    let program = Program::with(WITH_C, "amd64", &["-race"]);
    let switches = program.rules("racecall");
    let kept: Vec<usize> = (0..switches.len())
        .filter(|at| switches[*at].1.switch == StackSwitch::RaceCall as u16)
        .collect();
    let [kept] = kept[..] else {
        panic!("{switches:?}");
    };
    // Until then, and behind it, its frame is where the stack pointer is.
    for (_, rule) in [&switches[kept - 1], &switches[kept + 1]] {
        assert_eq!((rule.switch, rule.cfa_offset), (0, 8));
    }
    // The register is r12: where C's registers are saved it lies above rbx.
    let saved = program.rules("crosscall2");
    let deepest = saved
        .iter()
        .map(|(_, rule)| rule)
        .max_by_key(|rule| rule.cfa_offset);
    assert_eq!(deepest.expect("rules").base_register_offset, -56);
    let saved = program.rules("runtime.racecallbackthunk");
    let deepest = saved
        .iter()
        .map(|(_, rule)| rule)
        .max_by_key(|rule| rule.cfa_offset);
    let deepest = deepest.expect("rules");
    assert_eq!(
        (deepest.base_register, deepest.base_register_offset),
        (SavedKind::AtCfa as u8, -48)
    );
    let interrupted = program.rules("runtime.sigreturn__sigaction")[0].1;
    assert_eq!(interrupted.base_register_offset, 72);
}

#[test]
fn a_return_address_before_the_trampoline_s_first_byte_finds_it() {
    let program = Program::new(PLAIN, "amd64");
    let lines = program.lines();
    let trampoline = lines
        .functions()
        .find(|function| function.name() == Some(b"runtime.sigreturn__sigaction"))
        .expect("Go's own signal trampoline");
    assert_eq!(program.rule(0, trampoline.entry().0 - 1).signal, 1);
}

#[test]
fn switches_on_aarch64() {
    let program = Program::new(PLAIN, "arm64");
    let switch = |switch: StackSwitch, offset: i32| vec![(switch as u16, offset)];
    for (name, expected) in [
        ("runtime.systemstack", switch(StackSwitch::SystemStack, 0)),
        ("runtime.mcall", switch(StackSwitch::Call, 0)),
        ("runtime.morestack", switch(StackSwitch::Grow, 0)),
        ("runtime.morestack_noctxt", switch(StackSwitch::Grow, 0)),
        ("gogo", switch(StackSwitch::Resume, 0)),
        ("runtime.asmcgocall", switch(StackSwitch::ForeignCall, 0)),
        ("runtime.schedule", switch(StackSwitch::Schedule, 0)),
        ("runtime.nanotime1", switch(StackSwitch::FramePointer, 0)),
        ("runtime.walltime", switch(StackSwitch::FramePointer, 0)),
    ] {
        assert_eq!(program.switches(name), expected, "{name}");
    }
    // In a leaf the return address is in the link register; below a frame at the stack pointer, and
    // the frame pointer under it.
    let nanotime = program.rules("runtime.nanotime1");
    assert_eq!(nanotime[0].1.return_address, SavedKind::Same as u8);
    let framed = nanotime[1].1;
    assert_eq!(framed.cfa_offset, -framed.return_address_offset);
    assert_eq!(
        framed.frame_pointer_offset,
        framed.return_address_offset - 8
    );
    // The caller's frame pointer is back before the frame is given up: no switch is found by it then.
    let (at, last) = nanotime
        .iter()
        .rev()
        .find(|(_, rule)| rule.cfa_offset > 0)
        .expect("it has a frame");
    assert_eq!(last.switch, StackSwitch::None as u16);
    let behind = nanotime
        .iter()
        .find(|(next, _)| next > at)
        .expect("it returns");
    assert_eq!((behind.0 - at, behind.1.cfa_offset), (4, 0));
    // Room for a call of C below the frame leaves the return address where it was.
    let calls_c = program.rules("runtime.callCgoMmap");
    let deepest = calls_c.iter().map(|(_, rule)| rule);
    let deepest = deepest
        .max_by_key(|rule| rule.cfa_offset)
        .expect("it has rules");
    assert_eq!(
        (deepest.cfa_offset, deepest.return_address_offset),
        (32, -16)
    );
    // Where it goes on in the function that it was given, its frame is gone.
    let mut runs = program.rules("runtime.systemstack");
    runs.retain(|(_, rule)| *rule != Rule::NONE);
    let (_, last) = runs.last().expect("it has rules");
    assert_eq!(
        (last.cfa_offset, last.return_address, last.switch),
        (0, SavedKind::Same as u8, StackSwitch::None as u16)
    );
    // The handler of signals is called by C's conventions, and saves x19 at 32 from its stack pointer on.
    let handler = program.rules("runtime.sigtramp");
    let body = handler.iter().map(|(_, rule)| rule);
    let body = body
        .max_by_key(|rule| rule.cfa_offset)
        .expect("it has rules");
    assert_eq!(
        (body.return_address_offset, body.base_register_offset),
        (-body.cfa_offset, 32 - body.cfa_offset)
    );
    assert_eq!(body.base_register, SavedKind::AtCfa as u8);
    // 16 bytes below the interrupted frame are the signal handler's.
    let injected = program.rules("runtime.asyncPreempt");
    assert_eq!(
        (injected[0].1.cfa_offset, injected[0].1.return_address),
        (16, SavedKind::Same as u8)
    );
    let body = injected
        .iter()
        .map(|(_, rule)| rule)
        .max_by_key(|rule| rule.cfa_offset);
    let body = body.expect("it has rules");
    assert_eq!(body.signal, 1);
    assert_eq!((body.cfa_offset, body.return_address_offset), (256, -256));
}

#[test]
fn stripped_programs_have_the_same_rules() {
    let [whole, stripped] =
        [&[][..], &["-ldflags=-s -w"]].map(|arguments| Program::with(PLAIN, "amd64", arguments));
    for function in whole.lines().functions() {
        // Elsewhere, in markers that are no code, holds what else there is.
        let ranges = function
            .stack_deltas()
            .map(|range| range.expect("a range").0);
        for address in ranges.flat_map(|range| range.start.0..range.end.0) {
            assert_eq!(
                whole.rule(0, address),
                stripped.rule(0, address),
                "{address:#x}"
            );
        }
    }
}

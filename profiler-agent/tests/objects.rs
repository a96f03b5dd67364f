//! The committed objects of both machines have the programs and maps that the loader asks for.

use aya_obj::Object;

fn check(machine: &str) {
    let path = format!(
        "{}/../profiler-ebpf/object/profiler-{machine}.bpf.o",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(&path).expect("the object is committed");
    let object = Object::parse(&bytes).expect("the object is one that the loader reads");
    for program in [
        "sample",
        "sample_bounded",
        "find_user_registers",
        "process_fork",
        "process_exec",
        "process_exit",
        "process_free",
        "off_switch",
        "off_switch_hash",
        "off_wakeup",
        "off_wakeup_hash",
        "off_resume",
        "off_resume_bounded",
        "off_entry",
        "off_entry_bounded",
        "off_probe",
        "off_probe_bounded",
    ] {
        assert!(
            object.programs.contains_key(program),
            "{machine}: {program}"
        );
    }
    for map in [
        "PROCESSES",
        "EMPTY_PROCESS",
        "CHUNKS",
        "RULES",
        "RUNTIMES",
        "TRACES",
        "TRACES_UNTYPED",
        "USER_REGISTERS",
        "SEGMENTS",
        "RINGS",
        "SELECTED",
        "COUNTS",
        "SCRATCH",
        "SNAPSHOT",
        "OFF_CPU_BEGAN",
        "DECISION",
        "TASK_STAYS",
        "STAYS",
    ] {
        assert!(object.maps.contains_key(map), "{machine}: {map}");
    }
    assert!(
        !bytes.windows(7).any(|name| name == b".debug_"),
        "{machine}: debug information is stripped"
    );
}

#[test]
fn x86_64_has_what_the_loader_asks_for() {
    check("x86_64");
}

#[test]
fn aarch64_has_what_the_loader_asks_for() {
    check("aarch64");
}

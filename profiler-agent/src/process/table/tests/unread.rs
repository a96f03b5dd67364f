//! Processes whose mappings cannot be read in time.

use super::*;

#[test]
fn what_is_known_of_a_process_stays_where_its_mappings_are_not_read() {
    let mut table = Table::new(Values::default());
    table.exec_(10 * SECOND, 5, "prog");
    table.map_(10 * SECOND + 1, 5, 0x1000..0x2000, "/bin/prog");
    let unread = |comm: &str| FoundProcess {
        mappings: None,
        started: BootTime(10 * SECOND),
        ..found(50 * SECOND, comm, Vec::new())
    };
    for (pid, comm) in [(5, "prog"), (6, "other")] {
        table.reader.processes.insert(pid, unread(comm));
    }
    table.scan(BootTime(50 * SECOND));
    assert_eq!(table.place(51 * SECOND, 5, 0x1010), at("/bin/prog", 0x110));
    // What was mapped before the scan and is told of late was not in it.
    table.map_(49 * SECOND, 5, 0x3000..0x4000, "/lib/c.so");
    assert_eq!(table.place(51 * SECOND, 5, 0x3010), at("/lib/c.so", 0x110));
    // It is known all the same.
    assert_eq!(&*table.process(6).unwrap().comm, "other");
    assert_eq!(table.mappings(6).count(), 0);
}

#[test]
fn what_was_not_read_in_time_is_read_again_less_and_less_often() {
    let mut table = Table::new(Values::default());
    let unread = FoundProcess {
        mappings: None,
        ..found(50 * SECOND, "late", Vec::new())
    };
    table.reader.processes.insert(6, unread.clone());
    table.scan(BootTime(50 * SECOND));
    let mut reads = Vec::new();
    for second in 50..60 {
        let before = table.reader.reads;
        let now = BootTime(second * SECOND);
        table.reader.processes.get_mut(&6).unwrap().at = now;
        table.prune(now);
        if table.reader.reads > before {
            reads.push(second);
        }
    }
    assert_eq!(reads, [51, 53, 57]);
    let mapping = ExecutableMapping {
        range: VirtualAddress(0x1000)..VirtualAddress(0x2000),
        kind: MappingKind::File {
            executable: executable(90, b"/bin/late"),
            offset: FileOffset(0x100),
        },
    };
    let read = found(64 * SECOND, "late", vec![mapping]);
    table.reader.processes.insert(6, read);
    table.prune(BootTime(65 * SECOND));
    assert_eq!(table.place(66 * SECOND, 6, 0x1010), at("/bin/late", 0x110));
    assert_eq!(table.take_changed(), [6]);
    // Now it is known.
    let before = table.reader.reads;
    table.prune(BootTime(300 * SECOND));
    assert_eq!(table.reader.reads, before);
}

#[test]
fn those_that_answer_are_read_at_once_up_to_one_that_does_not() {
    let mut table = Table::new(Values::default());
    for pid in 6..16 {
        let unread = FoundProcess {
            mappings: None,
            ..found(50 * SECOND, "late", Vec::new())
        };
        table.reader.processes.insert(pid, unread);
    }
    table.scan(BootTime(50 * SECOND));
    for pid in (6..16).filter(|pid| *pid != 10) {
        let read = found(51 * SECOND, "late", Vec::new());
        table.reader.processes.insert(pid, read);
    }
    let mut reads_at = |second: u64| {
        let before = table.reader.reads;
        table.prune(BootTime(second * SECOND));
        table.reader.reads - before
    };
    // The last five come with the second attempt at the one; its third is not due yet.
    assert_eq!([51, 52, 53].map(&mut reads_at), [5, 6, 0]);
}

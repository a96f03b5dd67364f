//! Against a model that keeps, for every single address, what was mapped there when.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::{Inserted, MappingSet};
use crate::profile::{
    BootTime, ElfAddress, Executable, ExecutableId, ExecutableMapping, FileOffset, MappingKind,
    Segment, VirtualAddress,
};

const ADDRESSES: u64 = 24;

fn executable(id: u32) -> Arc<Executable> {
    Arc::new(Executable {
        id: ExecutableId(id),
        path: format!("/{id}").into(),
        file: None,
        image: None,
        length: 0,
        build_id: None,
        htl_hash: OnceLock::new(),
        segments: Box::default(),
        constants: Box::default(),
        root: None,
    })
}

/// What is at one address: `None` for anonymous memory, else file and offset.
type Content = Option<(ExecutableId, u64)>;

fn content_of(mapping: &ExecutableMapping, address: u64) -> Content {
    assert!(mapping.range.contains(&VirtualAddress(address)));
    match &mapping.kind {
        MappingKind::Anonymous => None,
        MappingKind::File { executable, offset } => {
            Some((executable.id, offset.0 + address - mapping.range.start.0))
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Map(Piece),
    Scan(Vec<Piece>),
}

#[derive(Clone, Debug)]
struct Piece {
    range: Range<u64>,
    /// File and bias; `None` for anonymous memory.
    file: Option<(usize, u64)>,
}

fn piece() -> impl Strategy<Value = Piece> {
    (
        0..ADDRESSES,
        1..ADDRESSES,
        proptest::option::of((0..2_usize, prop_oneof![Just(100_u64), Just(200)])),
    )
        .prop_map(|(start, length, file)| Piece {
            range: start..(start + length).min(ADDRESSES),
            file,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => piece().prop_map(Step::Map),
        1 => proptest::collection::vec(piece(), 0..4).prop_map(Step::Scan),
    ]
}

fn mapping(piece: &Piece, files: &[Arc<Executable>]) -> ExecutableMapping {
    ExecutableMapping {
        range: VirtualAddress(piece.range.start)..VirtualAddress(piece.range.end),
        kind: match piece.file {
            None => MappingKind::Anonymous,
            Some((file, bias)) => MappingKind::File {
                executable: Arc::clone(&files[file]),
                offset: FileOffset(piece.range.start + bias),
            },
        },
    }
}

/// Per address: when what came there; the inner `None` for nothing.
#[derive(Default)]
struct Model(Vec<Vec<(u64, Option<Content>)>>);

impl Model {
    fn cover(&mut self, time: u64, mapping: &ExecutableMapping) {
        for address in mapping.range.start.0..mapping.range.end.0 {
            let content = content_of(mapping, address);
            self.0[address as usize].push((time, Some(content)));
        }
    }
    /// What was there at `time`, else what came there next.
    fn at(&self, address: u64, time: u64) -> Option<Content> {
        let history = &self.0[address as usize];
        let then = history.iter().rev().find(|(since, _)| *since <= time);
        then.and_then(|(_, content)| *content).or_else(|| {
            history
                .iter()
                .find_map(|(since, content)| content.filter(|_| *since > time))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn equals_the_model(steps in proptest::collection::vec(step(), 1..16)) {
        let files = [executable(0), executable(1)];
        let mut set = MappingSet::default();
        let mut model = Model(vec![Vec::new(); ADDRESSES as usize]);
        for (index, step) in steps.iter().enumerate() {
            let time = 10 * (index as u64 + 1);
            match step {
                Step::Map(piece) => {
                    let mapping = mapping(piece, &files);
                    model.cover(time, &mapping);
                    let before: Vec<_> = set.current().cloned().collect();
                    let inserted = set.insert(BootTime(time), mapping);
                    let after: Vec<_> = set.current().cloned().collect();
                    if inserted != Inserted::Files {
                        prop_assert_eq!(file_ranges(&before), file_ranges(&after));
                    }
                }
                Step::Scan(pieces) => {
                    let found: Vec<_> = pieces.iter().map(|piece| mapping(piece, &files)).collect();
                    for address in 0..ADDRESSES {
                        // Of what overlaps in one scan, the later line counts.
                        let content = found
                            .iter()
                            .rfind(|mapping| mapping.range.contains(&VirtualAddress(address)))
                            .map(|mapping| content_of(mapping, address));
                        model.0[address as usize].push((time, content));
                    }
                    set.replace(BootTime(time)..BootTime(time), None, found);
                }
            }
            let mut end = 0;
            for mapping in set.current() {
                prop_assert!(end <= mapping.range.start.0 && !mapping.range.is_empty());
                end = mapping.range.end.0;
            }
        }
        for address in 0..ADDRESSES {
            for time in 0..=steps.len() as u64 * 10 + 5 {
                let found = set
                    .at(VirtualAddress(address), BootTime(time))
                    .map(|mapping| content_of(mapping, address));
                prop_assert_eq!(found, model.at(address, time), "{} at {}", address, time);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    /// The other file is mapped; is it told of?
    Flip(bool),
    /// The kernel says that records were lost.
    Lost,
    /// The process is read, which takes until after the next step.
    Scan,
    /// The process is read before two changes of before are told; is anything found?
    Ahead(bool),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => Just(Change::Flip(true)),
        2 => Just(Change::Flip(false)),
        1 => Just(Change::Lost),
        1 => Just(Change::Scan),
        1 => Just(Change::Ahead(true)),
        1 => Just(Change::Ahead(false)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_was_lost_gives_no_wrong_name(changes in proptest::collection::vec(change(), 1..24)) {
        let files = [executable(0), executable(1)];
        let at_now = |file: usize| mapping(&Piece { range: 0..4, file: Some((file, 0)) }, &files);
        let mut set = MappingSet::default();
        let mut truth = Vec::new();
        let mut flip = |set: &mut MappingSet, time: u64, told: bool| {
            let file = truth.len() % 2;
            truth.push(time);
            if told {
                set.insert(BootTime(time), at_now(file));
            }
            file
        };
        // Both are known to be mapped there in turn.
        flip(&mut set, 10, true);
        let mut file = flip(&mut set, 20, true);
        let (mut time, mut told, mut lost) = (20, 20, None::<u64>);
        let mut any = false;
        // A record of a loss comes before the next one that is told.
        let say = |set: &mut MappingSet, lost: &mut Option<u64>, time: u64, told: u64| {
            if lost.take().is_some() {
                set.doubt(BootTime(told), BootTime(time));
            }
        };
        for change in changes {
            time += 10;
            match change {
                Change::Flip(true) => {
                    say(&mut set, &mut lost, time - 1, told);
                    file = flip(&mut set, time, true);
                    told = time;
                }
                Change::Flip(false) => {
                    any = true;
                    file = flip(&mut set, time, false);
                    lost = Some(time);
                }
                Change::Lost => {
                    say(&mut set, &mut lost, time, told);
                    told = time;
                }
                Change::Scan => {
                    say(&mut set, &mut lost, time, told);
                    told = time;
                    // It changes while it is read: what is found is of before or of after.
                    let found = at_now(file);
                    file = flip(&mut set, time + 2, true);
                    set.replace(BootTime(time)..BootTime(time + 4), None, vec![found]);
                    set.insert(BootTime(time + 2), at_now(file));
                    any = true;
                }
                Change::Ahead(seen) => {
                    say(&mut set, &mut lost, time, told);
                    told = time;
                    let files = [time, time + 3].map(|at| (at, flip(&mut set, at, false)));
                    file = files[1].1;
                    let found = if seen { vec![at_now(file)] } else { Vec::new() };
                    set.replace(BootTime(time + 5)..BootTime(time + 5), None, found);
                    for (at, file) in files {
                        set.insert(BootTime(at), at_now(file));
                    }
                }
            }
        }
        say(&mut set, &mut lost, time + 1, told);
        let right = |time: u64| truth.iter().rposition(|since| *since <= time).unwrap() % 2;
        for time in 20..time + 10 {
            let found = set
                .at(VirtualAddress(2), BootTime(time))
                .map(|mapping| content_of(mapping, 2).unwrap().0);
            let right = Some(ExecutableId(right(time) as u32));
            prop_assert!(found == right || (any && found.is_none()), "{found:?} at {time}");
        }
    }
}

fn file_ranges(mappings: &[ExecutableMapping]) -> Vec<(Range<VirtualAddress>, Content)> {
    mappings
        .iter()
        .map(|mapping| {
            let content = content_of(mapping, mapping.range.start.0);
            (mapping.range.clone(), content)
        })
        .filter(|(_, content)| content.is_some())
        .collect()
}

#[test]
fn generated_code_that_grows_is_one_mapping() {
    let mut set = MappingSet::default();
    for page in 0..1000 {
        let range = VirtualAddress(page)..VirtualAddress(page + 1);
        set.insert(
            BootTime(page),
            ExecutableMapping {
                range,
                kind: MappingKind::Anonymous,
            },
        );
    }
    assert_eq!(set.current().count(), 1);
    assert!(!set.has_retired_before(BootTime(u64::MAX)));
}

#[test]
fn what_was_retired_is_forgotten_in_the_end() {
    let files = [executable(0), executable(1)];
    let mut set = MappingSet::default();
    for (time, file) in [(1, 0), (2, 1)] {
        let piece = Piece {
            range: 0..4,
            file: Some((file, 0)),
        };
        assert_eq!(
            set.insert(BootTime(time), mapping(&piece, &files)),
            Inserted::Files
        );
    }
    let then = |set: &MappingSet| {
        let mapping = set.at(VirtualAddress(3), BootTime(1))?;
        content_of(mapping, 3)
    };
    assert_eq!(then(&set), Some((ExecutableId(0), 3)));
    set.prune(BootTime(2));
    assert_eq!(then(&set), Some((ExecutableId(0), 3)));
    set.prune(BootTime(3));
    // Not the name of what came later.
    assert_eq!(then(&set), None);
}

#[test]
fn both_bounds_hold() {
    let files = [executable(0), executable(1)];
    let mut set = MappingSet::default();
    for time in 0..2 * super::MAX_RETIRED as u64 {
        let piece = Piece {
            range: 0..1,
            file: Some(((time % 2) as usize, 0)),
        };
        set.insert(BootTime(time), mapping(&piece, &files));
    }
    assert_eq!(set.retired.len(), super::MAX_RETIRED);
    let mut inserted = Inserted::Files;
    for address in 0..2 * super::MAX_MAPPINGS as u64 {
        let piece = Piece {
            range: 2 * address..2 * address + 1,
            file: Some((0, 0)),
        };
        inserted = set.insert(BootTime(5000), mapping(&piece, &files));
    }
    assert_eq!(inserted, Inserted::Full);
    assert!(set.current.len() <= super::MAX_MAPPINGS);
}

#[test]
fn constants_lie_before_or_behind_the_code_of_their_file() {
    let segment = |offset, address, length| Segment {
        offset: FileOffset(offset),
        address: ElfAddress(address),
        length,
    };
    let file = |id, code: Segment, constants: &[Segment]| {
        let mut file = Arc::into_inner(executable(id)).unwrap();
        file.segments = Box::new([code]);
        file.constants = constants.into();
        Arc::new(file)
    };
    // As GNU ld places them, and as Go does.
    let linked = segment(0x1000, 0x1000, 0x1000);
    let before = [segment(0, 0, 0x800), segment(0x2000, 0x2000, 0x100)];
    let go = segment(0, 0x40_0000, 0x3000);
    let behind = [segment(0x3000, 0x40_3000, 0x5000)];
    let (linked, go) = (file(0, linked, &before), file(1, go, &behind));
    let mut set = MappingSet::default();
    let mut map = |executable: &Arc<Executable>, start, end, offset| {
        let range = VirtualAddress(start)..VirtualAddress(end);
        let kind = MappingKind::File {
            executable: Arc::clone(executable),
            offset: FileOffset(offset),
        };
        set.insert(BootTime(5), ExecutableMapping { range, kind });
    };
    map(&go, 0x40_0000, 0x40_3000, 0);
    map(&linked, 0x7f00_1000, 0x7f00_2000, 0x1000);
    let constant = |address, length, time| {
        let found = set.constant_at(VirtualAddress(address), length, BootTime(time))?;
        Some((found.0.id.0, found.1.0))
    };
    assert_eq!(constant(0x7f00_0010, 8, 5), Some((0, 0x10)));
    assert_eq!(constant(0x7f00_20f8, 8, 5), Some((0, 0x20f8)));
    assert_eq!(constant(0x40_3004, 0x4ffc, 5), Some((1, 0x3004)));
    // Longer than the segment, in none, behind all memory, and before anything was mapped.
    assert_eq!(constant(0x40_3004, 0x4ffd, 5), None);
    assert_eq!(constant(0x50_0000, 8, 5), None);
    assert_eq!(constant(u64::MAX, 8, 5), None);
    assert_eq!(constant(0x40_3004, 8, 4), None);
}

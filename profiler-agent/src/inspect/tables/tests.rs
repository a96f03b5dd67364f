//! Files that are answered for whatever is wrong with them.

use std::fs::{self, File};
use std::io::Write as _;
use std::sync::OnceLock;

use super::*;
use crate::profile::Executable;

const MALFORMED: Option<Degradation> = Some(Degradation::ElfMalformed);

fn order(file: Option<File>, first: bool, pages: &[u64]) -> Order {
    let executable = Executable {
        id: ExecutableId(1),
        path: "/program".into(),
        file,
        image: None,
        length: 0,
        build_id: None,
        htl_hash: OnceLock::new(),
        segments: Box::default(),
        constants: Box::default(),
        root: None,
    };
    Order {
        executable: Arc::new(executable),
        first,
        pages: pages.iter().copied().map(AddressPage).collect(),
    }
}

/// What is sent, in short.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Layout(Result<(), Option<Degradation>>),
    Facts,
    Page(u64, bool, Option<Degradation>),
    Unanswered,
}

/// What `answers` sends.
fn sent(answers: impl FnOnce(&Outgoing)) -> Vec<Sent> {
    let (pieces, results) = channel();
    let notify: Notify = Arc::new(|| ());
    answers(&Outgoing { pieces, notify });
    let short = |piece: Piece| match piece.what {
        What::Layout(layout) => Sent::Layout(layout.map(drop)),
        What::Facts(_) => Sent::Facts,
        What::Unanswered(..) => Sent::Unanswered,
        What::Page {
            at, table, loss, ..
        } => Sent::Page(at.0, table.is_some(), loss),
    };
    results.try_iter().map(short).collect()
}

#[test]
fn a_file_that_makes_its_reader_panic_is_answered_for_as_malformed() {
    let panics = |order: &mut Order| {
        // The first page was answered.
        order.pages.retain(|at| match at.0 {
            1 => false,
            _ => panic!("as a test wants it"),
        });
    };
    assert_eq!(
        sent(|outgoing| answer(order(None, true, &[1, 2, 3]), outgoing, panics)),
        [
            Sent::Layout(Err(MALFORMED)),
            Sent::Page(2, false, None),
            Sent::Page(3, false, None),
            Sent::Facts,
        ]
    );
    assert_eq!(
        sent(|outgoing| answer(order(None, false, &[1, 2, 3]), outgoing, panics)),
        [Sent::Page(2, false, MALFORMED), Sent::Page(3, false, None)]
    );
    assert!(sent(|outgoing| answer(order(None, true, &[]), outgoing, |_| ())).is_empty());
}

#[test]
fn what_was_read_of_a_file_that_was_truncated_meanwhile_is_void() {
    let program = fs::read("/proc/self/exe").unwrap();
    for (kept, expected) in [
        (None, Sent::Layout(Ok(()))),
        (Some(0), Sent::Layout(Err(MALFORMED))),
    ] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&program).unwrap();
        let mapped = MappedFile::new(&file).unwrap();
        if let Some(kept) = kept {
            file.set_len(kept).unwrap();
        }
        let whole = Requests::default();
        let mut order = order(Some(file), true, &[]);
        let sent = sent(|outgoing| fill_from(&mut order, Some(&mapped), outgoing, &whole));
        assert_eq!(sent, [expected, Sent::Facts]);
    }
}

#[test]
fn a_page_of_a_file_that_is_truncated_behind_its_header_is_answered_for() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&fs::read("/proc/self/exe").unwrap())
        .unwrap();
    let mapped = MappedFile::new(&file).unwrap();
    let layout = unwind::layout(&*mapped).unwrap();
    // Where its code is, is known already.
    file.set_len(4096).unwrap();
    let whole = Requests::default();
    let page = AddressPage::of(layout.start).0;
    let mut order = order(Some(file), false, &[page]);
    let sent = sent(|outgoing| fill_from(&mut order, Some(&mapped), outgoing, &whole));
    assert_eq!(sent, [Sent::Page(page, false, MALFORMED)]);
}

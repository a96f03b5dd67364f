//! What is asked for of files' unwind tables.
//!
//! Where a file's code is, and what else it says, is asked for when a process that runs now maps it: one that has just
//! exec'd, one that was selected. The table of a page is asked for when a stack was found to go through it. Most
//! processes of a machine never run, and most pages of what runs are never hit: they cost nothing.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::PAGE_BITS;

use crate::collect::publish::{Publisher, TableLoad};
use crate::inspect::{FileFacts, Order, Piece, TableBuilder, What};
use crate::profile::{
    BootTime, ElfAddress, Executable, ExecutableId, ExecutableMapping, Losses, MappingKind,
    UnwindTable, mapping_bias,
};
use crate::unwind::{AddressPage, RuleInterner, reindex};

/// What was asked for and what came.
pub(super) struct Demand {
    builder: TableBuilder,
    rules: RuleInterner,
    uploaded: usize,
    /// Files that were asked where their code is and what else they say.
    files: HashSet<ExecutableId>,
    /// Pages that were asked for.
    pages: HashSet<(ExecutableId, AddressPage)>,
    /// Files whose tables found no room or were refused by the kernel, and until when they are not asked for again.
    refused: HashMap<ExecutableId, BootTime>,
    /// What files said beside their tables since the last call of `take_facts`.
    facts: Vec<(ExecutableId, FileFacts)>,
    losses: Losses,
}

/// Pages of a file that are asked for before a sample was found in them.
const MAX_PAGES_AHEAD: usize = 64;
/// How long a file whose table found no room is not asked for again.
const NO_ROOM_FOR: Duration = Duration::from_secs(30);
/// How long one that could not be read is not.
const UNANSWERED_FOR: Duration = Duration::from_secs(5);
/// How long one whose table the kernel refused is not.
const REFUSED_FOR: Duration = Duration::from_secs(2);

impl Demand {
    pub(super) fn new(builder: TableBuilder, publisher: &mut Publisher) -> Self {
        let mut demand = Self {
            builder,
            rules: RuleInterner::new(),
            uploaded: 0,
            files: HashSet::new(),
            pages: HashSet::new(),
            refused: HashMap::new(),
            facts: Vec::new(),
            losses: Losses::default(),
        };
        // What fails is uploaded with the first table.
        demand.upload_rules(publisher);
        demand
    }

    /// Asks for the files among `mappings` of which nothing is loaded.
    pub(super) fn want<'a>(
        &mut self,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
        publisher: &Publisher,
    ) {
        for mapping in mappings {
            if let MappingKind::File { executable, .. } = &mapping.kind
                && !publisher.has_table(executable.id)
                && !self.refused.contains_key(&executable.id)
                && self.files.insert(executable.id)
            {
                self.builder.request(Order {
                    executable: Arc::clone(executable),
                    first: true,
                    pages: Vec::new(),
                });
            }
        }
    }

    /// Asks for the tables of all pages of the files among `mappings`, of large files for as many as are built in a
    /// moment: for processes of which a first sample is to be whole wherever it is taken.
    pub(super) fn want_pages<'a>(
        &mut self,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
        publisher: &Publisher,
    ) {
        for mapping in mappings {
            let MappingKind::File { executable, offset } = &mapping.kind else {
                continue;
            };
            let range = &mapping.range;
            let Some(bias) = mapping_bias(&executable.segments, range, *offset) else {
                continue;
            };
            let first = AddressPage::of(ElfAddress(range.start.0.wrapping_add(bias)));
            let last =
                AddressPage::of(ElfAddress(range.end.0.saturating_sub(1).wrapping_add(bias)));
            for page in (first.0..=last.0).take(MAX_PAGES_AHEAD) {
                self.need(executable, ElfAddress(page << PAGE_BITS), publisher);
            }
        }
    }

    /// Asks for the table of the page that a stack goes through at `address`. False when there is nothing to wait for.
    pub(super) fn need(
        &mut self,
        executable: &Arc<Executable>,
        address: ElfAddress,
        publisher: &Publisher,
    ) -> bool {
        if self.refused.contains_key(&executable.id) {
            return false;
        }
        let page = AddressPage::of(address);
        if self.pages.insert((executable.id, page)) {
            self.builder.request(Order {
                executable: Arc::clone(executable),
                first: !publisher.has_table(executable.id) && self.files.insert(executable.id),
                pages: vec![page],
            });
        }
        true
    }

    /// Is the page at `address` asked for and not there?
    pub(super) fn is_asked(&self, executable: ExecutableId, address: ElfAddress) -> bool {
        self.pages.contains(&(executable, AddressPage::of(address)))
    }

    /// The rules that all loaded tables share, by number.
    pub(super) fn rules(&self) -> &[Rule] {
        self.rules.rules()
    }

    /// Loads what came; false when nothing did.
    pub(super) fn load(&mut self, publisher: &mut Publisher, now: BootTime) -> bool {
        let mut any = false;
        while let Some(Piece { executable, what }) = self.builder.take() {
            any = true;
            let loaded = match what {
                What::Facts(facts) => {
                    self.files.remove(&executable);
                    if !facts.is_empty() {
                        self.facts.push((executable, *facts));
                    }
                    continue;
                }
                What::Unanswered(pages, cause) => {
                    self.losses.add(cause, 1);
                    self.files.remove(&executable);
                    for page in pages {
                        self.pages.remove(&(executable, page));
                    }
                    self.refused.insert(executable, now.plus(UNANSWERED_FOR));
                    continue;
                }
                What::Layout(layout) => {
                    let (start, pages) = match layout {
                        Ok(layout) => (layout.start, layout.pages),
                        // No pages: its mappings fall back to frame pointers for good.
                        Err(cause) => {
                            if let Some(cause) = cause {
                                self.losses.add(cause, 1);
                            }
                            (ElfAddress(0), 0)
                        }
                    };
                    publisher.load_table(executable, start, pages, now)
                }
                What::Page {
                    at,
                    page,
                    table,
                    loss,
                } => {
                    self.pages.remove(&(executable, at));
                    if let Some(cause) = loss {
                        self.losses.add(cause, 1);
                    }
                    // A file that says nothing does not say either where its pages are.
                    match page.or_else(|| publisher.page_number(executable, at.address())) {
                        Some(page) => self.load_page(executable, page, table, publisher, now),
                        None => TableLoad::Loaded,
                    }
                }
            };
            let again = match loaded {
                TableLoad::Loaded => continue,
                TableLoad::NoRoom => NO_ROOM_FOR,
                TableLoad::Refused => REFUSED_FOR,
            };
            self.refused.insert(executable, now.plus(again));
        }
        if any {
            publisher.rest();
        }
        any
    }

    fn load_page(
        &mut self,
        executable: ExecutableId,
        page: u32,
        table: Option<UnwindTable>,
        publisher: &mut Publisher,
        now: BootTime,
    ) -> TableLoad {
        let words = match table {
            Some(table) => reindex(table, &mut self.rules).words,
            None => Vec::new(),
        };
        // Its rows name rules: without them it would say what is not so.
        if self.upload_rules(publisher) {
            publisher.load_page(executable, page, &words, now)
        } else {
            TableLoad::Refused
        }
    }

    /// What files said beside their tables since the last call.
    pub(super) fn take_facts(&mut self) -> Vec<(ExecutableId, FileFacts)> {
        std::mem::take(&mut self.facts)
    }

    /// Does the kernel side have all rules now?
    fn upload_rules(&mut self, publisher: &mut Publisher) -> bool {
        let new = self.rules.added_since(self.uploaded);
        let written = publisher.write_rules(self.uploaded as u32, new);
        if written {
            self.uploaded = self.rules.rules().len();
        }
        written
    }

    /// Lets files whose table found no room be asked for again, after a while.
    pub(super) fn prune(&mut self, now: BootTime) {
        self.refused.retain(|_, until| now < *until);
    }

    /// What is asked for and is not there.
    pub(super) fn outstanding(&self) -> usize {
        self.files.len() + self.pages.len()
    }

    /// What could not be built since the last call.
    pub(super) fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

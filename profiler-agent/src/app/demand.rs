//! Which files' unwind tables are asked for.
//!
//! A file is asked for when a process that runs now maps it: one that has just exec'd, one that was
//! selected, one whose sample lacked a table. Most processes of a machine never run; their files
//! cost nothing.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::runtimes::FileFacts;
use super::tables::{BuiltTable, TableBuilder};
use crate::collect::publish::{Publisher, TableLoad};
use crate::profile::{BootTime, ElfAddress, ExecutableId, ExecutableMapping, Losses, MappingKind};
use crate::unwind::{RuleInterner, reindex};

/// What was asked for and what came.
pub(super) struct Demand {
    builder: TableBuilder,
    rules: RuleInterner,
    uploaded: usize,
    asked: HashSet<ExecutableId>,
    /// Files whose table found no room or was refused by the kernel, and until when they are not asked for again.
    refused: HashMap<ExecutableId, BootTime>,
    /// What files said beside their tables since the last call of `take_facts`.
    facts: Vec<(ExecutableId, FileFacts)>,
    losses: Losses,
}

/// How long a file whose table found no room is not asked for again.
const NO_ROOM_FOR: Duration = Duration::from_secs(30);
/// How long one whose table the kernel refused is not.
const REFUSED_FOR: Duration = Duration::from_secs(2);

impl Demand {
    pub(super) fn new(builder: TableBuilder, publisher: &mut Publisher) -> Self {
        let mut demand = Self {
            builder,
            rules: RuleInterner::new(),
            uploaded: 0,
            asked: HashSet::new(),
            refused: HashMap::new(),
            facts: Vec::new(),
            losses: Losses::default(),
        };
        // What fails is uploaded with the first table.
        demand.upload_rules(publisher);
        demand
    }

    /// Asks for the tables of the files among `mappings` that are not loaded.
    pub(super) fn want<'a>(
        &mut self,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
        publisher: &Publisher,
    ) {
        for mapping in mappings {
            if let MappingKind::File { executable, .. } = &mapping.kind
                && !publisher.has_table(executable.id)
                && !self.refused.contains_key(&executable.id)
                && self.asked.insert(executable.id)
            {
                self.builder.request(Arc::clone(executable));
            }
        }
    }

    /// Loads the tables that were built.
    pub(super) fn load(&mut self, publisher: &mut Publisher, now: BootTime) {
        while let Some(built) = self.builder.take() {
            let BuiltTable {
                executable,
                table,
                facts,
            } = built;
            self.asked.remove(&executable);
            if !facts.is_empty() {
                self.facts.push((executable, facts));
            }
            match table {
                Ok(table) => {
                    let (start, buckets) = (table.start, table.buckets);
                    let reindexed = reindex(table, &mut self.rules);
                    // Its rows name rules: without them it would say what is not so.
                    let loaded = if self.upload_rules(publisher) {
                        publisher.load_table(executable, start, buckets, &reindexed.words, now)
                    } else {
                        TableLoad::Refused
                    };
                    let again = match loaded {
                        TableLoad::Loaded => continue,
                        TableLoad::NoRoom => NO_ROOM_FOR,
                        TableLoad::Refused => REFUSED_FOR,
                    };
                    self.refused.insert(executable, now.plus(again));
                }
                Err(cause) => {
                    if let Some(cause) = cause {
                        self.losses.add(cause, 1);
                    }
                    // An empty table: its mappings fall back to frame pointers for good.
                    publisher.load_table(executable, ElfAddress(0), 0, &[], now);
                }
            }
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

    /// Tables that are being built.
    pub(super) const fn outstanding(&self) -> usize {
        self.builder.outstanding()
    }

    /// What could not be built since the last call.
    pub(super) fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

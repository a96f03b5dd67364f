//! Which files' unwind tables are asked for.
//!
//! A file is asked for when a process that runs now maps it: one that has just exec'd, one that was
//! selected, one whose sample lacked a table. Most processes of a machine never run; their files
//! cost nothing.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::tables::{BuiltTable, TableBuilder};
use crate::collect::CollectError;
use crate::collect::publish::Publisher;
use crate::go::Runtime;
use crate::profile::{BootTime, ElfAddress, ExecutableId, ExecutableMapping, Losses, MappingKind};
use crate::unwind::{RuleInterner, reindex};

/// What was asked for and what came.
pub(super) struct Demand {
    builder: TableBuilder,
    rules: RuleInterner,
    uploaded: usize,
    asked: HashSet<ExecutableId>,
    /// Files whose table found no room, and when.
    refused: HashMap<ExecutableId, BootTime>,
    /// What files said of their runtimes since the last call of `take_runtimes`.
    runtimes: Vec<(ExecutableId, Runtime)>,
    losses: Losses,
}

/// How long a file whose table found no room is not asked for again.
const REFUSED_FOR: Duration = Duration::from_secs(30);

impl Demand {
    pub(super) fn new(
        builder: TableBuilder,
        publisher: &mut Publisher,
    ) -> Result<Self, CollectError> {
        let mut demand = Self {
            builder,
            rules: RuleInterner::new(),
            uploaded: 0,
            asked: HashSet::new(),
            refused: HashMap::new(),
            runtimes: Vec::new(),
            losses: Losses::default(),
        };
        demand.upload_rules(publisher)?;
        Ok(demand)
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
    pub(super) fn load(
        &mut self,
        publisher: &mut Publisher,
        now: BootTime,
    ) -> Result<(), CollectError> {
        while let Some(built) = self.builder.take() {
            let BuiltTable {
                executable,
                table,
                runtime,
            } = built;
            self.asked.remove(&executable);
            self.runtimes
                .extend(runtime.map(|runtime| (executable, runtime)));
            match table {
                Ok(table) => {
                    let (start, buckets) = (table.start, table.buckets);
                    let reindexed = reindex(table, &mut self.rules);
                    self.upload_rules(publisher)?;
                    if !publisher.load_table(executable, start, buckets, &reindexed.words, now)? {
                        self.refused.insert(executable, now);
                    }
                }
                Err(cause) => {
                    if let Some(cause) = cause {
                        self.losses.add(cause, 1);
                    }
                    // An empty table: its mappings fall back to frame pointers for good.
                    publisher.load_table(executable, ElfAddress(0), 0, &[], now)?;
                }
            }
        }
        Ok(())
    }

    /// What files said of their runtimes since the last call.
    pub(super) fn take_runtimes(&mut self) -> Vec<(ExecutableId, Runtime)> {
        std::mem::take(&mut self.runtimes)
    }

    fn upload_rules(&mut self, publisher: &mut Publisher) -> Result<(), CollectError> {
        publisher.write_rules(self.uploaded as u32, self.rules.added_since(self.uploaded))?;
        self.uploaded = self.rules.rules().len();
        Ok(())
    }

    /// Lets files whose table found no room be asked for again, after a while.
    pub(super) fn prune(&mut self, now: BootTime) {
        self.refused
            .retain(|_, since| now.since(*since) < REFUSED_FOR);
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

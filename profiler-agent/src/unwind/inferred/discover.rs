//! Functions that no symbol names: what stripped libraries have of functions of their own (musl's, on Alpine).
//!
//! What a function that is known calls is a function, and what it jumps to as it was entered itself is one, or as good as one: the
//! frame there is that of an entry. These are certain. A function whose address is taken, in code or by a relocation,
//! might be the middle of another: it counts only where nobody came to it with a frame in place and where it proves what it is, by
//! returning as it was entered, or by beginning with a frame of its own. Each new function tells where the one before ends, and
//! whether a call goes on behind: all is followed again until nothing changes. Nobody states where such a function ends,
//! so what lies behind a call of what may never return counts only where it leads back out as the function was entered.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Followed, Surroundings};
use super::symbols::Function;
use super::{Follow, MAX_CODE_BYTES, MAX_FUNCTION_BYTES, aarch64, x86_64};
use crate::elf::Source;
use crate::unwind::elf::{Image, Machine};

/// Code that is followed, over all rounds, in bytes.
const MAX_FOLLOWED_BYTES: u64 = 4 * MAX_CODE_BYTES;
/// Most functions.
const MAX_FUNCTIONS: usize = 1 << 16;
/// Rounds until all is known: chains of calls between functions that nobody else names are short.
const MAX_ROUNDS: usize = 64;

/// A function that is known, or taken for one.
struct Known {
    /// As its symbol states it; 0 where it ends with the next one.
    length: u64,
    /// Is it only one if it proves it?
    doubtful: bool,
    followed: Option<Followed>,
    /// Where it ended when it was followed.
    end: u64,
    /// How many of the functions that it calls were known to return, or never to, then.
    told: usize,
}

/// What is known of functions: those that return, and those that never do.
#[derive(Default, PartialEq, Eq)]
struct Returns {
    returning: BTreeSet<u64>,
    never: BTreeSet<u64>,
}

impl Returns {
    fn of(&self, address: u64) -> Option<bool> {
        let returning = self.returning.contains(&address);
        (returning || self.never.contains(&address)).then_some(returning)
    }
}

impl Known {
    /// How many of the functions that it calls are known to return, or never to.
    fn told(&self, returns: &Returns) -> usize {
        let called = self.followed.iter().flat_map(|followed| &followed.called);
        called
            .filter(|called| returns.of(**called).is_some())
            .count()
    }

    /// Is it a function?
    fn is_function(&self, code: impl FnOnce() -> bool) -> bool {
        if !self.doubtful {
            return true;
        }
        let followed = self.followed.as_ref();
        followed.is_some_and(|followed| followed.rows.is_some() && (followed.returns || code()))
    }
}

/// What functions are searched in.
pub(super) struct Search<'a, 's, S: ?Sized> {
    pub(super) source: &'s S,
    pub(super) image: &'a Image<'s>,
    pub(super) follow: Follow,
    /// Does nothing say how the code at this address is unwound?
    pub(super) unknown: &'a dyn Fn(u64) -> bool,
}

impl<S: Source + ?Sized> Search<'_, '_, S> {
    /// The functions of `symbols`, the one at `entry`, and those that are found from there, in order of address.
    pub(super) fn run(&self, symbols: &[Function], taken: &[u64]) -> Vec<(Function, Followed)> {
        let mut known = BTreeMap::new();
        for symbol in symbols {
            self.add(&mut known, symbol.address, symbol.length, false);
        }
        if (self.unknown)(self.image.entry) {
            self.add(&mut known, self.image.entry, 0, false);
        }
        let mut bytes_left = MAX_FOLLOWED_BYTES;
        let mut returns = Returns::default();
        let mut refuted = BTreeSet::new();
        for _ in 0..MAX_ROUNDS {
            self.follow_changed(&mut known, &returns, &mut bytes_left);
            let told = Returns {
                returning: returning(&known),
                never: never_returning(&known),
            };
            let certain = self.add_all(&mut known, |followed| {
                let called = followed.called.iter().chain(&followed.left_to);
                called.map(|address| (*address, false)).collect()
            });
            let changed = certain || told != returns;
            returns = told;
            if bytes_left == 0 {
                break;
            }
            if changed || self.refute(&mut known, &mut refuted) {
                continue;
            }
            let covered = covered(&known);
            let is_new =
                |address: &u64| !refuted.contains(address) && !is_covered(&covered, *address);
            let mut doubtful = false;
            for address in taken.iter().filter(|address| is_new(address)) {
                doubtful |= self.add(&mut known, *address, 0, true);
            }
            doubtful |= self.add_all(&mut known, |followed| {
                let taken = followed.taken.iter().filter(|address| is_new(address));
                taken.map(|address| (*address, true)).collect()
            });
            if !doubtful {
                break;
            }
        }
        self.refute(&mut known, &mut refuted);
        forget_overlapping(&mut known);
        known.retain(|address, _| (self.unknown)(*address));
        let functions = known.into_iter().filter_map(|(address, function)| {
            let length = function.end.saturating_sub(address);
            Some((Function { address, length }, function.followed?))
        });
        functions.collect()
    }

    fn proves(&self, address: u64) -> bool {
        let code = self.image.code(self.source, address, 16);
        code.is_some_and(|code| match self.image.machine {
            Machine::X86_64 => x86_64::makes_a_frame(&code, address),
            Machine::Aarch64 => aarch64::makes_a_frame(&code),
        })
    }

    /// Adds a function; was it not known?
    fn add(
        &self,
        known: &mut BTreeMap<u64, Known>,
        address: u64,
        length: u64,
        doubtful: bool,
    ) -> bool {
        // Of what is known already it is only asked whether it returns.
        if known.len() >= MAX_FUNCTIONS || (doubtful && !(self.unknown)(address)) {
            return false;
        }
        match known.get_mut(&address) {
            Some(known) => {
                let better = known.doubtful && !doubtful;
                known.doubtful &= doubtful;
                better
            }
            None => {
                known.insert(
                    address,
                    Known {
                        length,
                        doubtful,
                        followed: None,
                        end: 0,
                        told: 0,
                    },
                );
                true
            }
        }
    }

    /// Forgets those that proved nothing; were there any?
    fn refute(&self, known: &mut BTreeMap<u64, Known>, refuted: &mut BTreeSet<u64>) -> bool {
        let before = refuted.len();
        known.retain(|address, function| {
            let stays = function.is_function(|| self.proves(*address));
            if !stays {
                refuted.insert(*address);
            }
            stays
        });
        refuted.len() > before
    }

    /// Adds what the functions lead to, with whether that is doubtful; was there anything new?
    fn add_all(
        &self,
        known: &mut BTreeMap<u64, Known>,
        leads_to: impl Fn(&Followed) -> Vec<(u64, bool)>,
    ) -> bool {
        let mut found = BTreeSet::new();
        for (address, function) in &*known {
            if let Some(followed) = &function.followed
                && function.is_function(|| self.proves(*address))
            {
                found.extend(leads_to(followed));
            }
        }
        let mut any = false;
        for (address, doubtful) in found {
            any |= self.add(known, address, 0, doubtful);
        }
        any
    }

    /// Follows the functions of which something changed.
    fn follow_changed(
        &self,
        known: &mut BTreeMap<u64, Known>,
        returns: &Returns,
        bytes_left: &mut u64,
    ) {
        let read = |address, length| self.image.loaded_bytes(self.source, address, length);
        let mut next = u64::MAX;
        for (address, function) in known.iter_mut().rev() {
            let length = match function.length {
                0 => (next - address).min(MAX_FUNCTION_BYTES),
                length => length,
            };
            next = *address;
            let end = address.saturating_add(length);
            let same = function.end == end && function.told == function.told(returns);
            if same && function.followed.is_some() {
                continue;
            }
            // What was found of it before is of another length.
            function.followed = None;
            if *bytes_left < length {
                continue;
            }
            *bytes_left -= length;
            let Some(code) = self.image.code(self.source, *address, length) else {
                continue;
            };
            let around = Surroundings {
                read: &read,
                returns: &|target| returns.of(target),
                is_bounded: function.length > 0,
            };
            let mut followed = match self.image.machine {
                _ if *address != self.image.entry => (self.follow)(&code, *address, &around),
                Machine::X86_64 => x86_64::entered(&code, *address),
                Machine::Aarch64 => aarch64::entered(&code, *address),
            };
            for list in [
                &mut followed.called,
                &mut followed.left_to,
                &mut followed.taken,
            ] {
                list.sort_unstable();
                list.dedup();
            }
            function.end = end;
            function.followed = Some(followed);
            function.told = function.told(returns);
        }
    }
}

/// Forgets what was followed of functions into what is known to be another one, where the bounds ended the search before they
/// could be followed again.
fn forget_overlapping(known: &mut BTreeMap<u64, Known>) {
    let mut next = u64::MAX;
    for (address, function) in known.iter_mut().rev() {
        if function.length == 0 && function.end > next {
            function.followed = None;
        }
        next = *address;
    }
}

/// The functions that return, or jump to such as they were entered themselves.
fn returning(known: &BTreeMap<u64, Known>) -> BTreeSet<u64> {
    let whole = known.iter().filter_map(|(address, function)| {
        let followed = function.followed.as_ref()?;
        (!function.doubtful && followed.rows.is_some()).then_some((*address, followed))
    });
    let whole: Vec<(u64, &Followed)> = whole.collect();
    let returning = whole.iter().filter(|(_, followed)| followed.returns);
    let mut returning: BTreeSet<u64> = returning.map(|(address, _)| *address).collect();
    loop {
        let before = returning.len();
        for (address, followed) in &whole {
            if followed
                .left_to
                .iter()
                .any(|target| returning.contains(target))
            {
                returning.insert(*address);
            }
        }
        if returning.len() == before {
            return returning;
        }
    }
}

/// The functions that never return: no way through them leads back, or elsewhere than to such functions.
fn never_returning(known: &BTreeMap<u64, Known>) -> BTreeSet<u64> {
    let mut candidates: BTreeSet<u64> = known
        .iter()
        .filter(|(_, function)| {
            let followed = function.followed.as_ref();
            !function.doubtful
                && followed.is_some_and(|followed| {
                    followed.rows.is_some() && !followed.returns && !followed.leaves
                })
        })
        .map(|(address, _)| *address)
        .collect();
    loop {
        let returning: Vec<u64> = candidates
            .iter()
            .filter(|address| {
                let followed = known.get(address).and_then(|known| known.followed.as_ref());
                followed.is_some_and(|followed| {
                    followed
                        .left_to
                        .iter()
                        .any(|target| !candidates.contains(target))
                })
            })
            .copied()
            .collect();
        if returning.is_empty() {
            return candidates;
        }
        for address in returning {
            candidates.remove(&address);
        }
    }
}

/// What is told of by functions, as ranges in order of address.
fn covered(known: &BTreeMap<u64, Known>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = known
        .values()
        .filter_map(|function| function.followed.as_ref()?.rows.as_ref())
        .flatten()
        .map(|row| {
            let end = row.address.saturating_add(u64::from(row.length));
            (row.address, end)
        })
        .collect();
    ranges.sort_unstable();
    ranges
}

fn is_covered(ranges: &[(u64, u64)], address: u64) -> bool {
    let behind = ranges.partition_point(|(start, _)| *start <= address);
    behind > 0 && address < ranges[behind - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_followed_into_another_function_is_forgotten() {
        let function = |end, length| Known {
            length,
            doubtful: false,
            followed: Some(Followed::default()),
            end,
            told: 0,
        };
        let mut known = BTreeMap::from([
            (0x10, function(0x20, 0)),
            (0x20, function(0x40, 0)),
            (0x30, function(0x50, 0x20)),
            (0x40, function(0x48, 0)),
        ]);
        forget_overlapping(&mut known);
        let kept: Vec<u64> = known
            .iter()
            .filter(|(_, function)| function.followed.is_some())
            .map(|(address, _)| *address)
            .collect();
        assert_eq!(kept, [0x10, 0x30, 0x40]);
    }
}

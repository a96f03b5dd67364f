//! Rules to numbers.

use hashbrown::HashMap;
use profiler_common::unwind::Rule;

/// The distinct rules of a file, or of all loaded tables. Grows only, so that a number that was
/// given out keeps its meaning; rules `0 ..= 2` are always `NONE`, `END_OF_STACK`, `UNSUPPORTED`.
#[derive(Clone, Debug)]
pub struct RuleInterner {
    rules: Vec<Rule>,
    numbers: HashMap<Rule, u16>,
}

impl RuleInterner {
    /// Number of `Rule::NONE`.
    pub const NONE: u16 = 0;
    /// Number of `Rule::END_OF_STACK`.
    pub const END_OF_STACK: u16 = 1;
    /// Number of `Rule::UNSUPPORTED`.
    pub const UNSUPPORTED: u16 = 2;

    /// An interner with the three rules that are always there.
    #[must_use]
    pub fn new() -> Self {
        let mut interner = Self {
            rules: Vec::new(),
            numbers: HashMap::new(),
        };
        for rule in [Rule::NONE, Rule::END_OF_STACK, Rule::UNSUPPORTED] {
            interner.intern(&rule);
        }
        interner
    }

    /// The number of `rule`, a new one where it was not there; `None` when it is not there and
    /// `Rule::MAX` rules are.
    pub fn intern(&mut self, rule: &Rule) -> Option<u16> {
        if let Some(number) = self.numbers.get(rule) {
            return Some(*number);
        }
        if self.rules.len() >= Rule::MAX {
            return None;
        }
        let number = self.rules.len() as u16;
        self.rules.push(*rule);
        self.numbers.insert(*rule, number);
        Some(number)
    }

    /// All rules, by number.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules from number `uploaded` on: what a driver that has uploaded that many has yet to.
    #[must_use]
    pub fn added_since(&self, uploaded: usize) -> &[Rule] {
        self.rules.get(uploaded..).unwrap_or_default()
    }

    /// The rules, by number.
    #[must_use]
    pub fn into_rules(self) -> Vec<Rule> {
        self.rules
    }
}

impl Default for RuleInterner {
    fn default() -> Self {
        Self::new()
    }
}

//! CPUs in words. Pure.

use std::collections::BTreeMap;
use std::fmt;

/// `CPU 3`, or `CPUs 0-3, 7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cpus {
    pub(super) is_one: bool,
    list: String,
}

impl fmt::Display for Cpus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.is_one { "" } else { "s" };
        write!(formatter, "CPU{plural} {}", self.list)
    }
}

/// The CPUs that have the same trouble together, in order of the first. CPUs are to come in order.
pub(super) fn grouped<'a>(
    troubles: impl Iterator<Item = (u32, &'a str)>,
) -> impl Iterator<Item = (Cpus, &'a str)> {
    let mut groups: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (cpu, trouble) in troubles {
        groups.entry(trouble).or_default().push(cpu);
    }
    let mut groups: Vec<(&str, Vec<u32>)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, cpus)| cpus.first().copied());
    groups
        .into_iter()
        .map(|(trouble, cpus)| (words(&cpus), trouble))
}

fn words(cpus: &[u32]) -> Cpus {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        [only] => only.to_string(),
        [] => String::new(),
    });
    Cpus {
        is_one: cpus.len() == 1,
        list: runs.collect::<Vec<String>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_with_the_same_trouble_share_a_sentence() {
        let troubles = [(0, "b"), (1, "a"), (2, "a"), (3, "a"), (5, "a"), (6, "b")];
        let said: Vec<String> = grouped(troubles.into_iter())
            .map(|(cpus, trouble)| format!("{cpus}: {trouble}"))
            .collect();
        assert_eq!(said, ["CPUs 0, 6: b", "CPUs 1-3, 5: a"]);
        let said: Vec<String> = grouped([(3, "a")].into_iter())
            .map(|(cpus, _)| cpus.to_string())
            .collect();
        assert_eq!(said, ["CPU 3"]);
        assert_eq!(grouped(std::iter::empty()).count(), 0);
    }
}

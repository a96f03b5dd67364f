//! What time off CPU needs to know of the kernel's symbols (`/proc/kallsyms`: lines of address, type and name).

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::ops::Range;

/// Bytes of the list that are read at most.
const MOST_BYTES: u64 = 64 << 20;

/// Symbols of the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Symbols {
    /// The code of `__schedule`: `None` where the kernel hides addresses.
    pub(in super::super) schedule: Option<Range<u64>>,
    /// What this kernel calls `finish_task_switch`: a compiler that made another function of it appended `.isra.0` and
    /// the like.
    pub(super) finish_task_switch: Option<String>,
}

impl Symbols {
    /// Reads them of the running kernel. What cannot be read is not known.
    pub(in super::super) fn read() -> Self {
        let Ok(file) = File::open("/proc/kallsyms") else {
            return Self::default();
        };
        Self::find(BufReader::with_capacity(64 << 10, file.take(MOST_BYTES)))
    }

    /// The list is sorted by address.
    fn find(mut list: impl BufRead) -> Self {
        let mut found = Self::default();
        let mut start = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            if !matches!(list.read_until(b'\n', &mut line), Ok(1..)) {
                return found;
            }
            let Some((address, name)) = symbol(&line) else {
                continue;
            };
            if let Some(start) = start
                && found.schedule.is_none()
                && address > start
            {
                found.schedule = Some(start..address);
            }
            if is_function(name, "__schedule") && address != 0 {
                start = start.or(Some(address));
            }
            if is_function(name, "finish_task_switch") && found.finish_task_switch.is_none() {
                found.finish_task_switch = Some(name.to_owned());
            }
            if found.schedule.is_some() && found.finish_task_switch.is_some() {
                return found;
            }
        }
    }
}

/// Address and name of a symbol of the kernel itself: names of modules follow behind a tab.
fn symbol(line: &[u8]) -> Option<(u64, &str)> {
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
    let mut words = line.splitn(3, ' ');
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next()?;
    let name = words.next()?;
    let is_code = matches!(kind, "t" | "T" | "w" | "W");
    (is_code && !name.contains('\t')).then_some((address, name))
}

/// Is it this function, or what a compiler made of all of it? `.cold` is a part.
fn is_function(name: &str, function: &str) -> bool {
    let rest = name.strip_prefix(function);
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(".isra.") || rest.starts_with(".constprop.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_ends_where_the_next_function_begins() {
        let list = b"ffffffff81000000 T _stext\n\
            ffffffff813a4380 t finish_task_switch.isra.0\n\
            ffffffff813a5000 t __schedule_bug\n\
            ffffffff821fa600 t __schedule.cold\n\
            ffffffff821fa6c0 t __schedule\n\
            ffffffff821fa6c0 t __schedule_alias\n\
            ffffffff821fb000 d not_code\n\
            ffffffff821fb620 T schedule\n\
            ffffffffc0000000 t __schedule\t[module]\n";
        let found = Symbols::find(&list[..]);
        assert_eq!(
            found.schedule,
            Some(0xffff_ffff_821f_a6c0..0xffff_ffff_821f_b620)
        );
        assert_eq!(
            found.finish_task_switch.as_deref(),
            Some("finish_task_switch.isra.0")
        );
    }

    #[test]
    fn where_addresses_are_hidden_names_are_found() {
        let list = b"0000000000000000 t __schedule\n\
            0000000000000000 t finish_task_switch\n\
            0000000000000000 T schedule\n";
        let found = Symbols::find(&list[..]);
        assert_eq!(found.schedule, None);
        assert_eq!(
            found.finish_task_switch.as_deref(),
            Some("finish_task_switch")
        );
        assert_eq!(Symbols::find(&b"no list\n\xff\xff"[..]), Symbols::default());
    }

    #[test]
    fn the_running_kernel_has_a_scheduler() {
        let found = Symbols::read();
        let schedule = found.schedule.expect("root sees addresses");
        assert!(
            (256..65_536).contains(&(schedule.end - schedule.start)),
            "{schedule:x?}"
        );
    }
}

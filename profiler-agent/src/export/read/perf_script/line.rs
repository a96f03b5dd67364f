//! One line of what `perf script` prints.

use crate::export::read::text::Owner;

/// A sample's own line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) owner: Owner<'a>,
    /// In ns, since the machine started.
    pub(super) time: Option<u64>,
    /// In units of the event.
    pub(super) period: Option<u64>,
    /// Empty where it is not told.
    pub(super) event: &'a str,
    /// What stands behind the event: the frame of a sample without a call chain, or the fields of a tracepoint.
    pub(super) rest: &'a str,
}

/// A frame's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) address: u64,
    /// Empty where perf knows none.
    pub(super) name: &'a str,
    /// Empty where it is not told.
    pub(super) file: &'a str,
}

/// The words of a line, each with where it begins and ends.
fn words(line: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    line.split_ascii_whitespace().map(move |word| {
        let start = word.as_ptr().addr() - line.as_ptr().addr();
        (start, start + word.len(), word)
    })
}

pub(super) fn header(line: &str) -> Option<Header<'_>> {
    let timed = words(line).find_map(|(start, end, word)| {
        let time = time(word.strip_suffix(':')?)?;
        let owner = owner(&line[..start])?;
        Some((owner, Some(time), end))
    });
    let (owner, time, end) = match timed {
        Some(timed) => timed,
        None => {
            let (_, end, _) = words(line).find(|(_, _, word)| ids(word).is_some())?;
            let cpu = words(&line[end..])
                .next()
                .filter(|(_, _, word)| is_cpu(word))
                .map_or(0, |(_, end, _)| end);
            (owner(&line[..end])?, None, end + cpu)
        }
    };
    let mut rest = &line[end..];
    let mut period = None;
    if let Some((_, end, word)) = words(rest).next()
        && let Ok(number) = word.parse()
    {
        period = Some(number);
        rest = &rest[end..];
    }
    let mut event = "";
    if let Some((_, end, word)) = words(rest).next()
        && let Some(name) = word.strip_suffix(':')
    {
        event = name;
        rest = &rest[end..];
    }
    Some(Header {
        owner,
        time,
        period,
        event,
        rest,
    })
}

/// `COMM PID/TID [CPU]`, with everything but one number left out at will.
fn owner(text: &str) -> Option<Owner<'_>> {
    let mut text = text.trim();
    if let Some((before, last)) = text.rsplit_once([' ', '\t'])
        && is_cpu(last)
    {
        text = before.trim_end();
    }
    let (comm, last) = text.rsplit_once([' ', '\t']).unwrap_or(("", text));
    let (pid, tid) = ids(last)?;
    Some(Owner {
        comm: comm.trim(),
        pid,
        tid,
    })
}

/// `PID/TID`, or one number for both.
fn ids(word: &str) -> Option<(u32, u32)> {
    let (pid, tid) = word.split_once('/').unwrap_or((word, word));
    let number = |text: &str| text.trim_start_matches('-').parse().ok();
    Some((number(pid)?, number(tid)?))
}

/// `[003]`.
fn is_cpu(word: &str) -> bool {
    let number = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// `1937.755947` in ns.
fn time(word: &str) -> Option<u64> {
    let (seconds, fraction) = word.split_once('.')?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u64 = format!("{fraction:0<9}").parse().ok()?;
    seconds
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanoseconds)
}

/// The frame of a sample without a call chain; the fields of a tracepoint are none.
pub(super) fn single(text: &str) -> Option<Line<'_>> {
    let line = frame(text)?;
    (!line.file.is_empty()).then_some(line)
}

/// `ADDRESS NAME+0xOFFSET (FILE)`, with or without the offset and the file.
pub(super) fn frame(line: &str) -> Option<Line<'_>> {
    let (_, end, word) = words(line).next()?;
    if word.len() > 16 || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let address = u64::from_str_radix(word, 16).ok()?;
    let text = line[end..].trim();
    let (name, file) = match text.strip_suffix(')') {
        None => (text, ""),
        Some(open) => {
            let path = open.strip_suffix(" (deleted)").unwrap_or(open);
            match path.rfind(" (") {
                Some(at) => (&text[..at], &open[at + 2..]),
                // Without a name, as of a sample with `-F ip,dso`.
                None => match path.strip_prefix('(') {
                    Some(_) => ("", &open[1..]),
                    None => (text, ""),
                },
            }
        }
    };
    let name = match name.trim() {
        "[unknown]" => "",
        name => without_offset(name),
    };
    Some(Line {
        address,
        name,
        file,
    })
}

fn without_offset(name: &str) -> &str {
    match name.rsplit_once("+0x") {
        Some((name, offset))
            if !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            name
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_lines_with_any_fields() {
        let owner = |comm, pid, tid| Owner { comm, pid, tid };
        for (line, expected) in [
            (
                "w x 30339  1937.755947:   10101010 cpu-clock: ",
                (
                    owner("w x", 30339, 30339),
                    Some(1_937_755_947_000),
                    Some(10_101_010),
                    "cpu-clock",
                ),
            ),
            (
                "opt cgu.15 29346 [001]  1945.779280:   10101010 cpu-clock:u: ",
                (
                    owner("opt cgu.15", 29346, 29346),
                    Some(1_945_779_280_000),
                    Some(10_101_010),
                    "cpu-clock:u",
                ),
            ),
            (
                "sleep 12/34 [001]  2006.569061: sched:sched_switch: prev_comm=a next_pid=5",
                (
                    owner("sleep", 12, 34),
                    Some(2_006_569_061_000),
                    None,
                    "sched:sched_switch",
                ),
            ),
            (
                "30339/30340  1937.755947123: cycles:P: ",
                (
                    owner("", 30339, 30340),
                    Some(1_937_755_947_123),
                    None,
                    "cycles:P",
                ),
            ),
            ("w x 30339 ", (owner("w x", 30339, 30339), None, None, "")),
            (
                "swapper     0 [000]    250000 cpu-clock: ",
                (owner("swapper", 0, 0), None, Some(250_000), "cpu-clock"),
            ),
        ] {
            let header = header(line).unwrap_or_else(|| panic!("{line}"));
            let read = (header.owner, header.time, header.period, header.event);
            assert_eq!(read, expected, "{line}");
        }
        for line in ["", "no numbers here", "  w.c:3"] {
            assert_eq!(header(line), None, "{line}");
        }
    }

    #[test]
    fn frames_with_any_names() {
        let line = |address, name, file| Line {
            address,
            name,
            file,
        };
        for (text, expected) in [
            (
                "\t    1145 leaf+0xc (/tmp/w x)",
                line(0x1145, "leaf", "/tmp/w x"),
            ),
            (
                "\tffffffff816bb848 ksys_read+0x28 ([kernel.kallsyms])",
                line(0xffff_ffff_816b_b848, "ksys_read", "[kernel.kallsyms]"),
            ),
            (
                "\t 8eaf3d8 (anonymous namespace)::Cloner::Clone(int, char (*)[2])+0x97e (/usr/lib/libLLVM.so (deleted))",
                line(
                    0x8ea_f3d8,
                    "(anonymous namespace)::Cloner::Clone(int, char (*)[2])",
                    "/usr/lib/libLLVM.so (deleted)",
                ),
            ),
            (
                "\t  3fff [unknown] ([unknown])",
                line(0x3fff, "", "[unknown]"),
            ),
            ("\t  1145 hot (inlined)", line(0x1145, "hot", "inlined")),
            ("\t  1145 leaf", line(0x1145, "leaf", "")),
            ("\t  1145 (/bin/x)", line(0x1145, "", "/bin/x")),
            ("\t  1145 a+0xg (/x)", line(0x1145, "a+0xg", "/x")),
        ] {
            assert_eq!(frame(text), Some(expected), "{text}");
        }
        for text in ["", "\t", "  w.c:3", "\t12345678901234567 x (y)"] {
            assert_eq!(frame(text), None, "{text}");
        }
    }
}

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

/// A word of a line, with where it begins and ends.
#[derive(Clone, Copy)]
struct Word<'a> {
    start: usize,
    end: usize,
    text: &'a str,
}

/// The words of a line.
fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
    line.split_ascii_whitespace().map(move |text| {
        let start = text.as_ptr().addr() - line.as_ptr().addr();
        Word {
            start,
            end: start + text.len(),
            text,
        }
    })
}

/// A line is any bytes, a mebibyte of them: each word is looked at a few times, and what is before it never again.
pub(super) fn header(line: &str) -> Option<Header<'_>> {
    let (owner, time, end) = timed(line).or_else(|| untimed(line))?;
    let mut rest = &line[end..];
    let mut period = None;
    if let Some(word) = words(rest).next()
        && let Ok(number) = word.text.parse()
    {
        period = Some(number);
        rest = &rest[word.end..];
    }
    let mut event = "";
    if let Some(word) = words(rest).next()
        && let Some(name) = word.text.strip_suffix(':')
    {
        event = name;
        rest = &rest[word.end..];
    }
    Some(Header {
        owner,
        time,
        period,
        event,
        rest,
    })
}

type Owned<'a> = (Owner<'a>, Option<u64>, usize);

/// `COMM PID/TID [CPU] TIME:`, with everything but one number and the time left out at will; and where it ends.
fn timed(line: &str) -> Option<Owned<'_>> {
    let (mut before, mut last) = (None::<Word<'_>>, None::<Word<'_>>);
    for word in words(line) {
        let ids = match last {
            Some(cpu) if is_cpu(cpu.text) => before,
            other => other,
        };
        if let Some(time) = word.text.strip_suffix(':').and_then(time)
            && let Some(owner) = ids.and_then(|ids| owner(line, ids))
        {
            return Some((owner, Some(time), word.end));
        }
        (before, last) = (last, Some(word));
    }
    None
}

/// `COMM PID/TID [CPU]` up to the first word that may be an id.
fn untimed(line: &str) -> Option<Owned<'_>> {
    let mut words = words(line);
    let ids = words.find(|word| ids(word.text).is_some())?;
    let cpu = words.next().filter(|word| is_cpu(word.text));
    let end = cpu.map_or(ids.end, |cpu| cpu.end);
    Some((owner(line, ids)?, None, end))
}

/// `COMM PID/TID`, of which the latter is a word of the line.
fn owner<'a>(line: &'a str, last: Word<'a>) -> Option<Owner<'a>> {
    let (pid, tid) = ids(last.text)?;
    Some(Owner {
        comm: line[..last.start].trim(),
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
    let Word {
        end, text: word, ..
    } = words(line).next()?;
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
    use std::time::{Duration, Instant};

    use super::*;
    use crate::export::read::text::MAX_LINE;

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
        for line in [
            "",
            "no numbers here",
            "  w.c:3",
            "[000] 1.5:",
            "x [000] 1.5:",
            "1.5:",
        ] {
            assert_eq!(header(line), None, "{line}");
        }
    }

    /// Lines of a mebibyte, whose words each look like what a sample's line has: a minute each, were all that is before a
    /// word looked at again.
    #[test]
    fn long_lines_take_time_in_proportion() {
        let start = Instant::now();
        let half = MAX_LINE / 2;
        let spaces = " ".repeat(half);
        for (before, word) in [
            (&*spaces, "x 1.5: "),
            ("", "x\u{c}1.5:\u{c}"),
            (&*spaces, "x [1] 1.5: "),
            (&*spaces, "1.5:\u{c}"),
            ("1 ", "a ("),
            ("1 ", "a+0x1"),
            ("1 ", ") (deleted)"),
            ("x 1 1.5: 1 e: 1 ", "-1/-1 "),
        ] {
            let line = before.to_owned() + &word.repeat(half / word.len());
            if let Some(header) = header(&line) {
                let _ = single(header.rest);
            }
            let _ = frame(&line);
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?}",
            start.elapsed()
        );
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

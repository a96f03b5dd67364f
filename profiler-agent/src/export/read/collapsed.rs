//! Collapsed stacks: one line a stack, `comm;outermost;..;leaf count`, as `export/collapsed.rs` writes them, and as the
//! `stackcollapse` programs and other profilers do. A line that begins with `#` is a comment; `_[k]` marks code of the kernel.

use super::text::{ASSUMED_NOTE, Frame, Owner, Stacks, lines};
use super::{Budget, MAX_COUNT, ReadError, ReadLimits};
use crate::profile::Profile;

/// Lines in which a text shows that it holds stacks.
const TRIED_LINES: usize = 64;

/// Is the first line that is neither empty nor a comment a stack and its count?
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let first = lines(bytes)
        .take(TRIED_LINES)
        .find_map(|(_, line)| line.ok().filter(|line| !is_skipped(line)));
    first.is_some_and(|line| split(&String::from_utf8_lossy(line)).is_some())
}

fn is_skipped(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b"#")
}

/// The frames, and how often they were seen.
fn split(line: &str) -> Option<(&str, u64)> {
    let (stack, count) = line.trim_end().rsplit_once([' ', '\t'])?;
    let count = count.parse().ok()?;
    (!stack.trim().is_empty()).then_some((stack, count))
}

/// Reads collapsed stacks. The first name of a line is the process's. Counts become CPU time at an assumed rate, which the
/// notes say.
///
/// # Errors
/// [`ReadError`], with the number of the line that is no stack.
pub(super) fn decode(
    bytes: &[u8],
    limits: &ReadLimits,
) -> Result<(Profile, Vec<String>), ReadError> {
    Budget::new("bytes", limits.bytes).take(bytes.len())?;
    let mut stacks = Stacks::new(limits);
    for (number, line) in lines(bytes) {
        let line = line?;
        if is_skipped(line) {
            continue;
        }
        let line = String::from_utf8_lossy(line);
        let (stack, count) = split(&line).ok_or(ReadError::Line {
            line: number,
            what: "a stack and its count (`caller;callee 12`)",
        })?;
        let mut names = stack.split(';').map(str::trim);
        let comm = names.next().unwrap_or_default();
        for name in names {
            let kernel = name.strip_suffix("_[k]");
            let kernel = kernel.filter(|name| !name.is_empty() && name.trim_end() == *name);
            stacks.frame(Frame {
                names: &[kernel.unwrap_or(match name {
                    "" => "[unknown]",
                    name => name,
                })],
                file: "",
                address: 0,
                is_kernel: kernel.is_some(),
            })?;
        }
        stacks.reverse();
        let count = count.min(MAX_COUNT);
        let value = count.saturating_mul(stacks.period());
        let owner = Owner {
            comm,
            ..Owner::default()
        };
        stacks.sample(owner, (count, value), None)?;
    }
    Ok((stacks.finish(), vec![ASSUMED_NOTE.to_owned()]))
}

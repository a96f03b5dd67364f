//! What a program's runtime says of its code, as `tests/workloads/go-truth/ranges.go` prints it.

use std::ops::Range;

/// One function at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'text> {
    /// Its name, as the runtime prints it; empty for the first function of the name table, which the
    /// runtime takes for none.
    pub name: &'text str,
    /// The file; empty where unknown.
    pub file: &'text str,
    /// The line; 0 where unknown.
    pub line: u32,
    /// The function's first line; 0 where unknown.
    pub start_line: u32,
}

/// What a program said.
#[derive(Clone, Copy, Debug)]
pub struct Truth<'text> {
    /// Where the first page of the file was mapped.
    pub base: u64,
    /// The addresses of its functions.
    pub text: (u64, u64),
    ranges: &'text str,
}

impl<'text> Truth<'text> {
    /// Reads what a program printed.
    ///
    /// # Panics
    ///
    /// When it is not of that form.
    #[must_use]
    pub fn parse(output: &'text str) -> Self {
        let (base, rest) = output.split_once('\n').expect("a line with the base");
        let (text, ranges) = rest.split_once('\n').expect("a line with the text");
        let base = base.strip_prefix("base ").expect("the base");
        let text = text.strip_prefix("text ").expect("the text");
        let (start, end) = text.split_once(' ').expect("start and end");
        Self {
            base: hexadecimal(base),
            text: (hexadecimal(start), hexadecimal(end)),
            ranges,
        }
    }

    /// Ranges of addresses, each with the functions there, innermost first. The last byte of every
    /// function is in none: the runtime cannot be asked for it.
    pub fn ranges(&self) -> impl Iterator<Item = (Range<u64>, Vec<Frame<'text>>)> + '_ {
        let end = self.text.1;
        let mut lines = self.ranges.lines().peekable();
        let all = std::iter::from_fn(move || {
            let mut parts = lines.next()?.split('\t');
            let start = hexadecimal(parts.next()?);
            let next = lines.peek().and_then(|line| line.split('\t').next());
            let frames: Vec<Frame<'_>> = parts.map(frame).collect();
            Some((start..next.map_or(end, hexadecimal), frames))
        });
        all.filter(|(_, frames)| !frames.is_empty())
    }
}

fn frame(text: &str) -> Frame<'_> {
    let mut parts = text.rsplitn(4, '|');
    let mut part = || parts.next().expect("four parts");
    let number = |text: &str| text.parse().expect("a line number");
    let start_line = number(part());
    let line = number(part());
    let file = part();
    Frame {
        name: part(),
        file,
        line,
        start_line,
    }
}

fn hexadecimal(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("a hexadecimal number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_the_next_starts() {
        let text = "base 400000\ntext 401000 401100\n401000\tmain.f|/a b/f.go|3|1\tmain.g|/g.go|9|8\n40100f\n401010\tm||0|0\n";
        let truth = Truth::parse(text);
        assert_eq!(
            (truth.base, truth.text),
            (0x40_0000, (0x40_1000, 0x40_1100))
        );
        let ranges: Vec<_> = truth.ranges().collect();
        assert_eq!(ranges[0].0, 0x40_1000..0x40_100f);
        assert_eq!(ranges[0].1.len(), 2);
        assert_eq!(
            ranges[0].1[0],
            Frame {
                name: "main.f",
                file: "/a b/f.go",
                line: 3,
                start_line: 1
            }
        );
        assert_eq!(ranges[1].0, 0x40_1010..0x40_1100);
        assert_eq!(ranges[1].1[0].file, "");
    }
}

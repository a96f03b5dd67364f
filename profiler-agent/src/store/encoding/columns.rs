//! How the numbers of columns are written, and read.

use std::sync::Arc;

use crate::profile::distinct::Distinct;
use crate::store::leb128::{Reader, number};

/// Indices that mostly count up: 0 stands for the next one, others are written plus one.
#[derive(Debug, Default)]
pub(super) struct Next(u64);

impl Next {
    pub(super) fn write(&mut self, out: &mut Vec<u8>, index: u32) {
        if u64::from(index) == self.0 {
            self.0 += 1;
            number(out, 0);
        } else {
            number(out, u64::from(index) + 1);
        }
    }

    /// An index into a table of this length.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, length: usize) -> Option<u32> {
        let index = match reader.number()? {
            0 => {
                self.0 += 1;
                self.0 - 1
            }
            other => other - 1,
        };
        (index < length as u64).then_some(index as u32)
    }
}

/// Numbers that lie close to the ones before, modulo 2^64.
#[derive(Debug, Default)]
pub(super) struct Near(u64);

impl Near {
    pub(super) fn write(&mut self, out: &mut Vec<u8>, value: u64) {
        signed(out, value, self.0);
        self.0 = value;
    }
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Option<u64> {
        self.0 = read_signed(reader, self.0)?;
        Some(self.0)
    }
}

/// `value` as its difference to what is expected, modulo 2^64.
pub(super) fn signed(out: &mut Vec<u8>, value: u64, expected: u64) {
    let difference = value.wrapping_sub(expected).cast_signed();
    number(out, (difference << 1 ^ difference >> 63).cast_unsigned());
}

/// What [`signed`] wrote.
pub(super) fn read_signed(reader: &mut Reader<'_>, expected: u64) -> Option<u64> {
    let number = reader.number()?;
    let difference = number >> 1 ^ (number & 1).wrapping_neg();
    Some(expected.wrapping_add(difference))
}

/// The distinct texts, in the order of their first mention.
#[derive(Debug, Default)]
pub(super) struct Texts {
    texts: Distinct<Box<str>>,
    next: Next,
}

impl Texts {
    pub(super) fn write(&mut self, out: &mut Vec<u8>, text: &str) {
        let index = self.texts.intern_str(text);
        self.next.write(out, index);
    }

    /// A text that is mostly the same as `usual`: 0 where it is.
    pub(super) fn write_unless(&mut self, out: &mut Vec<u8>, text: &str, usual: &str) {
        if text == usual {
            number(out, 0);
        } else {
            number(out, u64::from(self.texts.intern_str(text)) + 1);
            // Counted as mentioned, where it is new.
            self.next.0 = self.next.0.max(self.texts.as_slice().len() as u64);
        }
    }

    /// All texts, to stand in front of what mentions them.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        let texts = self.texts.into_values();
        number(out, texts.len() as u64);
        for found in &texts {
            number(out, found.len() as u64);
        }
        for found in &texts {
            out.extend_from_slice(found.as_bytes());
        }
    }
}

/// The texts of a body that is read.
pub(super) struct ReadTexts {
    texts: Vec<Arc<str>>,
    next: Next,
}

impl ReadTexts {
    pub(super) fn new(reader: &mut Reader<'_>) -> Option<Self> {
        let count = rows(reader, 1)?;
        let lengths = column(count, || reader.number())?;
        let texts = lengths.into_iter().map(|length| {
            let text = reader.bytes(usize::try_from(length).ok()?)?;
            Some(Arc::from(std::str::from_utf8(text).ok()?))
        });
        Some(Self {
            texts: texts.collect::<Option<_>>()?,
            next: Next::default(),
        })
    }

    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Option<Arc<str>> {
        let index = self.next.read(reader, self.texts.len())?;
        Some(Arc::clone(&self.texts[index as usize]))
    }

    pub(super) fn read_unless(
        &mut self,
        reader: &mut Reader<'_>,
        usual: &Arc<str>,
    ) -> Option<Arc<str>> {
        match reader.number()? {
            0 => Some(Arc::clone(usual)),
            index => {
                self.next.0 = self.next.0.max(index);
                let index = usize::try_from(index - 1).ok()?;
                self.texts.get(index).map(Arc::clone)
            }
        }
    }
}

/// The number of rows of a table that has at least so many bytes in each.
pub(super) fn rows(reader: &mut Reader<'_>, bytes: usize) -> Option<usize> {
    let most = reader.0.len() / bytes.max(1);
    usize::try_from(reader.count(most as u64)?).ok()
}

/// The values of a column.
pub(super) fn column<T>(rows: usize, mut value: impl FnMut() -> Option<T>) -> Option<Vec<T>> {
    let mut column = Vec::with_capacity(rows);
    for _ in 0..rows {
        column.push(value()?);
    }
    Some(column)
}

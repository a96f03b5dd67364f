//! Tables of a function's values by address: pairs of a value's delta (zigzag) and the number of
//! quanta that it holds for, as varints. A value's delta of zero ends the table, but for the first.

use std::ops::Range;

use super::malformed::Malformed;
use crate::profile::ElfAddress;

/// The ranges of one such table, in address order, each with its value.
///
/// It ends with the table, with the function, or behind what is malformed.
#[derive(Clone, Debug)]
pub struct PcValues<'data> {
    bytes: &'data [u8],
    quantum: u8,
    address: u64,
    end: u64,
    value: i32,
    first: bool,
}

impl<'data> PcValues<'data> {
    pub(crate) const fn new(bytes: &'data [u8], quantum: u8, function: Range<u64>) -> Self {
        Self {
            bytes,
            quantum,
            address: function.start,
            end: function.end,
            value: -1,
            first: true,
        }
    }

    /// The next range and its value; `None` at the end.
    fn step(&mut self) -> Result<Option<(Range<u64>, i32)>, Malformed> {
        if self.address >= self.end {
            return Ok(None);
        }
        let delta = self.varint()?;
        if delta == 0 && !self.first {
            self.address = self.end;
            return Ok(None);
        }
        self.first = false;
        let decoded = (delta >> 1) ^ (delta & 1).wrapping_neg();
        self.value = self.value.wrapping_add(decoded.cast_signed());
        let quanta = self.varint()?;
        // A range without addresses would let a table of any length cover nothing.
        if quanta == 0 {
            return Err(Malformed::Function);
        }
        let start = self.address;
        self.address = start.saturating_add(u64::from(quanta) * u64::from(self.quantum));
        Ok(Some((start..self.address.min(self.end), self.value)))
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut number = 0_u32;
        for (index, byte) in self.bytes.iter().take(5).enumerate() {
            number |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[index + 1..];
                return Ok(number);
            }
        }
        Err(Malformed::Function)
    }
}

impl Iterator for PcValues<'_> {
    type Item = Result<(Range<ElfAddress>, i32), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Ok(Some((range, value))) => {
                Some(Ok((ElfAddress(range.start)..ElfAddress(range.end), value)))
            }
            Ok(None) => None,
            Err(malformed) => {
                self.address = self.end;
                Some(Err(malformed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(bytes: &[u8], quantum: u8, end: u64) -> Vec<Result<(u64, u64, i32), Malformed>> {
        PcValues::new(bytes, quantum, 100..end)
            .map(|item| item.map(|(range, value)| (range.start.0, range.end.0, value)))
            .collect()
    }

    #[test]
    fn deltas_accumulate_from_minus_one_and_end_with_zero() {
        // +1 for 4, +24 for 300, -24 for 1, end.
        let bytes = [2, 4, 48, 0xac, 2, 47, 1, 0, 9];
        assert_eq!(
            ranges(&bytes, 1, 1000),
            [Ok((100, 104, 0)), Ok((104, 404, 24)), Ok((404, 405, 0))]
        );
        assert_eq!(ranges(&bytes, 4, 1000)[0], Ok((100, 116, 0)));
    }

    #[test]
    fn the_first_delta_may_be_zero() {
        assert_eq!(ranges(&[0, 7, 0], 1, 1000), [Ok((100, 107, -1))]);
    }

    #[test]
    fn a_function_ends_its_tables() {
        assert_eq!(ranges(&[2, 4, 2, 90, 2, 1, 0], 1, 110).len(), 2);
        assert_eq!(ranges(&[2, 90, 0], 1, 110), [Ok((100, 110, 0))]);
    }

    #[test]
    fn what_does_not_end_or_advance_is_malformed_once() {
        let malformed = Err(Malformed::Function);
        assert_eq!(ranges(&[], 1, 110), [malformed]);
        assert_eq!(ranges(&[2, 0, 2, 1, 0], 1, 110), [malformed]);
        assert_eq!(ranges(&[2, 4], 1, 110), [Ok((100, 104, 0)), malformed]);
        assert_eq!(ranges(&[0xff; 9], 1, 110), [malformed]);
    }
}

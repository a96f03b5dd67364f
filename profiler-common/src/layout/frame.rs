//! What the words of a user stack are: addresses of code, and frames of interpreters among them.
//!
//! | bits 56 to 60 of a word | what it is |
//! |---|---|
//! | 0 | a frame of compiled code, as [`RawFrame`] has it |
//! | 1 to 30 | the first word of an interpreted frame: the number of its [`Interpreter`]; bits 0 to 55 are the address of its code object, bits 61 to 63 are zero |
//! | 31 | the second word of an interpreted frame: bits 0 to 31 are the cookie, bits 32 to 55 the place in the bytecode, bits 61 to 63 are zero |
//!
//! No code of user space lies at an address with one of these bits: it is below 2^56 on x86_64, also with five levels of
//! page tables, and below 2^52 on aarch64. What a walk takes for a return address can be any number, though: a word
//! that is not the first of two words of a known interpreter is a frame of compiled code that lies in no mapping.

use super::RawFrame;

/// Where the number of an interpreter stands in a word.
const TAG_SHIFT: u32 = 56;
const TAG_MASK: u64 = 0x1f;
/// The second word of an interpreted frame.
const CONTINUED: u64 = 31;
const POINTER_MASK: u64 = (1 << TAG_SHIFT) - 1;
const DELTA_SHIFT: u32 = 32;

/// An interpreter whose frames are known.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interpreter {
    /// CPython: the code object is a `PyCodeObject`, the delta counts its code units.
    Cpython = 1,
    /// HotSpot: the code object is a `Method` or an `nmethod`.
    Hotspot = 2,
    /// V8: the code object is a `JSFunction` or its code.
    V8 = 3,
}

impl Interpreter {
    /// Every interpreter, in order of number.
    pub const ALL: [Self; 3] = [Self::Cpython, Self::Hotspot, Self::V8];

    /// The interpreter with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Cpython),
            2 => Some(Self::Hotspot),
            3 => Some(Self::V8),
            _ => None,
        }
    }
}

/// A frame of an interpreter: where it is in which code object, and what tells whether that is still the same when it is
/// read later.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterpretedFrame {
    first: u64,
    second: u64,
}
const _: () = assert!(size_of::<InterpretedFrame>() == 16);

impl InterpretedFrame {
    /// The largest place in the bytecode; a larger one becomes this.
    pub const MAX_DELTA: u32 = (1 << (TAG_SHIFT - DELTA_SHIFT)) - 1;

    /// A frame of `interpreter` in the code object at `pointer` (whose top eight bits are dropped), `delta` from the start of
    /// its bytecode, in the interpreter's own unit. The `cookie` is made of what the code object said of itself when the
    /// sample was taken.
    #[must_use]
    pub const fn new(interpreter: Interpreter, pointer: u64, delta: u32, cookie: u32) -> Self {
        let delta = if delta > Self::MAX_DELTA {
            Self::MAX_DELTA
        } else {
            delta
        };
        Self {
            first: (pointer & POINTER_MASK) | (interpreter as u64) << TAG_SHIFT,
            second: CONTINUED << TAG_SHIFT | (delta as u64) << DELTA_SHIFT | cookie as u64,
        }
    }
    /// The frame of these two words, if they are one.
    #[must_use]
    pub const fn of_words(first: u64, second: u64) -> Option<Self> {
        // With the three bits above, which are zero.
        if second >> TAG_SHIFT != CONTINUED {
            return None;
        }
        match Interpreter::from_number(first >> TAG_SHIFT) {
            Some(_) => Some(Self { first, second }),
            None => None,
        }
    }
    /// Its two words.
    #[must_use]
    pub const fn words(self) -> [u64; 2] {
        [self.first, self.second]
    }
    /// Whose frame it is.
    #[must_use]
    pub const fn interpreter(self) -> Interpreter {
        match self.first >> TAG_SHIFT {
            2 => Interpreter::Hotspot,
            3 => Interpreter::V8,
            // Frames are made of no other number.
            _ => Interpreter::Cpython,
        }
    }
    /// Address of its code object.
    #[must_use]
    pub const fn pointer(self) -> u64 {
        self.first & POINTER_MASK
    }
    /// Its place in the bytecode, in the interpreter's own unit.
    #[must_use]
    pub const fn delta(self) -> u32 {
        (self.second >> DELTA_SHIFT) as u32 & Self::MAX_DELTA
    }
    /// What the code object said of itself.
    #[must_use]
    pub const fn cookie(self) -> u32 {
        self.second as u32
    }
}

/// A frame of a user stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// Of compiled code.
    Code(RawFrame),
    /// Of an interpreter.
    Interpreted(InterpretedFrame),
}

/// The frames that the words of a user stack are, leaf first.
#[derive(Clone, Debug)]
pub struct Frames<'a>(&'a [RawFrame]);

impl<'a> Frames<'a> {
    /// The frames of these words.
    #[must_use]
    pub const fn of(words: &'a [RawFrame]) -> Self {
        Self(words)
    }
}

impl Iterator for Frames<'_> {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        if first.0 >> TAG_SHIFT & TAG_MASK != 0
            && let Some((second, rest)) = rest.split_first()
            && let Some(frame) = InterpretedFrame::of_words(first.0, second.0)
        {
            self.0 = rest;
            return Some(Frame::Interpreted(frame));
        }
        Some(Frame::Code(*first))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn frames(words: &[u64]) -> Vec<Frame> {
        let words: Vec<RawFrame> = words.iter().copied().map(RawFrame).collect();
        Frames::of(&words).collect()
    }

    const PYTHON: InterpretedFrame =
        InterpretedFrame::new(Interpreter::Cpython, 0x7f12_3456_7890, 77, 0x8123_4567);

    #[test]
    fn an_interpreted_frame_says_what_it_was_made_of() {
        for interpreter in Interpreter::ALL {
            let frame =
                InterpretedFrame::new(interpreter, 0xff12_3456_789a_bcde, u32::MAX, u32::MAX);
            assert_eq!(frame.interpreter(), interpreter);
            assert_eq!(frame.pointer(), 0x12_3456_789a_bcde);
            assert_eq!(frame.delta(), InterpretedFrame::MAX_DELTA);
            assert_eq!(frame.cookie(), u32::MAX);
            let [first, second] = frame.words();
            assert_eq!(InterpretedFrame::of_words(first, second), Some(frame));
        }
        assert_eq!(
            PYTHON.words(),
            [0x0100_7f12_3456_7890, 0x1f00_004d_8123_4567]
        );
        assert_eq!((PYTHON.delta(), PYTHON.cookie()), (77, 0x8123_4567));
    }

    #[test]
    fn mixed_stacks_are_read_in_order() {
        let [first, second] = PYTHON.words();
        let java = InterpretedFrame::new(Interpreter::Hotspot, 0x1000, 3, 0);
        let [third, fourth] = java.words();
        let code = |word| Frame::Code(RawFrame(word));
        assert_eq!(
            frames(&[
                0x1000 | RawFrame::INTERRUPTED,
                first,
                second,
                third,
                fourth,
                0x2000,
                first,
                second
            ]),
            [
                code(0x1000 | RawFrame::INTERRUPTED),
                Frame::Interpreted(PYTHON),
                Frame::Interpreted(java),
                code(0x2000),
                Frame::Interpreted(PYTHON),
            ]
        );
    }

    #[test]
    fn words_that_are_no_whole_frame_are_addresses() {
        let [first, second] = PYTHON.words();
        let code = |words: &[u64]| {
            let all: Vec<Frame> = words
                .iter()
                .map(|word| Frame::Code(RawFrame(*word)))
                .collect();
            assert_eq!(frames(words), all);
        };
        // Cut short; without its second word; the second word alone; twice the first.
        code(&[first]);
        code(&[first, 0x2000]);
        code(&[second, first]);
        code(&[first, first, first]);
        // An interpreter that is not known, and flags that only frames of code have.
        code(&[4 << TAG_SHIFT | 0x1000, second]);
        code(&[30 << TAG_SHIFT, second]);
        for flag in [
            RawFrame::INTERRUPTED,
            RawFrame::BY_FRAME_POINTER,
            RawFrame::RETURN_PROBE,
        ] {
            code(&[first | flag, second]);
            code(&[first, second | flag]);
        }
        // The highest addresses of user space.
        code(&[(1 << 56) - 1, (1 << 52) - 1, u64::MAX]);
        assert_eq!(
            frames(&[first, first, second]),
            [Frame::Code(RawFrame(first)), Frame::Interpreted(PYTHON)]
        );
    }

    #[test]
    fn whatever_the_words_are_each_is_in_one_frame() {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(0x5851_F42D_4C95_7F2D)
                .wrapping_add(0x1405_7B7E_F767_814F);
            state >> 33
        };
        for _ in 0..10_000 {
            let words: Vec<u64> = (0..next() % 9)
                .map(|_| match next() % 4 {
                    0 => next(),
                    1 => CONTINUED << TAG_SHIFT | next(),
                    tag => tag << TAG_SHIFT | next(),
                })
                .collect();
            let read = frames(&words);
            let back: Vec<u64> = read
                .iter()
                .flat_map(|frame| match frame {
                    Frame::Code(raw) => std::vec![raw.0],
                    Frame::Interpreted(frame) => frame.words().to_vec(),
                })
                .collect();
            assert_eq!(back, words);
        }
    }
}

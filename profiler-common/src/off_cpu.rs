//! Which of a thread's stays off CPU are recorded, and what each record stands for.
//!
//! A stay of at least the threshold is recorded as it is. Shorter ones are sampled: laid end to end, the short stays of
//! a thread are cut into strata, each as long as the threshold, and in each stratum lies one uniformly random point. The
//! stay that reaches over the point is recorded, and stands for the whole stratum. So the sum of a thread's records is within a
//! threshold of its short time, and every moment of it is equally likely to be recorded: no regular pattern of stays is in step with
//! the strata.
//!
//! Of what is left each record is kept with a probability, and counts as many times more.
//!
//! The kernel side runs this at each switch between threads; the host tests the same code.

/// Longest threshold in nanoseconds, about two seconds: products of two times below it fit into 64 bits.
pub const MAX_THRESHOLD: u64 = (1 << 31) - 1;
/// Lowest probability that records are kept with.
pub const MIN_PROBABILITY: f64 = 1.0 / 65_536.0;

/// [`Drawing::keep`] where all records are kept.
const CERTAIN: u64 = 1 << 32;
/// Fraction bits of [`Drawing::inverse`].
const INVERSE_BITS: u32 = 20;

/// How records are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// Nanoseconds from which on each stay is recorded; at most [`MAX_THRESHOLD`].
    pub threshold: u64,
    /// Of 2^32 records so many are kept.
    pub keep: u64,
    /// How many records one that is kept stands for, times 2^20.
    pub inverse: u64,
}

/// How far a thread has come in its short stays. All zero is a thread that had none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortStays {
    /// Nanoseconds of the current stratum that have passed: less than the threshold.
    within: u32,
    /// Where in the stratum its point lies, in nanoseconds, plus one; 0: it is not drawn yet.
    point: u32,
}
const _: () = assert!(size_of::<ShortStays>() == 8);

/// What a record of a stay stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Nanoseconds of the stay itself.
    pub stay: u64,
    /// Nanoseconds that it stands for, before the probability of keeping it.
    pub counted: u64,
}

impl Drawing {
    /// A drawing with this threshold in nanoseconds and this probability of keeping a record, both within their bounds.
    #[must_use]
    pub fn new(threshold: u64, probability: f64) -> Self {
        let probability = if probability < MIN_PROBABILITY {
            MIN_PROBABILITY
        } else if probability < 1.0 {
            probability
        } else {
            1.0
        };
        let keep = (probability * CERTAIN as f64) as u64;
        Self {
            threshold: threshold.min(MAX_THRESHOLD),
            keep,
            inverse: (CERTAIN << INVERSE_BITS) / keep,
        }
    }

    /// Draws for a stay of `stay` nanoseconds that has just ended; `None`: it is not recorded. `random` gives uniformly
    /// random numbers.
    #[inline(always)]
    pub fn draw(
        self,
        short: &mut ShortStays,
        stay: u64,
        mut random: impl FnMut() -> u32,
    ) -> Option<Drawn> {
        let counted = if stay >= self.threshold {
            stay
        } else {
            short.pass(stay, self.threshold, &mut random)
        };
        if counted == 0 || (self.keep < CERTAIN && u64::from(random()) >= self.keep) {
            return None;
        }
        Some(Drawn { stay, counted })
    }

    /// What `part` nanoseconds of the stay stand for. The whole of it comes to no less than any part.
    #[inline(always)]
    #[must_use]
    pub fn weigh(self, drawn: Drawn, part: u64) -> u64 {
        let part = part.min(drawn.stay);
        let counted = if part == drawn.stay {
            drawn.counted
        } else if drawn.counted == drawn.stay {
            part
        } else {
            // The stay is shorter than the threshold, and stands for at most two strata: below 2^63.
            (part * drawn.counted).checked_div(drawn.stay).unwrap_or(0)
        };
        self.multiply(counted)
    }

    /// `nanoseconds` by the inverse of the probability; saturates.
    #[inline(always)]
    fn multiply(self, nanoseconds: u64) -> u64 {
        if self.keep >= CERTAIN {
            return nanoseconds;
        }
        let high = nanoseconds >> INVERSE_BITS;
        let low = nanoseconds & ((1 << INVERSE_BITS) - 1);
        // Half of what there is room for: of the whole the compiler would make a product of 128 bits, which BPF has not.
        let most = (u64::MAX >> 1).checked_div(self.inverse).unwrap_or(0);
        if high > most {
            return u64::MAX;
        }
        (high * self.inverse).saturating_add((low * self.inverse) >> INVERSE_BITS)
    }
}

impl ShortStays {
    /// Goes on by `stay` nanoseconds, less than `threshold`; the nanoseconds of the strata whose points it passes.
    #[inline(always)]
    fn pass(&mut self, stay: u64, threshold: u64, random: &mut impl FnMut() -> u32) -> u64 {
        // A 32-bit random number is a fraction of the threshold, which has at most 31 bits.
        let mut draw = || (u64::from(random()) * threshold) >> 32;
        if self.point == 0 {
            self.point = draw() as u32 + 1;
        }
        let (from, to) = (u64::from(self.within), u64::from(self.within) + stay);
        let point = u64::from(self.point) - 1;
        let mut counted = if from <= point && point < to {
            threshold
        } else {
            0
        };
        if to < threshold {
            self.within = to as u32;
            return counted;
        }
        let within = to - threshold;
        let point = draw();
        if point < within {
            counted += threshold;
        }
        self.within = within as u32;
        self.point = point as u32 + 1;
        counted
    }
}

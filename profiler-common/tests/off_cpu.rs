//! Which stays off CPU are recorded: sums are right, and no pattern of stays is preferred.

use profiler_common::off_cpu::{Drawing, Drawn, MAX_THRESHOLD, MIN_PROBABILITY, ShortStays};
use proptest::prelude::*;

const THRESHOLD: u64 = 1_000_000;

/// A generator of random numbers that is good enough for statistics, and the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

#[test]
fn a_stay_of_the_threshold_or_more_is_recorded_as_it_is() {
    let drawing = Drawing::new(THRESHOLD, 1.0);
    for stay in [THRESHOLD, THRESHOLD + 1, 3_600_000_000_000, u64::MAX] {
        let mut short = ShortStays::default();
        let drawn = drawing.draw(&mut short, stay, || panic!("nothing is random"));
        let expected = Drawn {
            stay,
            counted: stay,
        };
        assert_eq!(drawn, Some(expected));
        assert_eq!(drawing.weigh(expected, stay), stay);
        assert_eq!(drawing.weigh(expected, stay / 3), stay / 3);
        assert_eq!(short, ShortStays::default());
    }
}

#[test]
fn without_a_threshold_every_stay_is_recorded() {
    let drawing = Drawing::new(0, 1.0);
    let mut short = ShortStays::default();
    let drawn = drawing.draw(&mut short, 7, || 0).expect("it is recorded");
    assert_eq!((drawn.stay, drawn.counted), (7, 7));
    assert_eq!(drawing.draw(&mut short, 0, || 0), None);
}

/// Two kinds of stays in turn, both half as long as a stratum: where each point falls decides between them.
#[test]
fn stays_in_step_with_the_strata_are_recorded_equally_often() {
    let drawing = Drawing::new(THRESHOLD, 1.0);
    let mut random = Random(7);
    let mut short = ShortStays::default();
    let mut sums = [0u64; 2];
    const ROUNDS: u64 = 100_000;
    for turn in 0..2 * ROUNDS {
        if let Some(drawn) = drawing.draw(&mut short, THRESHOLD / 2, || random.next()) {
            sums[turn as usize % 2] += drawn.counted;
        }
    }
    assert_eq!(sums[0] + sums[1], ROUNDS * THRESHOLD);
    // Five standard deviations of as many throws of a coin.
    let away = (sums[0] / THRESHOLD).abs_diff(ROUNDS / 2);
    assert!(away < 5 * 158, "{sums:?}");
}

/// Stays of several lengths in a pattern: each kind gets the share of its own time.
#[test]
fn each_kind_of_stay_gets_the_share_of_its_time() {
    for (seed, pattern) in [
        (1, vec![100_000, 300_000, 600_000]),
        (2, vec![999_999, 1]),
        (3, vec![250_000, 750_000, 500_000, 500_000]),
        (4, vec![10_000, 990_000, 123_457]),
    ] {
        let drawing = Drawing::new(THRESHOLD, 1.0);
        let mut random = Random(seed);
        let mut short = ShortStays::default();
        let mut sums = vec![0u64; pattern.len()];
        const ROUNDS: u64 = 50_000;
        for _ in 0..ROUNDS {
            for (stay, sum) in pattern.iter().zip(&mut sums) {
                if let Some(drawn) = drawing.draw(&mut short, *stay, || random.next()) {
                    *sum += drawn.counted;
                }
            }
        }
        for (stay, sum) in pattern.iter().zip(&sums) {
            let truth = stay * ROUNDS;
            // The number of records of a kind varies no more than that of independent draws.
            let deviation = ((truth / THRESHOLD) as f64).sqrt() * THRESHOLD as f64;
            let away = sum.abs_diff(truth) as f64;
            assert!(
                away <= 5.0 * deviation + THRESHOLD as f64,
                "{stay} of {pattern:?}: {sum}, not {truth}"
            );
        }
    }
}

/// A thread that lives for less than a threshold is recorded as often as its time is long.
#[test]
fn short_lives_count_by_their_length() {
    let drawing = Drawing::new(THRESHOLD, 1.0);
    let mut random = Random(11);
    const LIVES: u64 = 100_000;
    let mut sum = 0;
    for _ in 0..LIVES {
        let mut short = ShortStays::default();
        let drawn = drawing.draw(&mut short, THRESHOLD / 5, || random.next());
        sum += drawn.map_or(0, |drawn| drawn.counted);
    }
    let away = (sum / THRESHOLD).abs_diff(LIVES / 5);
    assert!(away < 5 * 127, "{sum}");
}

#[test]
fn what_is_kept_counts_for_what_is_not() {
    for (seed, probability) in [(5, 0.5), (6, 0.1), (7, 0.01), (8, 0.9)] {
        let drawing = Drawing::new(THRESHOLD, probability);
        let mut random = Random(seed);
        let mut short = ShortStays::default();
        const STAYS: u64 = 200_000;
        let (mut kept, mut sum) = (0u64, 0);
        for _ in 0..STAYS {
            let stay = 5 * THRESHOLD;
            if let Some(drawn) = drawing.draw(&mut short, stay, || random.next()) {
                kept += 1;
                sum += drawing.weigh(drawn, drawn.stay);
            }
        }
        let expected = STAYS as f64 * probability;
        let deviation = (expected * (1.0 - probability)).sqrt();
        assert!((kept as f64 - expected).abs() < 5.0 * deviation, "{kept}");
        let value = sum as f64 / kept as f64;
        let right = 5.0 * THRESHOLD as f64 / probability;
        assert!((value / right - 1.0).abs() < 1e-5, "{value}, not {right}");
    }
}

#[test]
fn probabilities_have_bounds() {
    assert_eq!(Drawing::new(1, 0.0), Drawing::new(1, MIN_PROBABILITY));
    assert_eq!(Drawing::new(1, f64::NAN), Drawing::new(1, 1.0));
    assert_eq!(Drawing::new(1, 7.0), Drawing::new(1, 1.0));
    assert_eq!(
        Drawing::new(u64::MAX, 1.0),
        Drawing::new(MAX_THRESHOLD, 1.0)
    );
}

#[test]
fn values_saturate() {
    let drawing = Drawing::new(THRESHOLD, MIN_PROBABILITY);
    let drawn = Drawn {
        stay: u64::MAX,
        counted: u64::MAX,
    };
    assert_eq!(drawing.weigh(drawn, u64::MAX), u64::MAX);
    assert_eq!(drawing.weigh(drawn, 3), 3 << 16);
}

proptest! {
    /// Whatever a thread's stays are, its records come to its time, but for a threshold.
    #[test]
    fn sums_are_right_within_a_threshold(
        threshold in 1..=MAX_THRESHOLD,
        fractions in proptest::collection::vec(0.0..1.5f64, 0..200),
        seed in 1..u64::MAX,
    ) {
        let drawing = Drawing::new(threshold, 1.0);
        let mut random = Random(seed);
        let mut short = ShortStays::default();
        let (mut truth, mut sum) = (0u64, 0u64);
        for fraction in fractions {
            let stay = (fraction * threshold as f64) as u64;
            truth += stay;
            if let Some(drawn) = drawing.draw(&mut short, stay, || random.next()) {
                prop_assert!(drawn.stay == stay && stay > 0);
                sum += drawing.weigh(drawn, stay);
            }
            prop_assert!(sum.abs_diff(truth) <= threshold, "{} of {}", sum, truth);
        }
    }

    /// A part never counts for more than the whole, and a larger part for no less.
    #[test]
    fn parts_are_weighed_alike(
        threshold in 1..=MAX_THRESHOLD,
        probability in MIN_PROBABILITY..=1.0,
        stay in any::<u64>(),
        is_short in any::<bool>(),
        parts in (any::<u64>(), any::<u64>()),
        strata in 1..=2u64,
    ) {
        let drawing = Drawing::new(threshold, probability);
        let drawn = if is_short && threshold > 1 {
            Drawn { stay: 1 + stay % (threshold - 1), counted: strata * threshold }
        } else {
            let stay = stay.max(threshold);
            Drawn { stay, counted: stay }
        };
        let within = |part: u64| part % drawn.stay.saturating_add(1).max(1);
        let (less, more) = (within(parts.0).min(within(parts.1)), within(parts.0).max(within(parts.1)));
        let whole = drawing.weigh(drawn, drawn.stay);
        prop_assert!(drawing.weigh(drawn, less) <= drawing.weigh(drawn, more));
        prop_assert!(drawing.weigh(drawn, more) <= whole);
        prop_assert_eq!(drawing.weigh(drawn, u64::MAX), whole);
        prop_assert_eq!(drawing.weigh(drawn, 0), 0);
        prop_assert!(whole >= drawn.counted);
    }
}

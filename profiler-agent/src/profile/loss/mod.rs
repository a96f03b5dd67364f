//! What was lost or degraded, by cause. Three things that are never added up:
//!
//! - [`SampleLoss`]: samples that are in no window.
//! - [`Degradation`]: something in a window is less than it should be, counted in its own unit.
//! - [`DeliveryLoss`]: what is in a window and did not reach a destination.
//!
//! Names are unique over all three. A window carries the first two ([`Losses`]), a destination the third
//! ([`DeliveryLosses`]).

mod counts;
mod degradation;
mod delivery;
mod sample;

pub use counts::Counts;
pub use degradation::Degradation;
pub use delivery::{DeliveryCause, DeliveryLoss, DeliveryLosses};
pub use sample::SampleLoss;

/// What a window lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    samples: Counts<SampleLoss>,
    degradations: Counts<Degradation>,
}

/// A cause that [`Losses`] count.
pub trait LossCause: Copy + Ord {
    /// Its kind's counts.
    fn counts(losses: &Losses) -> &Counts<Self>;
    /// The same, to change them.
    fn counts_mut(losses: &mut Losses) -> &mut Counts<Self>;
}

impl LossCause for SampleLoss {
    fn counts(losses: &Losses) -> &Counts<Self> {
        &losses.samples
    }
    fn counts_mut(losses: &mut Losses) -> &mut Counts<Self> {
        &mut losses.samples
    }
}

impl LossCause for Degradation {
    fn counts(losses: &Losses) -> &Counts<Self> {
        &losses.degradations
    }
    fn counts_mut(losses: &mut Losses) -> &mut Counts<Self> {
        &mut losses.degradations
    }
}

impl Losses {
    /// Counts `count` more of `cause`; zero leaves no entry.
    pub fn add<C: LossCause>(&mut self, cause: C, count: u64) {
        C::counts_mut(self).add(cause, count);
    }
    /// Counts `count` more of the cause with this name; is there one?
    pub fn add_named(&mut self, name: &str, count: u64) -> bool {
        if let Some(cause) = SampleLoss::from_name(name) {
            self.add(cause, count);
        } else if let Some(cause) = Degradation::from_name(name) {
            self.add(cause, count);
        } else {
            return false;
        }
        true
    }
    /// Counts all that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.samples.merge(&other.samples);
        self.degradations.merge(&other.degradations);
    }
    /// How many of `cause`.
    #[must_use]
    pub fn of<C: LossCause>(&self, cause: C) -> u64 {
        C::counts(self).of(cause)
    }
    /// Samples that are in no window.
    #[must_use]
    pub const fn samples(&self) -> &Counts<SampleLoss> {
        &self.samples
    }
    /// What is less than it should be.
    #[must_use]
    pub const fn degradations(&self) -> &Counts<Degradation> {
        &self.degradations
    }
    /// The name of every cause that occurred, with its count; lost samples first.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let samples = self.samples.iter();
        let samples = samples.map(|(cause, count)| (cause.name(), count));
        let degradations = self.degradations.iter();
        samples.chain(degradations.map(|(cause, count)| (cause.name(), count)))
    }
    /// Did nothing happen?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.degradations.is_empty()
    }
    /// Takes the counts and leaves none.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

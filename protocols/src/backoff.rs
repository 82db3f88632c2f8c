//! How long to pause before something is tried again.

use std::time::Duration;

/// Pauses that double with each failure up to a bound, with equal jitter (Brooker 2015, "Exponential Backoff And
/// Jitter"): half of a pause is fixed, the other half random, so that those who failed together do not try again
/// together.
///
/// Sans-IO: the caller brings the randomness, and sleeps.
///
/// ```
/// use std::time::Duration;
/// use swarm_protocols::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(8));
/// assert_eq!(backoff.next(u32::MAX), Duration::from_millis(250));
/// assert_eq!(backoff.next(0), Duration::from_millis(250)); // of 250 to 500 ms
/// backoff.reset();
/// assert_eq!(backoff.next(0), Duration::from_millis(125)); // of 125 to 250 ms
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// The first pause is at most `first`, none is longer than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after a further failure. Any number will do as `random`.
    pub fn next(&mut self, random: u32) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let half = doubled.min(self.longest) / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// It succeeded: the next pause is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_pauses_double_up_to_a_bound_whatever_the_number_of_failures() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(8));
        let millis: Vec<_> = (0..8).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(millis, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        assert!((0..100).all(|_| backoff.next(0) == Duration::from_secs(4)));
        let mut longest = Backoff::new(Duration::MAX, Duration::MAX);
        assert!((0..100).all(|_| longest.next(u32::MAX / 2) < Duration::MAX));
    }

    #[test]
    fn those_who_failed_together_do_not_try_again_together() {
        let pause = |random| Backoff::new(Duration::from_secs(1), Duration::from_secs(8)).next(random);
        let pauses: Vec<Duration> = (0..=4_u32).map(|quarter| pause(quarter * (u32::MAX / 4))).collect();
        assert!(pauses.windows(2).all(|pair| pair[1] > pair[0] + Duration::from_millis(100)), "{pauses:?}");
    }
}

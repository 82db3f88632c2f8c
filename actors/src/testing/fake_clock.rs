//! A clock that a test moves.

use std::time::{Duration, Instant};

/// The time for a rule that is given `now` and reads no clock itself. It stands still until it is
/// [advanced](Self::advance).
///
/// Actors read tokio's clock, which `tokio::time::pause` stops; this one is for rules without a
/// runtime, called by the thousand.
///
/// ```
/// use std::time::Duration;
/// use swarm_actors::testing::FakeClock;
///
/// let mut clock = FakeClock::new();
/// let began = clock.now();
/// assert_eq!(clock.advance(Duration::from_secs(3_600)), began + Duration::from_secs(3_600));
/// assert_eq!(clock.elapsed(), Duration::from_secs(3_600));
/// ```
#[derive(Debug, Clone)]
pub struct FakeClock {
    began: Instant,
    now: Instant,
}

impl FakeClock {
    /// A clock at no particular time: an [`Instant`] can be compared with others of the same clock
    /// only.
    #[expect(clippy::new_without_default, reason = "two default values would not be equal")]
    pub fn new() -> Self {
        let began = Instant::now();
        Self { began, now: began }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Moves on by `step`, and says what time it is then.
    pub fn advance(&mut self, step: Duration) -> Instant {
        self.now += step;
        self.now
    }

    /// Moves on to `time`, such as the next timeout of a rule. One that has passed changes nothing.
    pub fn advance_to(&mut self, time: Instant) -> Instant {
        self.now = self.now.max(time);
        self.now
    }

    /// The sum of all steps.
    pub fn elapsed(&self) -> Duration {
        self.now - self.began
    }
}

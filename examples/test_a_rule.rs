//! How to test what is hard about an actor: as a rule without an actor, which is given the time, on
//! thousands of histories.
//!
//! ```text
//! cargo run --example test_a_rule
//! cargo test --example test_a_rule
//! ```

use actix_swarm::testing::FakeClock;
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_assert_eq, prop_oneof},
    proptest,
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The rule: lets at most `calls` through in any `window`. It reads no clock; the actor around it
/// hands in tokio's, a test a fake one.
struct Allowance {
    calls: usize,
    window: Duration,
    /// When the last ones were let through, at most `calls` of them.
    passed: VecDeque<Instant>,
}

impl Allowance {
    fn new(calls: usize, window: Duration) -> Self {
        assert!(calls > 0, "an allowance of nothing lets nobody through, ever");
        Self { calls, window, passed: VecDeque::with_capacity(calls) }
    }

    /// Lets a call through, or says how long to wait.
    fn call(&mut self, now: Instant) -> Result<(), Duration> {
        while self.passed.front().is_some_and(|first| now - *first >= self.window) {
            self.passed.pop_front();
        }
        if self.passed.len() == self.calls {
            return Err(self.window - (now - self.passed[0]));
        }
        self.passed.push_back(now);
        Ok(())
    }
}

/// Pauses between calls: mostly bursts, now and then a lull as long as the window or so.
fn pauses() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 0_u64..100, 900_u64..1100].prop_map(Duration::from_millis)
}

fn an_allowance_is_never_exceeded_and_its_waits_are_no_longer_than_need_be() {
    let window = Duration::from_secs(1);
    // A program has no test file beside which failures could be kept.
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(calls in 1_usize..5, pauses in vec(pauses(), 1..200))| {
        let (mut clock, mut allowance) = (FakeClock::new(), Allowance::new(calls, window));
        let mut passed = Vec::new();
        for pause in pauses {
            let mut now = clock.advance(pause);
            if let Err(wait) = allowance.call(now) {
                let nearly = clock.advance(wait - Duration::from_nanos(1));
                prop_assert_eq!(allowance.call(nearly), Err(Duration::from_nanos(1)));
                now = clock.advance(Duration::from_nanos(1));
                prop_assert_eq!(allowance.call(now), Ok(()));
            }
            passed.push(now);
            let in_window = passed.iter().filter(|time| now - **time < window).count();
            prop_assert!(in_window <= calls, "{in_window} of {calls}");
        }
    });
}

fn main() {
    let began = Instant::now();
    an_allowance_is_never_exceeded_and_its_waits_are_no_longer_than_need_be();
    println!("256 histories took {:?}.", began.elapsed());
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_allowance_is_never_exceeded_and_its_waits_are_no_longer_than_need_be() {
        super::an_allowance_is_never_exceeded_and_its_waits_are_no_longer_than_need_be();
    }
}

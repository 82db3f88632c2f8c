//! How many failed enrolments one address may cause.

use crate::peers::source_of;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How many failures of one source are put up with in one [`WINDOW`].
pub const FAILURES_MAX: u32 = 10;

/// How long a failure is remembered, at most.
pub const WINDOW: Duration = Duration::from_secs(10 * 60);

/// How many sources are remembered. Beyond that the one whose window began first is forgotten: who commands more
/// addresses than this is not held up by a list of them.
pub const SOURCES_MAX: usize = 1024;

/// How many enrolments of one source are in progress at once.
pub const AT_ONCE_MAX: usize = 8;

/// Counts failed enrolments, and those in progress, by [where they came from](source_of).
///
/// It keeps noise down. What keeps intruders out is that a token has 256 random bits.
#[derive(Debug, Default)]
pub struct Attempts {
    failures: BTreeMap<IpAddr, Window>,
    in_hand: BTreeMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    failures: u32,
}

impl Attempts {
    /// How long a source has to wait before it may try again; `None` where it may now.
    fn wait(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let window = self.failures.get(&source_of(source))?;
        let ends = window.began + WINDOW;
        (window.failures >= FAILURES_MAX && now < ends).then(|| ends - now)
    }

    /// Whether a source may begin an enrolment now. One that did is in progress until [`ended`](Self::ended), so
    /// whoever limits these limits how many sources are remembered for them.
    pub fn begin(&mut self, source: IpAddr, now: Instant) -> bool {
        if self.wait(source, now).is_some() {
            return false;
        }
        let in_hand = self.in_hand.entry(source_of(source)).or_default();
        let free = *in_hand < AT_ONCE_MAX;
        *in_hand += usize::from(free);
        free
    }

    /// An enrolment that a source began is over.
    pub fn ended(&mut self, source: IpAddr) {
        let source = source_of(source);
        if let Some(in_hand) = self.in_hand.get_mut(&source) {
            *in_hand -= 1;
            if *in_hand == 0 {
                self.in_hand.remove(&source);
            }
        }
    }

    /// A source has failed.
    pub fn failed(&mut self, source: IpAddr, now: Instant) {
        let source = source_of(source);
        self.failures.retain(|_, window| now < window.began + WINDOW);
        if self.failures.len() >= SOURCES_MAX && !self.failures.contains_key(&source) {
            let oldest = self.failures.iter().min_by_key(|(_, window)| window.began);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.failures.remove(&oldest);
            }
        }
        let window = self.failures.entry(source).or_insert(Window { began: now, failures: 0 });
        window.failures = window.failures.saturating_add(1);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to begin with can be had from the clock only")]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_that_fails_too_often_waits_until_its_window_ends() {
        let (mut attempts, begin) = (Attempts::default(), Instant::now());
        let (bad, good) = (ip("10.0.0.1"), ip("10.0.0.2"));
        for failure in 0..FAILURES_MAX {
            assert_eq!(attempts.wait(bad, begin), None, "after {failure}");
            attempts.failed(bad, begin + Duration::from_secs(failure.into()));
        }
        let later = begin + Duration::from_secs(100);
        assert_eq!(attempts.wait(bad, later), Some(WINDOW - Duration::from_secs(100)));
        assert_eq!(attempts.wait(ip("::ffff:10.0.0.1"), later), attempts.wait(bad, later));
        assert_eq!(attempts.wait(good, later), None);
        assert_eq!(attempts.wait(bad, begin + WINDOW), None);
        attempts.failed(bad, begin + WINDOW);
        assert_eq!(attempts.wait(bad, begin + WINDOW), None, "a window begins anew");
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..FAILURES_MAX {
            attempts.failed(ip(&format!("2001:db8::{host}")), now);
        }
        assert!(attempts.wait(ip("2001:db8::ffff"), now).is_some());
        assert_eq!(attempts.wait(ip("2001:db8:0:1::1"), now), None);
    }

    #[test]
    fn a_source_has_a_share_of_what_is_in_hand() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let (greedy, other) = (ip("10.0.0.1"), ip("10.0.0.2"));
        assert!((0..AT_ONCE_MAX).all(|_| attempts.begin(greedy, now)));
        assert!(!attempts.begin(greedy, now) && attempts.begin(other, now));
        attempts.ended(ip("::ffff:10.0.0.1"));
        assert!(attempts.begin(greedy, now) && !attempts.begin(greedy, now));
        (0..AT_ONCE_MAX).for_each(|_| attempts.ended(greedy));
        attempts.ended(other);
        assert!(attempts.in_hand.is_empty(), "who is gone is forgotten");
        (0..FAILURES_MAX).for_each(|_| attempts.failed(greedy, now));
        assert!(!attempts.begin(greedy, now) && attempts.in_hand.is_empty());
    }

    #[test]
    fn the_sources_that_are_remembered_are_bounded() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for source in 0..2 * SOURCES_MAX as u32 {
            attempts.failed(
                std::net::Ipv4Addr::from_bits(source).into(),
                now + Duration::from_micros(source.into()),
            );
        }
        assert_eq!(attempts.failures.len(), SOURCES_MAX);
        attempts.failed(ip("192.0.2.1"), now + 2 * WINDOW);
        assert_eq!(attempts.failures.len(), 1, "what is over is forgotten");
    }
}

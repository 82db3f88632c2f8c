//! When a node renews its certificate.

use std::time::{Duration, SystemTime};

/// How long before its end a certificate is renewed, at most; see [`renewal_due`].
pub const RENEWAL_LEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The first pause after a renewal that failed.
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// The longest one; each is twice as long as the one before.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// The renewals of a cluster are spread over this part of the time that is left for them, so that nodes that
/// were enrolled together do not ask together.
const SPREAD: u32 = 10;

/// From when on a certificate is to be renewed: 30 days before its end, or in the last third of a shorter life.
pub fn renewal_due(valid_from: SystemTime, valid_until: SystemTime) -> SystemTime {
    let lifetime = valid_until.duration_since(valid_from).unwrap_or_default();
    valid_until - RENEWAL_LEAD.min(lifetime / 3)
}

/// What the rule has to know of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Its first second.
    pub valid_from: SystemTime,
    /// Its last second.
    pub valid_until: SystemTime,
    /// Any bits of its serial number, which is random.
    pub jitter: u32,
}

/// What is to be done about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask for a renewed one, and tell the rule how that went.
    Renew,
    /// Nothing before this time.
    Wait(SystemTime),
}

/// Decides when a node asks for a renewed certificate.
///
/// The first time lies within the first tenth of the time between [`renewal_due`] and the end, where depends on
/// the serial number. After a failure it pauses for 5 s, then twice as long each time, up to an hour, and never
/// for more than a quarter of what is left of the certificate; once that has expired, for an hour.
#[derive(Debug, Clone)]
pub struct Renewal {
    term: Term,
    failures: u32,
    next: SystemTime,
}

impl Renewal {
    /// The rule for a certificate.
    pub fn of(term: Term) -> Self {
        let due = renewal_due(term.valid_from, term.valid_until);
        let window = term.valid_until.duration_since(due).unwrap_or_default() / SPREAD;
        let share = f64::from(term.jitter) / (f64::from(u32::MAX) + 1.0);
        Self { term, failures: 0, next: due + window.mul_f64(share) }
    }

    /// What to do at `now`.
    pub fn step(&self, now: SystemTime) -> Step {
        if now >= self.next { Step::Renew } else { Step::Wait(self.next) }
    }

    /// A renewal failed. The authority may have said from when on it makes sense to ask again.
    pub fn failed(&mut self, now: SystemTime, not_before: Option<SystemTime>) {
        let doubled = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        let left = self.term.valid_until.duration_since(now).ok().filter(|left| !left.is_zero());
        let pause = left.map_or(PAUSE_MAX, |left| doubled.min(left / 4).max(PAUSE_MIN));
        self.next = now + pause;
        // A clock that is wrong, here or there, must not put it off for good.
        if let Some(not_before) = not_before {
            self.next = self.next.max(not_before.min(now + PAUSE_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(days: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY.mul_f64(20_000.0 + days)
    }

    fn term(days: f64, jitter: u32) -> Term {
        Term { valid_from: at(0.0), valid_until: at(days), jitter }
    }

    #[test]
    fn a_certificate_is_due_30_days_before_its_end_or_in_its_last_third() {
        assert_eq!(renewal_due(at(0.0), at(365.0)), at(335.0));
        assert_eq!(renewal_due(at(0.0), at(90.0)), at(60.0));
        assert_eq!(renewal_due(at(0.0), at(3.0)), at(2.0));
    }

    #[test]
    fn renewals_are_spread_over_a_tenth_of_the_time_that_is_left_for_them() {
        for (jitter, first) in [(0, at(60.0)), (1 << 31, at(61.5))] {
            let rule = Renewal::of(term(90.0, jitter));
            assert_eq!(rule.step(at(0.0)), Step::Wait(first));
            assert_eq!(rule.step(first - Duration::from_secs(1)), Step::Wait(first));
            assert_eq!(rule.step(first), Step::Renew);
        }
        assert_eq!(Renewal::of(term(90.0, u32::MAX)).step(at(63.0)), Step::Renew);
    }

    #[test]
    fn pauses_double_up_to_an_hour() {
        let mut rule = Renewal::of(term(90.0, 0));
        let mut now = at(60.0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(rule.step(now), Step::Renew);
            rule.failed(now, None);
            let Step::Wait(next) = rule.step(now) else { panic!("it does not pause") };
            pauses.push(next.duration_since(now).unwrap().as_secs());
            now = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    }

    #[test]
    fn what_is_left_of_a_certificate_bounds_the_pause_until_it_has_expired() {
        let minute = Duration::from_secs(60);
        let mut rule = Renewal::of(term(1.0, 0));
        for _ in 0..20 {
            rule.failed(at(0.9), None);
        }
        rule.failed(at(1.0) - minute, None);
        assert_eq!(rule.step(at(0.9)), Step::Wait(at(1.0) - minute + minute / 4));
        rule.failed(at(1.0) - Duration::from_secs(4), None);
        assert_eq!(rule.step(at(0.9)), Step::Wait(at(1.0) + Duration::from_secs(1)), "no storm at the end");
        for late in [at(1.0), at(30.0)] {
            rule.failed(late, None);
            assert_eq!(rule.step(late), Step::Wait(late + Duration::from_secs(3_600)));
        }
    }

    #[test]
    fn the_authority_may_put_it_off_but_not_for_good() {
        let mut rule = Renewal::of(term(90.0, 0));
        let soon = at(60.0) + Duration::from_secs(600);
        rule.failed(at(60.0), Some(soon));
        assert_eq!(rule.step(at(60.0)), Step::Wait(soon));
        rule.failed(at(60.0), Some(at(1_000.0)));
        assert_eq!(rule.step(at(60.0)), Step::Wait(at(60.0) + Duration::from_secs(3_600)));
        rule.failed(at(61.0), Some(at(0.0)));
        assert_eq!(rule.step(at(61.0)), Step::Wait(at(61.0) + Duration::from_secs(20)));
    }
}

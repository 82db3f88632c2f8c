//! From when until when a certificate holds.

use std::time::{Duration, SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How far `notBefore` lies before the time of issue: a certificate is often used at once, on a machine whose
/// clock is a little behind that of its authority.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The last second that an X.509 certificate can name, 9999-12-31T23:59:59Z (RFC 5280, section 4.1.2.5).
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// A span of time in whole seconds, both ends included, as certificates hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    from: Duration,
    until: Duration,
}

/// Why two times are no validity of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValidity {
    /// It would end before it begins, or within the same second.
    #[error("a certificate cannot expire before it becomes valid")]
    Empty,
    /// One of the times cannot be written into a certificate.
    #[error("a certificate is valid between the years 1970 and 9999")]
    OutOfRange,
}

/// Why a certificate does not hold at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutsideValidity {
    /// The time is before its first second.
    #[error("the certificate is valid from {} only", rfc3339(*.from))]
    NotYet {
        /// Its first second.
        from: SystemTime,
    },
    /// The time is past its last second.
    #[error("the certificate expired at {}", rfc3339(*.until))]
    Expired {
        /// Its last second.
        until: SystemTime,
    },
}

impl Validity {
    /// From one time until another, each cut to whole seconds.
    ///
    /// # Errors
    /// When nothing lies between them, or a certificate cannot hold them.
    pub fn new(from: SystemTime, until: SystemTime) -> Result<Self, InvalidValidity> {
        let (from, until) = (whole_seconds(from)?, whole_seconds(until)?);
        if from < until { Ok(Self { from, until }) } else { Err(InvalidValidity::Empty) }
    }

    /// From now, less [`CLOCK_SKEW`], for a lifetime from now on.
    ///
    /// # Errors
    /// When a certificate cannot hold these times.
    pub fn starting(now: SystemTime, lifetime: Duration) -> Result<Self, InvalidValidity> {
        let until = now.checked_add(lifetime).ok_or(InvalidValidity::OutOfRange)?;
        let from = now.checked_sub(CLOCK_SKEW).ok_or(InvalidValidity::OutOfRange)?;
        Self::new(from, until)
    }

    /// The first second.
    pub fn valid_from(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.from
    }

    /// The last second.
    pub fn valid_until(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.until
    }

    /// The two ends since 1970, in whole seconds.
    pub(super) fn since_epoch(&self) -> (Duration, Duration) {
        (self.from, self.until)
    }
}

fn whole_seconds(time: SystemTime) -> Result<Duration, InvalidValidity> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| InvalidValidity::OutOfRange)?;
    if since > LAST_SECOND {
        return Err(InvalidValidity::OutOfRange);
    }
    Ok(Duration::from_secs(since.as_secs()))
}

/// A time as RFC 3339 writes it, in UTC and whole seconds, such as `2026-11-20T14:31:00Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).ok(),
        Err(before) => i64::try_from(before.duration().as_secs()).ok().map(|seconds| -seconds),
    };
    let named = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    named.and_then(|named| named.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{time:?}"))
}

/// Reads what [`rfc3339`] writes.
pub(super) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp()).ok().map(|since| SystemTime::UNIX_EPOCH + Duration::from_secs(since))
}

//! A bound on the lines in the log that peers can cause.

use std::time::Duration;
use tokio::time::Instant;

/// Lets so many lines of one kind through in a minute, and counts the others for a line of their own.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl LogLimit {
    /// How long lines are counted together.
    pub(crate) const WINDOW: Duration = Duration::from_secs(60);

    /// How many get through in that time.
    const LINES_MAX: u32 = 20;

    /// Whether a line may be written now; else it is counted.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        if self.began.is_none_or(|began| now >= began + Self::WINDOW) {
            (self.began, self.lines) = (Some(now), 0);
        }
        let admitted = self.lines < Self::LINES_MAX;
        self.lines += u32::from(admitted);
        self.left_out += u64::from(!admitted);
        admitted
    }

    /// When to say how many were left out, if any were.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.began.filter(|_| self.left_out > 0).map(|began| began + Self::WINDOW)
    }

    /// How many were left out, where it is time to say so.
    pub(crate) fn summary(&mut self, now: Instant) -> Option<u64> {
        self.due().filter(|due| *due <= now).map(|_| self.take_left_out())
    }

    /// How many were left out since this was asked the last time.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_failed_handshakes_write_twenty_lines_a_minute_and_how_many_there_were_more() {
        let (mut limit, begin) = (LogLimit::default(), Instant::now());
        let lines = |limit: &mut LogLimit, from: Instant| {
            (0..700).filter(|i| limit.admits(from + Duration::from_millis(*i))).count()
        };
        assert_eq!((lines(&mut limit, begin), limit.due()), (20, Some(begin + LogLimit::WINDOW)));
        assert_eq!((limit.take_left_out(), limit.due()), (680, None));
        assert_eq!(lines(&mut limit, begin + LogLimit::WINDOW), 20);
        assert_eq!(limit.take_left_out(), 680);
    }
}

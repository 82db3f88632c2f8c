//! A bound on the lines in the log that peers can cause.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};
use tokio::time::Instant;

thread_local! {
    /// Of the node on this thread, by what the lines say. One on several arbiters has as many on each.
    static LIMITS: RefCell<BTreeMap<&'static str, LogLimit>> = const { RefCell::new(BTreeMap::new()) };
}

/// Writes a line that a peer causes, unless there have been many that say the same: `limited!(warn, "text", fields..)`.
/// Of what goes as it should more is written than of refusals and failures.
macro_rules! limited {
    (info, $($line:tt)+) => { $crate::log_limit::limited!(@ info, INFO, 200, $($line)+) };
    (warn, $($line:tt)+) => { $crate::log_limit::limited!(@ warn, WARN, 20, $($line)+) };
    (error, $($line:tt)+) => { $crate::log_limit::limited!(@ error, ERROR, 20, $($line)+) };
    (@ $level:ident, $LEVEL:ident, $max:literal, $text:literal, audit $(, $($fields:tt)+)?) => {
        if tracing::enabled!(target: "audit", tracing::Level::$LEVEL) && $crate::log_limit::admits($text, $max) {
            tracing::$level!(target: "audit", $($($fields)+,)? $text);
        }
    };
    (@ $level:ident, $LEVEL:ident, $max:literal, $text:literal $(, $($fields:tt)+)?) => {
        if tracing::enabled!(tracing::Level::$LEVEL) && $crate::log_limit::admits($text, $max) {
            tracing::$level!($($($fields)+,)? $text);
        }
    };
}
pub(crate) use limited;

/// Whether a line that says `text` may be written now, one of at most so many in a minute.
pub(crate) fn admits(text: &'static str, lines_max: u32) -> bool {
    let now = Instant::now();
    summarise(now);
    LIMITS.with_borrow_mut(|limits| limits.entry(text).or_default().admits(now, lines_max))
}

/// Says of each text how many lines were left out, where its minute is over.
pub(crate) fn summarise(now: Instant) {
    for (text, more) in LIMITS.with_borrow_mut(|limits| overdue(limits, now)) {
        let minutes = WINDOW.as_secs() / 60;
        tracing::warn!(target: "audit", more, minutes, "more lines were left out that say: {text}");
    }
}

/// Lets a test begin anew that had other nodes on this thread.
#[cfg(test)]
pub(crate) fn forget() {
    LIMITS.with_borrow_mut(BTreeMap::clear);
}

fn overdue(limits: &mut BTreeMap<&'static str, LogLimit>, now: Instant) -> Vec<(&'static str, u64)> {
    let due = |limit: &LogLimit| limit.left_out > 0 && !limit.counts(now);
    let overdue = limits.iter_mut().filter(|(_, limit)| due(limit));
    overdue.map(|(text, limit)| (*text, std::mem::take(&mut limit.left_out))).collect()
}

/// How long lines are counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// Lets so many lines of one kind through in a minute, and counts the others for a line of their own.
#[derive(Debug, Default)]
struct LogLimit {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl LogLimit {
    /// Whether what was counted last is counted together with what comes now.
    fn counts(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now < began + WINDOW)
    }

    /// Whether a line may be written now; else it is counted.
    fn admits(&mut self, now: Instant, lines_max: u32) -> bool {
        if !self.counts(now) {
            (self.began, self.lines) = (Some(now), 0);
        }
        let admitted = self.lines < lines_max;
        self.lines += u32::from(admitted);
        self.left_out += u64::from(!admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_each_line_is_written_some_times_a_minute_and_then_how_many_there_were_more() {
        let (mut limits, begin) = (BTreeMap::from([("drains", LogLimit::default())]), Instant::now());
        let later = begin + WINDOW;
        let lines = |limit: &mut LogLimit, from: Instant| {
            (0..700).filter(|i| limit.admits(from + Duration::from_millis(*i), 20)).count()
        };
        assert_eq!(lines(limits.get_mut("drains").unwrap(), begin), 20);
        assert_eq!(
            (overdue(&mut limits, begin), overdue(&mut limits, later)),
            (vec![], vec![("drains", 680)])
        );
        assert_eq!(overdue(&mut limits, later), []);
        assert_eq!(lines(limits.get_mut("drains").unwrap(), later), 20);
        assert!(limits.entry("ended").or_default().admits(later, 20));
    }
}

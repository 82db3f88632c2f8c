//! The pattern library: series of daily closes, and the windows in them.

use super::{Day, Hit, QueryMatches, SimilarInPart, Symbol, WindowQuery, WindowRule};
use crate::{
    Blob, Floats,
    wire::codec::{self, DecodeError},
};
use serde::{Deserialize, Serialize};

/// The most bars in a part: 250 years of trading days.
pub const BARS_MAX: usize = 1 << 16;

/// The longest encoding of a part, in bytes: a symbol and two lengths, then at most five bytes for
/// a day and eight for a close of every bar.
pub const PART_BYTES_MAX: usize = 64 + BARS_MAX * (5 + 8);

/// The closes that are taken, in whatever unit of price. Within them no ratio, square or sum of
/// squares over a window overflows, so everything computed from a part is a finite number.
pub const CLOSE_RANGE: std::ops::RangeInclusive<f64> = 1e-12..=1e15;

/// One part of the pattern library: one whole series.
///
/// A part is never a piece of a series. Matches keep apart only from better ones of their own
/// series, so the best matches of whole series merge into exactly the best matches of the library.
///
/// A part that exists is valid: at least one bar, ascending days, one close for each day and every
/// close within [`CLOSE_RANGE`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesPart {
    symbol: Symbol,
    days: Vec<Day>,
    closes: Floats,
}

/// Why something is no part of a pattern library.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidPart {
    /// It holds no bar, or more than [`BARS_MAX`].
    #[error("{symbol} has {bars} bars, expected are 1 to {BARS_MAX}")]
    Length {
        /// The series.
        symbol: Symbol,
        /// How many there are.
        bars: usize,
    },
    /// Days and closes do not belong together.
    #[error("{symbol} has {days} days but {closes} closes")]
    Unequal {
        /// The series.
        symbol: Symbol,
        /// The number of days.
        days: usize,
        /// The number of closes.
        closes: usize,
    },
    /// A day is not later than the one before it.
    #[error("{symbol}: {day} follows {previous}, ascending days are expected")]
    Unordered {
        /// The series.
        symbol: Symbol,
        /// The day before it.
        previous: Day,
        /// The day that is not later.
        day: Day,
    },
    /// A close is not a number, infinite, not positive, or beyond any price.
    #[error(
        "{symbol}: the close of {day} is {close:?}, expected is {:e} to {:e}",
        CLOSE_RANGE.start(),
        CLOSE_RANGE.end()
    )]
    Close {
        /// The series.
        symbol: Symbol,
        /// Its day.
        day: Day,
        /// Its value.
        close: f64,
    },
    /// There are more bytes than any part has, so they were not looked at.
    #[error("{bytes} bytes are more than the {PART_BYTES_MAX} that a part has at the most")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes are no part at all.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
}

impl SeriesPart {
    /// A part of `closes`, each at the end of its day.
    pub fn new(symbol: Symbol, days: Vec<Day>, closes: Vec<f64>) -> Result<Self, InvalidPart> {
        if days.len() != closes.len() {
            return Err(InvalidPart::Unequal { symbol, days: days.len(), closes: closes.len() });
        }
        if days.is_empty() || days.len() > BARS_MAX {
            return Err(InvalidPart::Length { symbol, bars: days.len() });
        }
        if let Some(pair) = days.windows(2).find(|pair| pair[1] <= pair[0]) {
            return Err(InvalidPart::Unordered { symbol, previous: pair[0], day: pair[1] });
        }
        // A comparison with NaN is false, so NaN is outside of every range.
        if let Some(at) = closes.iter().position(|close| !CLOSE_RANGE.contains(close)) {
            return Err(InvalidPart::Close { symbol, day: days[at], close: closes[at] });
        }
        Ok(Self { symbol, days, closes: closes.into() })
    }

    /// The bytes that make up the part wherever it lies; its name is their
    /// [`ContentHash`](crate::ContentHash).
    pub fn encode(&self) -> Blob {
        codec::encode(self).expect("text, integers and bytes always have an encoding").into()
    }

    /// The part that `bytes` encode; they come from a peer and are checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidPart> {
        #[derive(Deserialize)]
        struct Unchecked {
            symbol: Symbol,
            days: Vec<Day>,
            closes: Floats,
        }
        if bytes.len() > PART_BYTES_MAX {
            return Err(InvalidPart::TooLong { bytes: bytes.len() });
        }
        let Unchecked { symbol, days, closes } = codec::decode(bytes)?;
        Self::new(symbol, days, closes.into())
    }

    /// The name of the series.
    pub fn symbol(&self) -> &Symbol {
        &self.symbol
    }

    /// The day of each bar, ascending.
    pub fn days(&self) -> &[Day] {
        &self.days
    }

    /// The close of each bar.
    pub fn closes(&self) -> &[f64] {
        &self.closes
    }

    /// The question what the most recent bars resemble; `None` when the series is shorter than one
    /// window.
    pub fn last_window(&self, rule: &WindowRule) -> Option<WindowQuery> {
        let from = self.days.len().checked_sub(usize::from(rule.length))?;
        let window = &self.days[from..];
        Some(WindowQuery {
            symbol: self.symbol.clone(),
            start: *window.first()?,
            end: *window.last()?,
            values: self.closes[from..].to_vec().into(),
        })
    }
}

/// The windows of one part under one rule: everything about them but their distance to a query.
#[derive(Debug)]
pub struct Windows<'a> {
    part: &'a SeriesPart,
    rule: WindowRule,
    starts: Vec<usize>,
    /// For each bar whether a window starts there.
    opens: Vec<bool>,
}

impl<'a> Windows<'a> {
    /// Finds the windows of `part`: consecutive bars, as many as a window and what follows it have,
    /// with no gap between neighbours longer than the rule allows.
    ///
    /// # Panics
    /// When the rule does not pass [`WindowRule::check`].
    pub fn of(part: &'a SeriesPart, rule: &WindowRule) -> Self {
        assert_eq!(rule.check(), Ok(()), "a rule is checked where it arrives");
        let mut opens = vec![false; part.days.len()];
        let mut unbroken = 1;
        for (at, pair) in part.days.windows(2).enumerate() {
            let gap = pair[1].days_since(pair[0]);
            unbroken = if gap <= i32::from(rule.max_gap_days) { unbroken + 1 } else { 1 };
            if unbroken >= rule.span() {
                opens[at + 2 - rule.span()] = true;
            }
        }
        let starts = (0..opens.len()).filter(|start| opens[*start]).collect();
        Self { part, rule: *rule, starts, opens }
    }

    /// The index of the first bar of each window, ascending.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// How many windows are candidates of a query that starts on `day`: those that lie before it
    /// together with what followed them. They are the first so many of [`starts`](Self::starts),
    /// for later windows end later.
    pub fn before(&self, day: Day) -> usize {
        self.starts.partition_point(|start| self.ends_before(*start, day))
    }

    /// Whether a candidate of a query that starts on `day` begins with bar `start`.
    pub fn is_candidate(&self, start: usize, day: Day) -> bool {
        self.opens.get(start).is_some_and(|opens| *opens) && self.ends_before(start, day)
    }

    fn ends_before(&self, start: usize, day: Day) -> bool {
        self.part.days[start + self.rule.span() - 1] < day
    }

    /// The window that begins with bar `start`, as a match at a squared distance.
    ///
    /// # Panics
    /// When no window starts there.
    pub fn hit(&self, start: usize, distance_squared: f64) -> Hit {
        let last = start + usize::from(self.rule.length) - 1;
        Hit {
            start: u32::try_from(start).expect("a part has fewer than 2^32 bars"),
            first: self.part.days[start],
            last: self.part.days[last],
            distance_squared,
            following_return: self.following_return(start),
        }
    }

    /// The reply to a search: `queries` as found, beside what followed every candidate.
    pub fn reply(&self, queries: Vec<QueryMatches>) -> SimilarInPart {
        let most = queries.iter().map(|query| query.candidates).max().unwrap_or(0) as usize;
        let returns: Vec<f64> =
            self.starts.iter().take(most).map(|start| self.following_return(*start)).collect();
        SimilarInPart { queries, following_returns: returns.into() }
    }

    /// What the series gained after the window that begins with bar `start`, as a share of its
    /// last close.
    fn following_return(&self, start: usize) -> f64 {
        let last = start + usize::from(self.rule.length) - 1;
        self.part.closes[last + usize::from(self.rule.following)] / self.part.closes[last] - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: WindowRule =
        WindowRule { length: 3, following: 2, max_gap_days: 4, band: 1, top: 2, apart: 3 };

    fn day(days: i32) -> Day {
        Day::from_epoch_days(days).unwrap()
    }

    fn part(days: &[i32]) -> SeriesPart {
        let closes = (1..=days.len()).map(|close| close as f64).collect();
        SeriesPart::new("SPY".parse().unwrap(), days.iter().map(|d| day(*d)).collect(), closes).unwrap()
    }

    #[test]
    fn a_window_has_no_long_gap_inside_or_after() {
        let unbroken = part(&[0, 1, 4, 5, 6, 7]);
        assert_eq!(Windows::of(&unbroken, &RULE).starts(), [0, 1]);
        // Four days are allowed, five are not; bars 3 and 4 are on different sides of the gap.
        let broken = part(&[0, 4, 8, 9, 14, 15, 16, 17, 18, 19]);
        assert_eq!(Windows::of(&broken, &RULE).starts(), [4, 5]);
        assert_eq!(Windows::of(&part(&[0, 1, 2, 3]), &RULE).starts(), [] as [usize; 0]);
        assert_eq!(Windows::of(&part(&[0, 1, 2, 3, 4]), &RULE).starts(), [0]);
    }

    #[test]
    fn a_candidate_lies_before_the_query_with_what_followed_it() {
        let part = part(&[0, 1, 2, 3, 4, 5, 6]);
        let windows = Windows::of(&part, &RULE);
        // The first window and what followed it take days 0 to 4.
        assert_eq!([0, 4, 5, 6, 7, 100].map(|d| windows.before(day(d))), [0, 0, 1, 2, 3, 3]);
        for query in (0..9).map(day) {
            let candidates: Vec<usize> = (0..9).filter(|start| windows.is_candidate(*start, query)).collect();
            assert_eq!(candidates, windows.starts()[..windows.before(query)]);
        }
    }

    #[test]
    fn a_reply_holds_the_returns_of_all_candidates_once() {
        let part = part(&[0, 1, 2, 3, 4, 5, 6]);
        let windows = Windows::of(&part, &RULE);
        let hit = windows.hit(1, 0.5);
        let expected =
            Hit { start: 1, first: day(1), last: day(3), distance_squared: 0.5, following_return: 0.5 };
        assert_eq!(hit, expected);
        let found = |candidates, matches| QueryMatches { candidates, matches };
        let reply = windows.reply(vec![found(0, vec![]), found(2, vec![hit]), found(1, vec![])]);
        assert_eq!(*reply.following_returns, [5.0 / 3.0 - 1.0, 6.0 / 4.0 - 1.0]);
    }

    #[test]
    fn the_last_window_is_the_query() {
        let query = part(&[0, 1, 2, 30, 31]).last_window(&RULE).unwrap();
        assert_eq!((query.start, query.end, query.values.to_vec()), (day(2), day(31), vec![3.0, 4.0, 5.0]));
        assert_eq!(part(&[0, 1]).last_window(&RULE), None);
    }

    #[test]
    fn a_part_survives_the_wire_and_nothing_else_does() {
        let part = part(&[-5, 0, 18_717]);
        let bytes = part.encode();
        assert_eq!(SeriesPart::decode(&bytes).as_ref(), Ok(&part));
        for length in 0..bytes.len() {
            assert!(matches!(SeriesPart::decode(&bytes[..length]), Err(InvalidPart::Undecodable(_))));
        }
    }

    #[test]
    fn the_longest_part_survives_the_wire_and_longer_bytes_are_not_looked_at() {
        let last = day(2_932_896).days_since(day(0));
        let days = (last + 1 - BARS_MAX as i32..=last).map(day).collect();
        let symbol = "X".repeat(24).parse().unwrap();
        let part = SeriesPart::new(symbol, days, vec![1.5; BARS_MAX]).unwrap();
        let bytes = part.encode();
        assert_eq!(SeriesPart::decode(&bytes), Ok(part));
        let longer = vec![0; PART_BYTES_MAX + 1];
        assert_eq!(SeriesPart::decode(&longer), Err(InvalidPart::TooLong { bytes: PART_BYTES_MAX + 1 }));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_a_part(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            if let Ok(part) = SeriesPart::decode(&bytes) {
                assert_eq!(SeriesPart::decode(&part.encode()), Ok(part));
            }
        }
    }

    #[test]
    fn what_a_peer_sends_is_checked() {
        let symbol = || "SPY".parse::<Symbol>().unwrap();
        let reason = |days: &[i32], closes: &[f64]| {
            // As a peer would encode it who does not check.
            let bytes = codec::encode(&(symbol(), days, Floats::from(closes.to_vec()))).unwrap();
            SeriesPart::decode(&bytes).unwrap_err().to_string()
        };
        assert_eq!(reason(&[1, 2], &[1.0]), "SPY has 2 days but 1 closes");
        assert_eq!(reason(&[], &[]), "SPY has 0 bars, expected are 1 to 65536");
        assert_eq!(
            reason(&[1, 1], &[1.0, 1.0]),
            "SPY: 1970-01-02 follows 1970-01-02, ascending days are expected"
        );
        for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0, 1e16, 1e300] {
            let expected = format!("SPY: the close of 1970-01-02 is {bad:?}, expected is 1e-12 to 1e15");
            assert_eq!(reason(&[1], &[bad]), expected);
        }
        assert!(reason(&[i32::MAX], &[1.0]).contains("2147483647"));
    }
}

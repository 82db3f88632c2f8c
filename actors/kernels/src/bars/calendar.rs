//! When a market trades, and which spans of time its bars cover.

use std::num::NonZeroU32;

use super::BarError;

/// Sessions lie within this many milliseconds of the clock's zero, some 285,000 years: no sum of times overflows.
pub const TIME_MAX: i64 = 1 << 53;

/// How long a bar lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timeframe {
    /// Spans of so many milliseconds, counted from the zero of the clock, so that those of an hour begin on the hour.
    /// The first and the last span of a session are cut off at its ends: of a session that opens at 9:30, the first
    /// hour bar covers 9:30 to 10:00.
    Span(NonZeroU32),
    /// One bar a session: the daily bars of a market with one session a day.
    Session,
}

impl Timeframe {
    /// One minute.
    pub const MINUTE: Self = Self::seconds(60);
    /// Five minutes.
    pub const FIVE_MINUTES: Self = Self::seconds(300);
    /// A quarter of an hour.
    pub const FIFTEEN_MINUTES: Self = Self::seconds(900);
    /// One hour.
    pub const HOUR: Self = Self::seconds(3600);

    const fn seconds(seconds: u32) -> Self {
        Self::Span(NonZeroU32::new(seconds * 1000).expect("a constant number of seconds is not zero"))
    }

    /// Whether every span of `finer` lies within one span of this timeframe, whatever the sessions.
    pub fn holds(self, finer: Self) -> bool {
        match (finer, self) {
            (_, Self::Session) => true,
            (Self::Session, Self::Span(_)) => false,
            (Self::Span(finer), Self::Span(coarser)) => coarser.get().is_multiple_of(finer.get()),
        }
    }
}

/// A stretch of uninterrupted trading. A break that no bar may cross, such as a lunch hour, ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session {
    /// When trading begins, in milliseconds.
    pub open: i64,
    /// When trading has ended, in milliseconds: the first moment outside.
    pub close: i64,
}

/// The sessions of a market, in order. What differs from day to day, half days and holidays, is in the data.
///
/// Times are milliseconds on one clock, the same for bars, sessions and grids. The market's local time is a good
/// clock as long as no session is open when it is set forward or back; else take UTC.
///
/// ```
/// use swarm_kernels::bars::{Calendar, Session, Timeframe};
/// const HOUR: i64 = 3_600_000;
/// let full = Session { open: 9 * HOUR + HOUR / 2, close: 16 * HOUR };
/// let half = Session { open: full.open + 24 * HOUR, close: 37 * HOUR };
/// let calendar = Calendar::new(vec![full, half])?;
/// let hours: Vec<i64> = calendar.closes(Timeframe::HOUR).map(|close| close / HOUR).collect();
/// assert_eq!(hours, [10, 11, 12, 13, 14, 15, 16, 34, 35, 36, 37]);
/// # Ok::<(), swarm_kernels::bars::BarError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    sessions: Vec<Session>,
}

impl Calendar {
    /// Takes sessions that each last a while, follow each other and do not overlap.
    pub fn new(sessions: Vec<Session>) -> Result<Self, BarError> {
        let mut earliest = -TIME_MAX;
        for (index, &Session { open, close }) in sessions.iter().enumerate() {
            if open < earliest || close <= open || close > TIME_MAX {
                return Err(BarError::Session { index, open, close });
            }
            earliest = close;
        }
        Ok(Self { sessions })
    }

    /// A market that never closes: `days` sessions of 24 hours, the first at midnight of day `first_day` of the clock.
    ///
    /// # Panics
    /// When the days reach beyond [`TIME_MAX`].
    pub fn round_the_clock(first_day: i32, days: u32) -> Self {
        const DAY: i64 = 86_400_000;
        let open = |day: u32| (i64::from(first_day) + i64::from(day)) * DAY;
        let sessions = (0..days).map(|day| Session { open: open(day), close: open(day) + DAY }).collect();
        Self::new(sessions)
            .expect("days that follow each other are sessions, unless they are beyond TIME_MAX")
    }

    /// The sessions, in order.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// When each span of a timeframe closes, in order: the grid on which bars of that timeframe appear.
    pub fn closes(&self, timeframe: Timeframe) -> impl Iterator<Item = i64> {
        self.sessions.iter().flat_map(move |session| {
            let first = first_span(session, timeframe);
            std::iter::successors(Some(first), move |span| next_span(session, timeframe, span))
                .map(|span| span.close)
        })
    }
}

/// A timeframe's span as far as its session reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) open: i64,
    pub(super) close: i64,
}

fn first_span(session: &Session, timeframe: Timeframe) -> Span {
    span_at(session, timeframe, session.open).expect("a session has a span where it opens")
}

fn next_span(session: &Session, timeframe: Timeframe, span: &Span) -> Option<Span> {
    // The end of a span that is not the session's is where the next one starts.
    match timeframe {
        Timeframe::Span(length) if span.close < session.close => {
            let close = (span.close + i64::from(length.get())).min(session.close);
            Some(Span { open: span.close, close })
        }
        _ => None,
    }
}

/// The span that a bar of `timeframe` marked `time`, before the session's close, belongs to.
fn span_at(session: &Session, timeframe: Timeframe, time: i64) -> Option<Span> {
    match timeframe {
        Timeframe::Session if time < session.open => None,
        Timeframe::Session => Some(Span { open: session.open, close: session.close }),
        Timeframe::Span(length) => {
            let length = i64::from(length.get());
            // Asked first, so that the product cannot overflow.
            if time <= session.open - length {
                return None;
            }
            let start = time.div_euclid(length) * length;
            (start + length > session.open)
                .then(|| Span { open: start.max(session.open), close: (start + length).min(session.close) })
        }
    }
}

/// Finds the spans of times that only ever grow, each in constant time on average.
pub(super) struct Spans<'c> {
    timeframe: Timeframe,
    /// The session of the span found last, and those after it.
    sessions: &'c [Session],
    /// The span after the one found last, usually the next one asked for; empty when its session has none.
    ahead: Span,
    /// Length of a whole span.
    length: i64,
    /// When the first span of the next session closes.
    next_session: i64,
}

impl<'c> Spans<'c> {
    pub(super) fn new(calendar: &'c Calendar, timeframe: Timeframe) -> Self {
        let length = match timeframe {
            Timeframe::Span(length) => i64::from(length.get()),
            // No session is longer.
            Timeframe::Session => 2 * TIME_MAX,
        };
        let ahead = Span { open: 0, close: 0 };
        Self { timeframe, sessions: &calendar.sessions, ahead, length, next_session: i64::MAX }
    }

    /// The span of a bar marked `time`, or nothing when no session reaches into it.
    #[inline]
    pub(super) fn find(&mut self, time: i64) -> Option<Span> {
        let span =
            if self.ahead.open <= time && time < self.ahead.close { self.ahead } else { self.search(time)? };
        let close = (span.close + self.length).min(self.sessions[0].close);
        self.ahead = Span { open: span.close, close };
        Some(span)
    }

    fn search(&mut self, time: i64) -> Option<Span> {
        let ended = self.sessions.iter().take_while(|session| session.close <= time).count();
        self.sessions = &self.sessions[ended..];
        let next = self.sessions.get(1);
        self.next_session = next.map_or(i64::MAX, |session| first_span(session, self.timeframe).close);
        span_at(self.sessions.first()?, self.timeframe, time)
    }

    /// When the span after the one found last closes; never, when there is none.
    #[inline]
    pub(super) fn next_close(&self) -> i64 {
        if self.ahead.open < self.ahead.close { self.ahead.close } else { self.next_session }
    }
}

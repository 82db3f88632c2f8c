//! Price bars of several timeframes: aggregating finer ones to coarser ones, and seeing them side by side without
//! looking ahead.
//!
//! A [`Calendar`] says when the market trades. A bar covers a [`Timeframe`]'s span as far as the session reaches, so
//! no bar crosses a session, and it is known from its close on, never from its open.
//!
//! ```
//! use swarm_kernels::bars::{Bar, Calendar, Frame, Gap, Timeframe, aggregate, align};
//! let minute = |n: i64, close: i64| Bar {
//!     time: n * 60_000, open: close - 2, high: close + 1, low: close - 3, close, volume: 100,
//! };
//! let minutes: Vec<Bar> = (0..10).map(|n| minute(n, 1_000 + n)).collect();
//! let calendar = Calendar::round_the_clock(0, 1);
//! let fives = aggregate(&calendar, Timeframe::MINUTE, Timeframe::FIVE_MINUTES, &minutes)?.bars;
//! assert_eq!(fives[1], Bar { time: 300_000, open: 1_003, high: 1_010, low: 1_002, close: 1_009, volume: 500 });
//!
//! let frame = |timeframe, bars: &[Bar]| Frame::new(&calendar, timeframe, bars.iter().map(|bar| bar.time));
//! let frames = [frame(Timeframe::MINUTE, &minutes)?, frame(Timeframe::FIVE_MINUTES, &fives)?];
//! let grid: Vec<i64> = calendar.closes(Timeframe::MINUTE).take(10).collect();
//! let aligned = align(&frames, &grid, Gap::LastKnown)?;
//! let seen = |row: usize| aligned.get(row, 1).map(|known| fives[known.bar].close);
//! assert_eq!((seen(3), seen(4), seen(8), seen(9)), (None, Some(1_004), Some(1_004), Some(1_009)));
//! # Ok::<(), swarm_kernels::bars::BarError>(())
//! ```

mod align;
mod calendar;

pub use align::{Aligned, Frame, Gap, Known, Visible, align, as_of_by_search};
pub use calendar::{Calendar, Session, TIME_MAX, Timeframe};

use calendar::Spans;

/// Trading over a span of time. Prices are whole numbers of the smallest unit in use, such as 1/10000 dollar, so that
/// aggregation is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bar {
    /// A moment of the span before it closes, usually when it opens, in milliseconds on the calendar's clock.
    pub time: i64,
    /// Price of the first trade.
    pub open: i64,
    /// Highest price.
    pub high: i64,
    /// Lowest price.
    pub low: i64,
    /// Price of the last trade.
    pub close: i64,
    /// How much was traded.
    pub volume: u64,
}

/// Why there are no bars. Indices count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarError {
    /// A session lasts a while and begins when the one before has ended, within [`TIME_MAX`].
    #[error("session {index}, {open} to {close}, is empty, overlaps the one before or is beyond {TIME_MAX}")]
    Session {
        /// Index of the session.
        index: usize,
        /// When it opens.
        open: i64,
        /// When it closes.
        close: i64,
    },
    /// Bars come in order of time, one a span.
    #[error("bar {index} at {time} begins before the one before it has closed")]
    Order {
        /// Index of the bar.
        index: usize,
        /// Its time.
        time: i64,
    },
    /// No session reaches into the bar's span.
    #[error("bar {index} at {time} is in no session")]
    OutsideSessions {
        /// Index of the bar.
        index: usize,
        /// Its time.
        time: i64,
    },
    /// The rows of a grid do not descend.
    #[error("row {index} of the grid, {time}, is before the row before it")]
    GridOrder {
        /// Index of the row.
        index: usize,
        /// Its time.
        time: i64,
    },
    /// Spans of the finer timeframe do not lie within spans of the coarser one.
    #[error("bars of {finer:?} do not add up to bars of {coarser:?}")]
    NotNested {
        /// Timeframe of the given bars.
        finer: Timeframe,
        /// Timeframe asked for.
        coarser: Timeframe,
    },
    /// The volume of a coarser bar is beyond 64 bits.
    #[error("the volume up to bar {index} is beyond 64 bits")]
    Volume {
        /// Index of the finer bar.
        index: usize,
    },
    /// More bars than a row's entry can number.
    #[error("{bars} bars are more than {}", u32::MAX)]
    TooManyBars {
        /// How many there are.
        bars: usize,
    },
}

/// Coarser bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregated {
    /// In order; each is marked with the moment when its span opens, within the session.
    pub bars: Vec<Bar>,
    /// How many of the finer bars were left out because they are in no session, such as those before the open.
    pub outside: usize,
}

/// Adds up bars to those of a coarser timeframe, or of the same one, which only leaves out what is in no session.
///
/// A coarser bar takes the open of its first finer bar, the close of its last, the extremes and the summed volume,
/// in whole numbers. A span without any trade has no bar. The last bar may be unfinished; [`align`] shows
/// it to no row before its close. One pass; memory is the coarser bars.
pub fn aggregate(
    calendar: &Calendar,
    finer: Timeframe,
    coarser: Timeframe,
    bars: &[Bar],
) -> Result<Aggregated, BarError> {
    if !coarser.holds(finer) {
        return Err(BarError::NotNested { finer, coarser });
    }
    let mut fine_spans = Spans::new(calendar, finer);
    let mut coarse_spans = Spans::new(calendar, coarser);
    let mut aggregated = Aggregated { bars: Vec::new(), outside: 0 };
    let mut earliest = i64::MIN;
    // When the coarse bar that is being added to closes.
    let mut close = i64::MIN;
    for (index, &bar) in bars.iter().enumerate() {
        check_order(index, bar.time, earliest)?;
        let Some(fine) = fine_spans.find(bar.time) else {
            aggregated.outside += 1;
            earliest = bar.time;
            continue;
        };
        earliest = fine.close;
        match aggregated.bars.last_mut() {
            Some(sum) if fine.open < close => {
                sum.high = sum.high.max(bar.high);
                sum.low = sum.low.min(bar.low);
                sum.close = bar.close;
                sum.volume = sum.volume.checked_add(bar.volume).ok_or(BarError::Volume { index })?;
            }
            _ => {
                let span = coarse_spans.find(fine.open).expect("a finer span is within a coarser one");
                close = span.close;
                aggregated.bars.push(Bar { time: span.open, ..bar });
            }
        }
    }
    Ok(aggregated)
}

fn check_order(index: usize, time: i64, earliest: i64) -> Result<(), BarError> {
    if time < earliest { Err(BarError::Order { index, time }) } else { Ok(()) }
}

//! Bars of several timeframes on the grid of the finest, beside a binary search for every row.

use swarm_kernels::bars::{BarError, Calendar, Frame, Timeframe};

/// What a year of a market that never closes has: bars of a minute, five, fifteen, an hour and a day.
pub(super) struct Year {
    pub(super) frames: Vec<Frame>,
    pub(super) grid: Vec<i64>,
}

impl Year {
    pub(super) fn new() -> Result<Self, BarError> {
        let calendar = Calendar::round_the_clock(0, 365);
        let timeframes = [
            Timeframe::MINUTE,
            Timeframe::FIVE_MINUTES,
            Timeframe::FIFTEEN_MINUTES,
            Timeframe::HOUR,
            Timeframe::Session,
        ];
        // A bar may be marked with any moment before it closes.
        let frame =
            |timeframe| Frame::new(&calendar, timeframe, calendar.closes(timeframe).map(|close| close - 1));
        Ok(Self {
            frames: timeframes.into_iter().map(frame).collect::<Result<_, _>>()?,
            grid: calendar.closes(Timeframe::MINUTE).collect(),
        })
    }
}

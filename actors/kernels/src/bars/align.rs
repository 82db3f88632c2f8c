//! Bars of several timeframes side by side, each as late as it could be known.

use super::calendar::{Calendar, Spans, TIME_MAX, Timeframe};
use super::{BarError, check_order};

/// What a row sees while a bar that the calendar provides for is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gap {
    /// The last bar before the gap, whose [age](Known::age) tells.
    LastKnown,
    /// Nothing, from the moment when the missing bar should have closed.
    Nothing,
}

/// The bars of one timeframe, reduced to when they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When each bar closes.
    closes: Vec<i64>,
    /// The bars without a bar for the span after theirs, in order.
    gaps: Vec<BarBeforeGap>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BarBeforeGap {
    index: usize,
    /// When the missing bar should have closed.
    outdated: i64,
}

impl Frame {
    /// Takes the times that bars of `timeframe` are marked with: any moment of a bar's span before it closes, in this
    /// order, one bar a span. Usual marks are when the span opens, within the session or on the clock.
    pub fn new(
        calendar: &Calendar,
        timeframe: Timeframe,
        times: impl IntoIterator<Item = i64>,
    ) -> Result<Self, BarError> {
        let times = times.into_iter();
        let mut frame = Self { closes: Vec::with_capacity(times.size_hint().0), gaps: Vec::new() };
        let mut spans = Spans::new(calendar, timeframe);
        let (mut earliest, mut due) = (i64::MIN, i64::MAX);
        for (index, time) in times.enumerate() {
            check_order(index, time, earliest)?;
            let span = spans.find(time).ok_or(BarError::OutsideSessions { index, time })?;
            if due < span.close {
                frame.gaps.push(BarBeforeGap { index: index - 1, outdated: due });
            }
            (earliest, due) = (span.close, spans.next_close());
            frame.closes.push(span.close);
        }
        if let Some(last) = frame.closes.len().checked_sub(1) {
            frame.gaps.push(BarBeforeGap { index: last, outdated: due });
        }
        if frame.closes.len() > BARS_MAX {
            return Err(BarError::TooManyBars { bars: frame.closes.len() });
        }
        Ok(frame)
    }

    /// When each bar closes and so becomes known.
    pub fn closes(&self) -> &[i64] {
        &self.closes
    }

    /// Finds the bar that each row of an ascending grid sees, in one pass over both.
    ///
    /// # Panics
    /// When there are not as many places in `visible` as rows.
    pub fn visible(&self, grid: &[i64], gap: Gap, visible: &mut [Visible]) -> Result<(), BarError> {
        check_grid(grid)?;
        self.fill(grid, gap, visible);
        Ok(())
    }

    fn fill(&self, grid: &[i64], gap: Gap, visible: &mut [Visible]) {
        assert_eq!(grid.len(), visible.len(), "there is one place for each row");
        let close_of = |bar: usize| self.closes.get(bar).copied().unwrap_or(i64::MAX);
        let mut gaps = if gap == Gap::Nothing { &self.gaps[..] } else { &[] };
        let (mut known, mut next_close, mut outdated) = (0, close_of(0), i64::MAX);
        for (&time, visible) in grid.iter().zip(visible) {
            // No bar closes later, so that "never" stays out of reach.
            let time = time.min(TIME_MAX);
            if next_close <= time {
                known += 1;
                while known < self.closes.len() && self.closes[known] <= time {
                    known += 1;
                }
                next_close = close_of(known);
                outdated = i64::MAX;
                while let Some((gap, later)) = gaps.split_first()
                    && gap.index < known
                {
                    gaps = later;
                    outdated = if gap.index == known - 1 { gap.outdated } else { i64::MAX };
                }
            }
            *visible = Visible(if time < outdated { known as u32 } else { 0 });
        }
    }
}

fn check_grid(grid: &[i64]) -> Result<(), BarError> {
    match grid.is_sorted() {
        true => Ok(()),
        false => {
            let index =
                grid.windows(2).position(|pair| pair[1] < pair[0]).expect("some row is before its former");
            Err(BarError::GridOrder { index: index + 1, time: grid[index + 1] })
        }
    }
}

/// Most bars of a timeframe, so that a [`Visible`] has room for their number.
const BARS_MAX: usize = u32::MAX as usize;

/// Which bar of a frame a row sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Visible(/** One more than its index, or 0 for none. */ u32);

impl Visible {
    /// The bar's index in its frame, or nothing.
    #[inline]
    pub fn bar(self) -> Option<usize> {
        self.0.checked_sub(1).map(|index| index as usize)
    }
}

/// The bar that a row sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its index in its frame.
    pub bar: usize,
    /// Milliseconds since it closed, not negative.
    pub age: i64,
}

/// Several timeframes on a common grid.
#[derive(Debug, Clone)]
pub struct Aligned<'a> {
    frames: &'a [Frame],
    grid: &'a [i64],
    visible: Vec<Visible>,
}

impl Aligned<'_> {
    /// What row `row` sees of the frame at index `frame`; the row's time is that of the grid.
    ///
    /// # Panics
    /// When there is no such row or frame.
    #[inline]
    pub fn get(&self, row: usize, frame: usize) -> Option<Known> {
        let bar = self.column(frame)[row].bar()?;
        Some(Known { bar, age: self.grid[row] - self.frames[frame].closes[bar] })
    }

    /// Which bar of the frame at index `frame` each row sees.
    ///
    /// # Panics
    /// When there is no such frame.
    pub fn column(&self, frame: usize) -> &[Visible] {
        assert!(frame < self.frames.len(), "there are {} frames", self.frames.len());
        &self.visible[frame * self.grid.len()..][..self.grid.len()]
    }
}

/// Brings the bars of several timeframes to a common grid of times that do not descend, without looking ahead: a row
/// sees of each frame the last bar that has *closed* at the row's time or before.
///
/// So nothing that a row sees depends on what happens after it. A natural grid is
/// [`Calendar::closes`] of the finest timeframe. One pass over grid and bars for each frame; memory is 4 bytes for
/// each row and frame.
///
/// ```
/// use swarm_kernels::bars::{Calendar, Frame, Gap, Timeframe, align};
/// const MINUTE: i64 = 60_000;
/// let calendar = Calendar::round_the_clock(0, 1);
/// let minutes = Frame::new(&calendar, Timeframe::MINUTE, (0..120).map(|minute| minute * MINUTE))?;
/// let hours = Frame::new(&calendar, Timeframe::HOUR, [0, 60 * MINUTE])?;
/// let (frames, grid) = ([minutes, hours], [59 * MINUTE, 60 * MINUTE, 61 * MINUTE]);
/// let aligned = align(&frames, &grid, Gap::LastKnown)?;
/// assert_eq!(aligned.get(0, 0).unwrap().bar, 58);
/// assert_eq!(aligned.get(0, 1), None, "the first hour has not closed");
/// assert_eq!(aligned.get(2, 1).unwrap().age, MINUTE);
/// # Ok::<(), swarm_kernels::bars::BarError>(())
/// ```
pub fn align<'a>(frames: &'a [Frame], grid: &'a [i64], gap: Gap) -> Result<Aligned<'a>, BarError> {
    check_grid(grid)?;
    let mut visible = vec![Visible::default(); frames.len() * grid.len()];
    for (index, frame) in frames.iter().enumerate() {
        frame.fill(grid, gap, &mut visible[index * grid.len()..][..grid.len()]);
    }
    Ok(Aligned { frames, grid, visible })
}

/// The control of the benchmark: a binary search of the closing times for each row, without regard to gaps.
///
/// # Panics
/// When there are not as many places in `visible` as rows.
pub fn as_of_by_search(frame: &Frame, grid: &[i64], visible: &mut [Visible]) {
    assert_eq!(grid.len(), visible.len(), "there is one place for each row");
    for (&time, visible) in grid.iter().zip(visible) {
        *visible = Visible(frame.closes.partition_point(|&close| close <= time) as u32);
    }
}

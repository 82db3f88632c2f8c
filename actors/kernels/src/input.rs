//! What every kernel demands of its numbers, and the error that says which demand was not met.

use std::fmt;

use crate::simd::Number;

/// Largest magnitude a kernel accepts. Squares of differences of such values, summed over any series
/// that fits in memory, stay finite, so no kernel can overflow.
pub const MAGNITUDE_MAX: f64 = 1e100;

/// The same for `f32`: squares stay below 1e25, so sums of 10¹³ of them are finite.
pub const MAGNITUDE_MAX_F32: f32 = 1e12;

/// Which of the caller's series an error speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Series {
    /// The first argument of a distance.
    First,
    /// The second argument of a distance.
    Second,
    /// The query of a search, or the series to classify.
    Query,
    /// The long series that a search runs over.
    Searched,
    /// The training series at this index.
    Training(usize),
    /// The series at this index, of many that are all compared.
    Member(usize),
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("the first series"),
            Self::Second => f.write_str("the second series"),
            Self::Query => f.write_str("the query"),
            Self::Searched => f.write_str("the searched series"),
            Self::Training(index) => write!(f, "training series {index}"),
            Self::Member(index) => write!(f, "series {index}"),
        }
    }
}

/// Why a kernel gave no answer. Indices count from 0.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A series without points has no distance to anything.
    #[error("{series} is empty")]
    Empty {
        /// The series in question.
        series: Series,
    },
    /// Missing values are for the caller to fill or to leave out.
    #[error("{series} holds NaN at index {index}")]
    NotANumber {
        /// The series in question.
        series: Series,
        /// Index of the first such value.
        index: usize,
    },
    /// Positive or negative infinity.
    #[error("{series} holds an infinite value at index {index}")]
    Infinite {
        /// The series in question.
        series: Series,
        /// Index of the first such value.
        index: usize,
    },
    /// Finite, but beyond [`MAGNITUDE_MAX`], or beyond [`MAGNITUDE_MAX_F32`] in single precision.
    #[error("{series} holds {value:e} at index {index}; magnitudes end at {limit:e}")]
    TooLarge {
        /// The series in question.
        series: Series,
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f64,
        /// The largest magnitude accepted.
        limit: f64,
    },
    /// A band in percent lies in 0..=100.
    #[error("a band of {percent:?} percent is outside 0..=100")]
    PercentOutOfRange {
        /// The percentage asked for.
        percent: f64,
    },
    /// Series that are correlated have a point for each point of the others.
    #[error("{series} has {length} points, not {expected}")]
    LengthDiffers {
        /// The series in question.
        series: Series,
        /// How many points it has.
        length: usize,
        /// How many it should have.
        expected: usize,
    },
    /// The tables of such a series would fill the memory.
    #[error("{series} has {length} points, more than {limit}")]
    TooLong {
        /// The series in question.
        series: Series,
        /// How many points it has.
        length: usize,
        /// The most that are accepted.
        limit: usize,
    },
    /// Points match within a distance that is not negative.
    #[error("{epsilon:?} is no distance within which points match")]
    Epsilon {
        /// The distance asked for.
        epsilon: f64,
    },
    /// A query longer than the searched series has no window to be compared with.
    #[error("the query has {query} points, the searched series only {series}")]
    QueryTooLong {
        /// Length of the query.
        query: usize,
        /// Length of the searched series.
        series: usize,
    },
    /// A nearest neighbour needs at least one training series.
    #[error("there is no training series")]
    NoTraining,
    /// The caller's own check asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// The caller's own check whether it still wants the answer: asked now and then, also from the middle of one distance.
pub type Cancelled<'a> = &'a dyn Fn() -> bool;

/// [`Cancelled`] of work that goes on to its end.
pub(crate) const NEVER: Cancelled<'static> = &|| false;

/// Ends work that is not wanted any more: nobody who passes the error on has to ask again.
pub(crate) fn go_on(cancelled: Cancelled<'_>) -> Result<(), KernelError> {
    if cancelled() { Err(KernelError::Cancelled) } else { Ok(()) }
}

/// Refuses empty series and values that a kernel cannot compute with.
pub(crate) fn check<T: Number>(series: Series, values: &[T]) -> Result<(), KernelError> {
    if values.is_empty() {
        return Err(KernelError::Empty { series });
    }
    let limit: f64 = T::MAGNITUDE_MAX.into();
    // Asked as "inside", because NaN is inside no range; without a branch, so that it costs nothing beside a kernel.
    let acceptable = |value: T| -> bool {
        let value: f64 = value.into();
        (-limit <= value) & (value <= limit)
    };
    if values.iter().fold(true, |all, &value| all & acceptable(value)) {
        return Ok(());
    }
    let index = values.iter().position(|&value| !acceptable(value)).expect("some value is not acceptable");
    let value: f64 = values[index].into();
    Err(if value.is_nan() {
        KernelError::NotANumber { series, index }
    } else if value.is_infinite() {
        KernelError::Infinite { series, index }
    } else {
        KernelError::TooLarge { series, index, value, limit }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_series_and_index() {
        let error = |values: &[f64]| check(Series::Training(3), values).unwrap_err().to_string();
        assert_eq!(error(&[]), "training series 3 is empty");
        assert_eq!(error(&[0.0, f64::NAN]), "training series 3 holds NaN at index 1");
        assert_eq!(error(&[f64::NEG_INFINITY]), "training series 3 holds an infinite value at index 0");
        assert_eq!(
            error(&[1e100, -2e100]),
            "training series 3 holds -2e100 at index 1; magnitudes end at 1e100"
        );
        assert_eq!(check(Series::Query, &[0.0, -1e100]), Ok(()));
    }
}

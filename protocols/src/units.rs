//! Units of work: pure computations on content that agents keep, whose answers depend on nothing else.
//!
//! A [`Unit`] names its inputs by their [`ContentHash`] and says what is to be computed on them. A client
//! splits its work into units, has a coordinator do them as one task
//! ([`SubmitTask`](crate::coordinator::SubmitTask)) and merges the answers itself, by the rules in
//! [`series_search`](crate::series_search), [`classification`](crate::classification) and
//! [`correlation`](crate::correlation). Whoever asks checks the request against the lengths of its inputs,
//! and the answer against both.

#[cfg(test)]
mod spec_vectors;
mod waves;

pub use waves::{CONTENT_BYTES_MAX, waves};

use crate::{
    ContentHash, Protocol, Request,
    classification::ClassifySeries,
    correlation::{CorrelateGroups, Correlator},
    distance::MeasureDistance,
    protocol,
    series_search::SearchSeries,
    similar_windows::StorePart,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

protocol! {
    /// An actor that holds series and finds what is alike in them.
    pub SeriesMatcher = "series-matcher" { SearchSeries, ClassifySeries, MeasureDistance, StorePart }
}

/// The most inputs of a unit.
pub const INPUTS_MAX: usize = 32;

/// The longest answers of one task together, in bytes: they are one message with some room for its rest.
pub const ANSWER_BYTES_MAX: usize = 48 << 20;

/// The cells of warping matrices below which splitting costs more than it brings: some milliseconds.
const CELLS_MIN: u64 = 1 << 22;

/// Beyond so many cells a unit is split whatever the number of units: some tenths of a second, so that a lost
/// agent loses little and no lease runs out.
const CELLS_MAX: u64 = 1 << 28;

/// So many units give every one of some dozen agents several.
const UNITS_WANTED: u64 = 64;

/// Into how many units work of so many cells is split.
pub fn unit_count(cells: u64) -> u64 {
    (cells / CELLS_MIN).clamp(1, UNITS_WANTED).max(cells / CELLS_MAX)
}

/// Cuts series of these lengths into runs of neighbours that make a group each: at most so many values, except that
/// every run has at least one series.
pub fn runs(lengths: &[usize], values_max: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut first, mut values) = (0, 0);
    for (at, length) in lengths.iter().enumerate() {
        if at > first && values + length > values_max {
            runs.push(first..at);
            (first, values) = (at, 0);
        }
        values += length;
    }
    if first < lengths.len() {
        runs.push(first..lengths.len());
    }
    runs
}

/// How many values each series of an input has.
pub type Lengths<'a> = &'a [u32];

/// Why a unit was not computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum UnitError {
    /// Inputs are not held here; they can be stored, and the request repeated.
    #[error("{} inputs are not held here", parts.len())]
    MissingParts {
        /// Their names.
        parts: Vec<ContentHash>,
    },
    /// The request makes no sense, or asks for more than anyone does.
    #[error("no valid unit of work: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// As much is computed and waiting as may be.
    #[error("too much work is waiting here")]
    Busy,
    /// Whoever asked no longer waits for the answer.
    #[error("the work was cancelled")]
    Cancelled,
}

impl UnitError {
    pub(crate) fn invalid(reason: impl ToString) -> Self {
        Self::Invalid { reason: reason.to_string() }
    }
}

/// Why an answer cannot be that to its request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(pub(crate) String);

impl Impossible {
    pub(crate) fn unless(possible: bool, reason: impl ToString) -> Result<(), Self> {
        if possible { Ok(()) } else { Err(Self(reason.to_string())) }
    }
}

/// A request that is a unit of work.
pub trait UnitRequest: Request<Error = UnitError> + Clone {
    /// Its inputs, groups of series all of them: at least one, at most [`INPUTS_MAX`]. Where an agent has the
    /// first one, the unit is best done.
    fn inputs(&self) -> Vec<ContentHash>;

    /// Whether it can be computed on inputs of these lengths: it comes from a client.
    fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), UnitError>;

    /// The longest encoding of its answer, in bytes; it has been checked.
    fn answer_bytes_max(&self, inputs: &[Lengths<'_>]) -> usize;

    /// Whether this can be its answer: it comes from a peer. What is not checked is whether the numbers in it
    /// are right.
    fn check_answer(&self, inputs: &[Lengths<'_>], answer: &Self::Reply) -> Result<(), Impossible>;
}

macro_rules! units {
    ($($(#[$meta:meta])* $kind:ident = $word:literal, $request:ty, $protocol:ty;)+) => {
        /// A unit of work of any kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Unit {
            $($(#[$meta])* $kind($request),)+
        }

        /// The answer to a [`Unit`].
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum UnitAnswer {
            $(
                #[doc = concat!("To [`Unit::", stringify!($kind), "`].")]
                $kind(<$request as Request>::Reply),
            )+
        }

        impl Unit {
            /// The word for its kind in lists.
            pub fn kind(&self) -> &'static str {
                match self { $(Unit::$kind(_) => $word,)+ }
            }

            /// What an agent must offer to compute it: the name of the protocol in which it is asked.
            pub fn capability(&self) -> &'static str {
                match self { $(Unit::$kind(_) => <$protocol as Protocol>::NAME,)+ }
            }

            /// See [`UnitRequest::inputs`].
            pub fn inputs(&self) -> Vec<ContentHash> {
                match self { $(Unit::$kind(unit) => unit.inputs(),)+ }
            }

            /// See [`UnitRequest::check`].
            pub fn check(&self, inputs: &[Lengths<'_>]) -> Result<(), UnitError> {
                match self { $(Unit::$kind(unit) => unit.check(inputs),)+ }
            }

            /// See [`UnitRequest::answer_bytes_max`].
            pub fn answer_bytes_max(&self, inputs: &[Lengths<'_>]) -> usize {
                match self { $(Unit::$kind(unit) => unit.answer_bytes_max(inputs),)+ }
            }

            /// See [`UnitRequest::check_answer`].
            pub fn check_answer(
                &self,
                inputs: &[Lengths<'_>],
                answer: &UnitAnswer,
            ) -> Result<(), Impossible> {
                match (self, answer) {
                    $((Unit::$kind(unit), UnitAnswer::$kind(answer)) => unit.check_answer(inputs, answer),)+
                    _ => Err(Impossible("an answer of another kind".to_owned())),
                }
            }
        }
    };
}

units! {
    /// The windows of a piece of a series that are most like a query.
    Search = "search", SearchSeries, SeriesMatcher;
    /// The nearest of some training series to each of some others.
    Classify = "classify", ClassifySeries, SeriesMatcher;
    /// The distance between two series.
    Distance = "distance", MeasureDistance, SeriesMatcher;
    /// How the series of two groups go together.
    Correlate = "correlate", CorrelateGroups, Correlator;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_split_by_what_it_costs() {
        assert_eq!([0, 1, CELLS_MIN, 3 * CELLS_MIN].map(unit_count), [1, 1, 1, 3]);
        assert_eq!([1_000 * CELLS_MIN, 64 * CELLS_MAX].map(unit_count), [64, 64]);
        assert_eq!(unit_count(1_000 * CELLS_MAX), 1_000);
    }
}

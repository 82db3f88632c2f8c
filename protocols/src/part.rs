//! Parts of tasks: requests that a coordinator hands to whichever agent is free, with their inputs.
//!
//! A client splits its work into requests ([`PartRequest`]), submits them as one
//! [task](crate::coordinator::SubmitTask), and merges the answers itself, by rules such as those in
//! [`series_search`](crate::series_search), [`classification`](crate::classification),
//! [`correlation`](crate::correlation) and [`similar_windows`](crate::similar_windows). The coordinator opens
//! neither a request nor its answer: the agent checks the request, and the client the answer.

#[cfg(test)]
mod spec_vectors;
mod waves;

pub use waves::{CONTENT_BYTES_MAX, Weight, waves};

use crate::{Accepts, ContentHash, Request, coordinator::board::PARTS_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A request that can be a part of a task: it is pure, so that its answer is the same whoever gives it.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use swarm_protocols::{
///     ContentHash, Request, protocol,
///     part::{Impossible, PartError, PartRequest},
/// };
///
/// /// Counts the words of a text.
/// #[derive(Debug, Clone, Serialize, Deserialize, Request)]
/// #[request(name = "count-words", reply = u64, error = PartError)]
/// pub struct CountWords { pub text: ContentHash }
///
/// impl PartRequest for CountWords {
///     type Protocol = WordCounter;
///     /// The number of bytes of a text.
///     type Input = u64;
///     fn inputs(&self) -> Vec<ContentHash> { vec![self.text] }
///     fn answer_bytes_max(&self, _: &[&u64]) -> usize { 9 }
///     fn check_answer(&self, inputs: &[&u64], words: &u64) -> Result<(), Impossible> {
///         Impossible::unless(words <= inputs[0], "more words than bytes")
///     }
/// }
///
/// protocol! {
///     /// An actor that counts.
///     pub WordCounter = "word-counter" { CountWords }
/// }
/// ```
pub trait PartRequest: Request + Clone {
    /// What an agent must expose to be asked.
    type Protocol: Accepts<Self>;

    /// What a client knows of an input beside its bytes, to check answers by; `()` for nothing.
    type Input: ?Sized;

    /// The names of the inputs, at most [`INPUTS_MAX`](crate::coordinator::INPUTS_MAX). The part is best done by an agent that has the first one.
    fn inputs(&self) -> Vec<ContentHash>;

    /// The longest encoding of its answer, in bytes: tasks are cut so that all answers of one fit into a message.
    fn answer_bytes_max(&self, inputs: &[&Self::Input]) -> usize;

    /// Whether this can be the answer: it comes from an agent, which may lie. `inputs` are in the order of
    /// [`inputs`](Self::inputs).
    fn check_answer(&self, inputs: &[&Self::Input], answer: &Self::Reply) -> Result<(), Impossible>;
}

/// Why an answer cannot be that to its request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(String);

impl Impossible {
    /// The answer is impossible for this reason.
    pub fn because(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }

    /// `Ok` where the answer is possible in one respect.
    pub fn unless(possible: bool, reason: impl fmt::Display) -> Result<(), Self> {
        if possible { Ok(()) } else { Err(Self::because(reason)) }
    }
}

/// Why an agent did not do a part: the error of requests that need no error of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PartError {
    /// Inputs are not held here; they can be stored, and the request repeated.
    #[error("{} inputs are not held here", hashes.len())]
    MissingInputs {
        /// Their names.
        hashes: Vec<ContentHash>,
    },
    /// The request makes no sense, or asks for more than anyone does.
    #[error("not a valid request: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// Whoever asked no longer waits for the answer.
    #[error("the work was cancelled")]
    Cancelled,
}

impl PartError {
    /// The request makes no sense for this reason.
    pub fn invalid(reason: impl fmt::Display) -> Self {
        Self::Invalid { reason: reason.to_string() }
    }
}

/// The most cells of warping matrices that a part may take at the worst. Distances take ten to twenty seconds for them on one
/// core, and without vector instructions some minute; a search that keeps tens of thousands of matches takes longer.
pub const CELLS_MAX: u64 = 1 << 35;

/// A part takes more than one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the part needs {cells} cells of warping matrices; the limit is {CELLS_MAX}")]
pub struct TooMuchWork {
    /// What it takes at the worst, in cells of a warping matrix.
    pub cells: u64,
}

impl TooMuchWork {
    /// `Ok` where a part of so many cells is no more than one may be.
    pub fn unless_within(cells: u64) -> Result<(), Self> {
        if cells <= CELLS_MAX { Ok(()) } else { Err(Self { cells }) }
    }
}

/// The cells of warping matrices below which splitting costs more than it brings: some milliseconds.
const CELLS_MIN: u64 = 1 << 22;

/// Beyond so many cells a part is split whatever the number of parts, as long as they are one task: some tenths of a
/// second, so that a lost agent loses little and no lease runs out.
const CELLS_WANTED: u64 = 1 << 28;

/// Beyond so many it is split however many tasks that takes.
pub(crate) const CELLS_WANTED_MAX: u64 = 1 << 31;

/// So many parts give every one of some dozen agents several.
const PARTS_WANTED: u64 = 64;

/// Into how many parts work of so many cells is split.
pub fn part_count(cells: u64) -> u64 {
    let fine = (cells / CELLS_WANTED).min(PARTS_MAX as u64);
    (cells / CELLS_MIN).clamp(1, PARTS_WANTED).max(fine).max(cells / CELLS_WANTED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_split_by_what_it_costs() {
        assert_eq!([0, 1, CELLS_MIN, 3 * CELLS_MIN].map(part_count), [1, 1, 1, 3]);
        assert_eq!([1_000 * CELLS_MIN, 64 * CELLS_WANTED].map(part_count), [64, 64]);
        assert_eq!(
            [1_000, 4_096, 9_000].map(|count| part_count(count * CELLS_WANTED)),
            [1_000, 4_096, 4_096]
        );
        assert_eq!(part_count(9_000 * CELLS_WANTED_MAX), 9_000);
    }
}

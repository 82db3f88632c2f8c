//! Similar windows: which stretches of price history look like the most recent one, and what
//! followed them.
//!
//! A library of whole series is spread over actors as content-addressed [`SeriesPart`]s. Each
//! actor finds the [`Windows`] of its parts and the best matches among them ([`FindSimilar`]);
//! [`merge`] makes one answer of theirs. How two windows are compared, the warping itself, is not
//! here: this module knows which windows are compared and which matches count.

mod day;
mod library;
mod outcome;
mod requests;
mod rule;
mod symbol;
#[cfg(test)]
mod tests;

pub use day::{Day, InvalidDay};
pub use library::{BARS_MAX, CLOSE_RANGE, InvalidPart, PART_BYTES_MAX, SeriesPart, Windows};
pub use outcome::{Distribution, Match, MergeError, SimilarToQuery, SimilarWindows, Span, merge};
pub use requests::{
    FindSimilar, Hit, InvalidReply, PatternMatcher, QUERIES_MAX, QueryMatches, SimilarInPart, WindowQuery,
};
pub use rule::{InvalidRule, WindowRule};
pub use symbol::{InvalidSymbol, SYMBOL_BYTES_MAX, Symbol};

//! Exact time-series kernels: dynamic time warping, subsequence search, nearest neighbours, correlation, price
//! bars.
//!
//! Pure arithmetic on slices: no actors, no runtime, no clock, no input or output, and no randomness, so the same
//! arguments give the same bits on every run, with whatever vector instructions the processor has ([`Simd`]).
//!
//! ```
//! use swarm_kernels::{Band, Search, dtw};
//!
//! let series: Vec<f64> = (0..500).map(|i| (f64::from(i) / 9.0).sin() + f64::from(i) / 1e3).collect();
//! let query = &series[100..150];
//!
//! let found = Search::new(query, 5)?.top(2).run(&series)?;
//! assert_eq!(found.matches[0].start, 100);
//! assert!(found.matches[1].start.abs_diff(100) >= query.len());
//!
//! let band = Band::percent(10.0, 50)?;
//! let distance = dtw::distance_squared(query, &series[300..350], band)?.sqrt();
//! assert!(distance > 0.0);
//! # Ok::<(), swarm_kernels::KernelError>(())
//! ```
//!
//! # Conventions
//! - A distance is the sum of *squared* differences along the cheapest warping path; callers who want the usual
//!   DTW distance take its square root. tslearn, dtaidistance and augurs report the root, aeon the sum.
//! - A [`Band`] is a half-width in points; a percentage is of the longer series and rounds up. The archive's
//!   published 1-NN errors follow from that.
//! - z-normalisation uses the population deviation; a constant series becomes zeros ([`z_normalize`] says what is
//!   constant, for all kernels).
//! - Among equal distances the smaller start, or the smaller training index, comes first. Distances are compared as
//!   [`compared`] has them, so that rounding decides nothing.
//! - Empty series, NaN, infinities and magnitudes beyond [`MAGNITUDE_MAX`] are refused with the series and the
//!   index ([`KernelError`]); nothing overflows below that magnitude. NaN is a missing point to
//!   [`Search::run_with_missing`], which leaves out the windows that hold one, and to [`correlation`], which leaves out
//!   what a pair does not have in common.
//! - Statistics of windows are taken afresh every 1024 windows, around the mean of that block, so that they do not
//!   drift: they are within 2e-8 of the window's deviation of those taken for it alone. They only ever rule windows out;
//!   the distances reported come from two passes over each window.
//!
//! # Sources
//! - Sakoe, Chiba 1978: *Dynamic programming algorithm optimization for spoken word recognition* (the band).
//! - Keogh, Ratanamahatana 2005: *Exact indexing of dynamic time warping* (LB_Keogh).
//! - Lemire 2009: *Faster retrieval with a two-pass dynamic-time-warping lower bound* (streaming envelopes).
//! - Rakthanmanon and others 2012: *Searching and mining trillions of time series subsequences under dynamic time
//!   warping* (the UCR Suite: the cascade of bounds, reordering, cumulative abandoning).
//! - Crochemore and others 2001: *A fast and practical bit-vector algorithm for the longest common subsequence problem*;
//!   Hyyrö 2004: *Bit-parallel LCS-length computation revisited*.
//! - Müllner 2011: *Modern hierarchical, agglomerative clustering algorithms* (the nearest-neighbour chain).
//! - Herrmann, Webb 2021: *Early abandoning and pruning for elastic distances* (rows that only visit living cells).

mod band;
pub mod bars;
pub mod classify;
mod compare;
pub mod correlation;
pub mod dtw;
mod input;
mod lcss;
pub mod lower_bound;
mod matrix;
pub mod search;
mod simd;
mod znorm;

pub use band::Band;
pub use classify::NearestNeighbour;
pub use compare::compared;
pub use input::{Cancelled, KernelError, MAGNITUDE_MAX, MAGNITUDE_MAX_F32, Series};
pub use lcss::Lcss;
pub use matrix::Symmetric;
pub use search::Search;
pub use simd::Simd;
pub use znorm::{is_constant, z_normalize, z_normalize_into};

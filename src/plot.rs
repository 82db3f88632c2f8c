//! Pictures of results, drawn once and written as SVG or PNG.
//!
//! A picture is a [`Scene`], a list of shapes; [`svg`] and [`raster`] write it, with the widths of one
//! font ([`font`]), so both forms look alike.
//!
//! Not with `plotters`: its backends draw at whole pixels, one SVG element for each cell, and would replace only
//! [`svg`], [`raster`] and ticks, with twelve more crates; what is laid out in a picture stays to be written.

mod axis;
mod dendrogram;
mod file;
mod font;
pub(crate) mod heat_map;
pub(crate) mod matches;
mod palette;
mod raster;
mod scene;
mod svg;

pub(crate) use file::{PictureError, PictureFile};
pub(crate) use scene::{Scene, legible};

/// A count as people read it.
pub(crate) fn count(number: impl ToString) -> String {
    axis::grouped(&number.to_string())
}

/// A range that holds both values and ends at round ones.
pub(crate) fn round_range(low: f64, high: f64) -> (f64, f64) {
    axis::rounded(low, high, 5)
}

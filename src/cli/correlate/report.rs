//! A matrix as JSON, and as a table that fits a terminal.

use std::{fmt, iter};

use serde::Serialize;
use swarm_kernels::Symmetric;

use crate::listing::{Left, Right, listing};
use crate::plot::legible;
use crate::swarm::report::Colour;

/// Above this many series a table would be too wide; people get the pairs that stand out instead.
const TABLE_SERIES_MAX: usize = 16;

/// How many pairs are listed from either end.
const PAIRS_SHOWN: usize = 10;

const LABEL_CHARS_MAX: usize = 16;
/// Heads of columns are shorter, so that the table stays narrow.
const HEAD_CHARS_MAX: usize = 9;

#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    labels: &'a [String],
    matrix: Vec<&'a [f64]>,
    seconds: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(labels: &'a [String], matrix: &'a Symmetric<f64>, seconds: f64) -> Self {
        Self { labels, matrix: (0..matrix.order()).map(|i| matrix.row(i)).collect(), seconds }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.labels.len() <= TABLE_SERIES_MAX {
            self.table(f)?
        } else {
            self.extremes(f)?
        }
        let pairs = self.labels.len() * (self.labels.len() - 1) / 2;
        writeln!(f, "\n{} series, {pairs} pairs in {:.3} s", self.labels.len(), self.seconds)
    }
}

impl Report<'_> {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads: Vec<String> = self.labels.iter().map(|label| shortened(label, HEAD_CHARS_MAX)).collect();
        let columns: Vec<_> =
            iter::once(("", Left)).chain(heads.iter().map(|head| (head.as_str(), Right))).collect();
        let rows = self.labels.iter().zip(&self.matrix).map(|(label, row)| {
            iter::once(shortened(label, LABEL_CHARS_MAX)).chain(row.iter().map(|&value| number(value)))
        });
        f.write_str(&listing(Colour::of_stdout(), &columns, rows))
    }

    fn extremes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = self.labels.len();
        let mut pairs: Vec<(f64, usize, usize)> = (0..order)
            .flat_map(|i| (i + 1..order).map(move |j| (i, j)))
            .map(|(i, j)| (self.matrix[i][j], i, j))
            .filter(|pair| !pair.0.is_nan())
            .collect();
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let (highest, rest) = pairs.split_at(PAIRS_SHOWN.min(pairs.len()));
        let lowest = &rest[rest.len() - PAIRS_SHOWN.min(rest.len())..];
        for (title, pairs) in [("highest", highest), ("lowest", lowest)] {
            writeln!(f, "{title}")?;
            for &(value, i, j) in pairs {
                let [a, b] = [i, j].map(|place| shortened(&self.labels[place], LABEL_CHARS_MAX));
                writeln!(f, "{:>8}  {a} and {b}", number(value))?;
            }
        }
        let undefined = order * (order - 1) / 2 - pairs.len();
        if undefined > 0 { writeln!(f, "undefined: {undefined} pairs") } else { Ok(()) }
    }
}

/// As wide as most numbers where there is none, so that columns stand evenly.
fn number(value: f64) -> String {
    if value.is_nan() { format!("{:>5}", "-") } else { format!("{value:.3}") }
}

/// A label as it may stand on a terminal.
fn shortened(label: &str, chars_max: usize) -> String {
    let mut shown = legible(label);
    if let Some((end, _)) = shown.char_indices().nth(chars_max) {
        shown.truncate(end);
        shown.pop();
        shown.push('…');
    }
    shown
}

//! Pearson's correlation of every pair over a window that moves through the rows.

use std::fmt;
use std::num::NonZeroUsize;

use serde::Serialize;
use swarm_kernels::KernelError;
use swarm_kernels::correlation::RollingPearson;

use crate::cli::error::{CliError, Exit};
use crate::cli::foreground::Watch;
use crate::input::{InputError, Source, Table};

/// The most values that are printed: about 200 MiB of JSON.
const VALUES_MAX: usize = 10_000_000;

/// Correlations of all pairs at the end of every window.
#[derive(Debug, Serialize)]
pub(super) struct Rolling<'a> {
    labels: &'a [String],
    window: usize,
    /// Places of the two series in `labels`.
    pairs: Vec<[usize; 2]>,
    steps: Vec<Step<'a>>,
    pub(super) seconds: f64,
}

/// One window.
#[derive(Debug, Serialize)]
struct Step<'a> {
    /// Its last row.
    row: usize,
    /// What the index calls that row.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    /// For each of the pairs; NaN where it is undefined.
    correlations: Vec<f64>,
}

impl<'a> Rolling<'a> {
    /// The windows of so many rows that end at every `every`th row, the first one at the first row it can.
    pub(super) fn of(
        input: &Source,
        table: &'a Table,
        window: NonZeroUsize,
        every: NonZeroUsize,
        watch: &Watch,
    ) -> Result<Self, CliError> {
        let (series, rows, window) = (table.series.len(), table.series[0].len(), window.get());
        let pairs: Vec<[usize; 2]> = (0..series).flat_map(|i| (i + 1..series).map(move |j| [i, j])).collect();
        let windows = (rows + 1).saturating_sub(window).div_ceil(every.get());
        if windows == 0 {
            let message = format!("has {rows} rows, a window of {window} does not fit in them");
            return Err(InputError::whole(input, message).into());
        }
        if windows.saturating_mul(pairs.len()) > VALUES_MAX {
            let message = format!(
                "{windows} windows of {} pairs are more than {VALUES_MAX} values; a larger --every gives fewer",
                pairs.len()
            );
            return Err(CliError::new(Exit::Usage, message));
        }
        watch.begin(rows);
        let mut rolling = RollingPearson::new(series, window);
        let mut steps = Vec::with_capacity(windows);
        let mut point = vec![0.0; series];
        for row in 0..rows {
            if watch.is_cancelled() {
                return Err(KernelError::Cancelled.into());
            }
            for (value, series) in point.iter_mut().zip(&table.series) {
                *value = series[row];
            }
            rolling.push(&point)?;
            watch.advance(1);
            if row + 1 >= window && (row + 1 - window).is_multiple_of(every.get()) {
                let correlations = pairs.iter().map(|&[i, j]| rolling.correlation(i, j)).collect();
                let index = table.index.as_ref().map(|index| index[row].as_str());
                steps.push(Step { row, index, correlations });
            }
        }
        Ok(Self { labels: &table.labels, window, pairs, steps, seconds: 0.0 })
    }
}

/// As CSV: the last row of each window, its index if there is one, and a column for each pair.
impl fmt::Display for Rolling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_index = self.steps.iter().any(|step| step.index.is_some());
        f.write_str(if has_index { "row,index" } else { "row" })?;
        for &[i, j] in &self.pairs {
            write!(f, ",{}", field(&format!("{}~{}", self.labels[i], self.labels[j])))?;
        }
        for Step { row, index, correlations } in &self.steps {
            write!(f, "\n{row}")?;
            if let Some(index) = index {
                write!(f, ",{}", field(index))?;
            }
            for correlation in correlations {
                // An undefined one is a missing value.
                if correlation.is_nan() { f.write_str(",")? } else { write!(f, ",{correlation:.6}")? }
            }
        }
        writeln!(f)
    }
}

/// A text as a field of CSV.
fn field(text: &str) -> String {
    if text.contains([',', '"']) || text.trim_ascii() != text {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

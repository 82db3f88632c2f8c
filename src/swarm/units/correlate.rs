//! The values of all pairs of some series, spread over a swarm.

use std::ops::Range;

use swarm_kernels::Symmetric;
use swarm_kernels::correlation::Partition;
use swarm_protocols::correlation::{
    CorrelateGroups, GROUP_VALUES, PairMeasure, ROWS_STEP, VALUES_MAX, row_blocks,
};
use swarm_protocols::units::{INPUTS_MAX, Unit, UnitAnswer, runs};

use super::Contents;
use crate::swarm::job::{JobError, Operator};
use crate::swarm::progress::Progress;

/// The matrix of all pairs of series.
pub(crate) async fn correlate(
    operator: &Operator,
    series: &[Vec<f64>],
    measure: PairMeasure,
    progress: &mut Progress,
) -> Result<Symmetric<f64>, JobError> {
    let lengths: Vec<usize> = series.iter().map(Vec::len).collect();
    let values: usize = lengths.iter().sum();
    let groups = runs(&lengths, GROUP_VALUES);
    if values as u64 > VALUES_MAX || groups.len() > INPUTS_MAX {
        let count = series.len();
        let reason = format!(
            "{count} series of {values} values are too much to be handed out, {VALUES_MAX} are the limit"
        );
        return Err(JobError::TooMuch { reason });
    }
    let mut contents = Contents::default();
    let groups = groups.into_iter().map(|run| contents.add(&series[run])).collect::<Result<Vec<_>, _>>()?;

    let number = |count: usize| u32::try_from(count).expect("no more than VALUES_MAX");
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let blocks = row_blocks(number(series.len()), number(longest), measure);
    let unit = |rows: &Range<u32>| {
        let (groups, from, until) = (groups.clone(), rows.start, rows.end);
        Unit::Correlate(CorrelateGroups { groups, measure, from, until })
    };
    let units: Vec<Unit> = blocks.iter().map(unit).collect();
    let answers = operator.compute("correlate", &units, &contents, progress).await?;

    let partition = Partition::new(series.len());
    let mut parts = Vec::new();
    for (rows, answer) in blocks.iter().zip(&answers) {
        let UnitAnswer::Correlate(values) = answer else {
            unreachable!("answers were checked by their kind")
        };
        let mut rest = &values[..];
        for part in rows.start / ROWS_STEP..rows.end.div_ceil(ROWS_STEP) {
            let (values, others) = rest.split_at(partition.pairs_in(part as usize));
            parts.push((part as usize, values));
            rest = others;
        }
    }
    Ok(partition.matrix(parts))
}

//! The values of all pairs of some series, spread over a swarm.

use std::ops::Range;

use swarm_actors::task::Task;
use swarm_kernels::Symmetric;
use swarm_kernels::correlation::Partition;
use swarm_protocols::coordinator::INPUTS_MAX;
use swarm_protocols::correlation::{
    CorrelateGroups, GROUP_VALUES, PairMeasure, ROWS_STEP, VALUES_MAX, row_blocks,
};
use swarm_protocols::series_matcher::runs;

use super::{Groups, add};
use crate::swarm::jobs::Terms;
use crate::swarm::operator::{JobError, Operator};
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
    let mut inputs = Groups::new();
    let groups =
        groups.into_iter().map(|run| add(&mut inputs, &series[run])).collect::<Result<Vec<_>, _>>()?;

    let number = |count: usize| u32::try_from(count).expect("no more than VALUES_MAX");
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let blocks = row_blocks(number(series.len()), number(longest), measure);
    let request = |rows: &Range<u32>| {
        let (groups, from, until) = (groups.clone(), rows.start, rows.end);
        CorrelateGroups { groups, measure, from, until }
    };
    let task = Task::parts(blocks.iter().map(request)).inputs(&inputs).kind("correlate");
    let answers = operator.compute("correlate", task, Terms::default(), progress).await?.answers;

    let partition = Partition::new(series.len());
    let mut parts = Vec::new();
    for (rows, answer) in blocks.iter().zip(&answers) {
        let mut rest = &answer[..];
        for part in rows.start / ROWS_STEP..rows.end.div_ceil(ROWS_STEP) {
            let (values, others) = rest.split_at(partition.pairs_in(part as usize));
            parts.push((part as usize, values));
            rest = others;
        }
    }
    Ok(partition.matrix(parts))
}

//! The distance of two series, measured by an agent of a swarm.

use swarm_actors::task::Task;
use swarm_protocols::distance::{BandRule, Detail, MeasureDistance, MeasuredDistance, Scaling};

use super::{Groups, add};
use crate::swarm::jobs::Terms;
use crate::swarm::operator::{JobError, Operator};
use crate::swarm::progress::Progress;

/// Measures the distance of two series.
pub(crate) async fn distance(
    operator: &Operator,
    series: [&[f64]; 2],
    (band, scaling, detail): (BandRule, Scaling, Detail),
    progress: &mut Progress,
) -> Result<MeasuredDistance, JobError> {
    let mut groups = Groups::new();
    let [a, b] = [add(&mut groups, [series[0]])?, add(&mut groups, [series[1]])?];
    let request = MeasureDistance { a, b, band, scaling, detail };
    let task = Task::parts([request]).inputs(&groups).kind("distance");
    let done = operator.compute("distance", task, Terms::default(), progress).await?;
    Ok(done.answers.into_iter().next().expect("there is an answer to every request"))
}

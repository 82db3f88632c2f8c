//! The distance of two series, measured by an agent of a swarm.

use swarm_protocols::distance::{BandRule, Detail, MeasureDistance, MeasuredDistance, Scaling};
use swarm_protocols::units::{Unit, UnitAnswer};

use super::Contents;
use crate::swarm::job::{JobError, Operator};
use crate::swarm::progress::Progress;

/// Measures the distance of two series.
pub(crate) async fn distance(
    operator: &Operator,
    series: [&[f64]; 2],
    (band, scaling, detail): (BandRule, Scaling, Detail),
    progress: &mut Progress,
) -> Result<MeasuredDistance, JobError> {
    let mut contents = Contents::default();
    let [a, b] = [contents.add([series[0]])?, contents.add([series[1]])?];
    let unit = Unit::Distance(MeasureDistance { a, b, band, scaling, detail });
    let answers = operator.compute("distance", &[unit], &contents, progress).await?;
    match answers.into_iter().next() {
        Some(UnitAnswer::Distance(measured)) => Ok(measured),
        _ => unreachable!("answers were checked by their number and kind"),
    }
}

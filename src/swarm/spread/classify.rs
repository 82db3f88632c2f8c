//! Nearest-neighbour classification, spread over a swarm.

use swarm_actors::task::Task;
use swarm_protocols::classification::{Blocks, ClassifySeries, nearest};
use swarm_protocols::distance::BandRule;

use super::{Groups, add};
use crate::swarm::jobs::Terms;
use crate::swarm::operator::{JobError, Operator};
use crate::swarm::progress::Progress;

/// The position of the nearest training series of each test series, the first of equally near ones.
pub(crate) async fn classify(
    operator: &Operator,
    train: &[&[f64]],
    test: &[&[f64]],
    band: BandRule,
    progress: &mut Progress,
) -> Result<Vec<usize>, JobError> {
    let lengths = |series: &[&[f64]]| series.iter().map(|values| values.len()).collect::<Vec<_>>();
    let blocks = Blocks::of(&lengths(train), &lengths(test), band);
    let mut groups = Groups::new();
    let mut add = |series: &[&[f64]]| add(&mut groups, series);
    let train = blocks.train.iter().map(|run| add(&train[run.clone()])).collect::<Result<Vec<_>, _>>()?;
    let test = blocks.test.iter().map(|run| add(&test[run.clone()])).collect::<Result<Vec<_>, _>>()?;

    let pairs = test.iter().flat_map(|test| train.iter().map(|train| (*test, *train)));
    let requests = pairs.map(|(test, train)| ClassifySeries { test, train, band });
    let task = Task::parts(requests).inputs(&groups).kind("classify");
    let answers = operator.compute("classify", task, Terms::default(), progress).await?.answers;
    let of_test = answers.chunks(train.len());
    let found =
        of_test.flat_map(|of_test| nearest(blocks.train.iter().zip(of_test.iter().map(Vec::as_slice))));
    Ok(found.map(|(index, _)| index).collect())
}

//! Nearest-neighbour classification, spread over a swarm.

use swarm_protocols::classification::{Blocks, ClassifySeries, Neighbour, nearest};
use swarm_protocols::distance::BandRule;
use swarm_protocols::units::{Unit, UnitAnswer};

use super::Contents;
use crate::swarm::job::{JobError, Operator};
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
    let mut contents = Contents::default();
    let mut add = |series: &[&[f64]]| contents.add(series);
    let train = blocks.train.iter().map(|run| add(&train[run.clone()])).collect::<Result<Vec<_>, _>>()?;
    let test = blocks.test.iter().map(|run| add(&test[run.clone()])).collect::<Result<Vec<_>, _>>()?;

    let pairs = test.iter().flat_map(|test| train.iter().map(|train| (*test, *train)));
    let units = pairs.map(|(test, train)| Unit::Classify(ClassifySeries { test, train, band }));
    let units: Vec<Unit> = units.collect();
    let answers = operator.compute("classify", &units, &contents, progress).await?;
    let answers = answers.into_iter().map(|answer| match answer {
        UnitAnswer::Classify(found) => found,
        _ => unreachable!("answers were checked by their kind"),
    });
    let answers: Vec<Vec<Neighbour>> = answers.collect();
    let of_test = answers.chunks(train.len());
    let found =
        of_test.flat_map(|of_test| nearest(blocks.train.iter().zip(of_test.iter().map(Vec::as_slice))));
    Ok(found.map(|(index, _)| index).collect())
}

//! Nearest-neighbour classification, spread over a swarm.

use std::ops::Range;

use swarm_actors::pattern_matcher::width_of;
use swarm_actors::task::Task;
use swarm_kernels::{compared, dtw, z_normalize};
use swarm_protocols::ContentHash;
use swarm_protocols::classification::{Blocks, ClassifySeries, Neighbour, nearest};
use swarm_protocols::distance::BandRule;
use swarm_protocols::part::Impossible;

use super::spot_checks::{SpotChecks, agrees};
use super::{Groups, add, check_work};
use crate::swarm::jobs::Terms;
use crate::swarm::operator::{JobError, Operator};
use crate::swarm::progress::Progress;

/// A classification, in requests that agents do.
pub(crate) struct Classification<'a> {
    train: &'a [&'a [f64]],
    test: &'a [&'a [f64]],
    band: BandRule,
    blocks: Blocks,
    groups: Groups,
    train_hashes: Vec<ContentHash>,
    test_hashes: Vec<ContentHash>,
    requests: Vec<ClassifySeries>,
}

impl<'a> Classification<'a> {
    /// Splits it, where no pair of series is too much.
    pub(crate) fn of(
        train: &'a [&'a [f64]],
        test: &'a [&'a [f64]],
        band: BandRule,
    ) -> Result<Self, JobError> {
        let lengths = |series: &[&[f64]]| series.iter().map(|values| values.len()).collect::<Vec<_>>();
        let blocks = Blocks::of(&lengths(train), &lengths(test), band);
        let mut groups = Groups::new();
        let mut add = |series: &[&[f64]]| add(&mut groups, series);
        let train_hashes =
            blocks.train.iter().map(|run| add(&train[run.clone()])).collect::<Result<Vec<_>, _>>()?;
        let test_hashes =
            blocks.test.iter().map(|run| add(&test[run.clone()])).collect::<Result<Vec<_>, _>>()?;
        let pairs = test_hashes.iter().flat_map(|test| train_hashes.iter().map(|train| (*test, *train)));
        let requests: Vec<_> = pairs.map(|(test, train)| ClassifySeries { test, train, band }).collect();
        check_work(&requests, &groups, "--band or --window")?;
        Ok(Self { train, test, band, blocks, groups, train_hashes, test_hashes, requests })
    }

    /// The position of the nearest training series of each test series, the first of equally near ones.
    pub(crate) async fn compute(
        self,
        operator: &Operator,
        progress: &mut Progress,
    ) -> Result<Vec<usize>, JobError> {
        let Self { train, test, band, blocks, groups, train_hashes, test_hashes, requests } = self;
        let checks = SpotChecks::of(requests.len());
        // Runs under one hash are the same series.
        let run = |hash, hashes: &[_], runs: &[Range<usize>]| {
            hashes.iter().position(|other| *other == hash).map_or(0..0, |at| runs[at].clone())
        };
        let check = |request: &ClassifySeries, answer: &Vec<Neighbour>| {
            let train = &train[run(request.train, &train_hashes, &blocks.train)];
            let test = &test[run(request.test, &test_hashes, &blocks.test)];
            are_right(train, test, band, answer, &checks)
        };
        let task = Task::parts(requests).inputs(&groups).kind("classify").check(check);
        let answers = operator.compute("classify", task, Terms::default(), progress).await?.answers;
        let of_test = answers.chunks(train_hashes.len());
        let found =
            of_test.flat_map(|of_test| nearest(blocks.train.iter().zip(of_test.iter().map(Vec::as_slice))));
        Ok(found.map(|(index, _)| index).collect())
    }
}

/// Whether the nearest series lie as far as is claimed.
fn are_right(
    train: &[&[f64]],
    test: &[&[f64]],
    band: BandRule,
    answer: &[Neighbour],
    checks: &SpotChecks,
) -> Result<(), Impossible> {
    let longest = train.iter().chain(test).map(|values| values.len()).max().unwrap_or(0) as u64;
    let positions = checks.positions(answer.len(), band.cells(longest, longest));
    positions.into_iter().try_for_each(|at| {
        let Neighbour { index, distance_squared } = answer[at];
        let (a, b) = (z_normalize(test[at]), z_normalize(train[index as usize]));
        let longer = a.len().max(b.len());
        let band = width_of(band).band(longer).map_err(Impossible::because)?;
        let distance = dtw::distance_squared(&a, &b, band).map_err(Impossible::because)?;
        let what = format_args!("the squared distance of test series {at} to its neighbour {index}");
        agrees(distance_squared, compared(distance, longer), what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_kernels::classify::{Neighbours, Width};

    #[test]
    fn a6_neighbours_that_are_not_as_near_as_claimed_are_refused() {
        let wave = |step: f64, points: u32| -> Vec<f64> {
            (0..points).map(|i| (f64::from(i) * step).sin() * 9.0 + f64::from(i % 7)).collect()
        };
        let series: Vec<Vec<f64>> = (1..9_u32).map(|s| wave(0.05 * f64::from(s), 40 + s)).collect();
        let views: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
        let (train, test) = views.split_at(5);
        let (band, checks) = (BandRule::Percent(10.0), SpotChecks::of(1));
        let neighbour = |values: &&[f64]| {
            let neighbours = Neighbours::new(train, Width::Percent(10.0), values.len()).unwrap();
            let nearest = neighbours.nearest(values).unwrap();
            Neighbour { index: nearest.index as u32, distance_squared: nearest.distance_squared }
        };
        let honest: Vec<Neighbour> = test.iter().map(neighbour).collect();
        assert_eq!(are_right(train, test, band, &honest, &checks), Ok(()));
        for at in 0..test.len() {
            for distance_squared in [0.0, 0.9 * honest[at].distance_squared, 1e6] {
                let mut lie = honest.clone();
                lie[at].distance_squared = distance_squared;
                let refused = are_right(train, test, band, &lie, &checks).unwrap_err().to_string();
                assert!(refused.contains(&format!("of test series {at} to its neighbour")), "{refused}");
            }
            let mut other = honest.clone();
            other[at].index = (other[at].index + 1) % 5;
            assert!(are_right(train, test, band, &other, &checks).is_err());
        }
    }
}

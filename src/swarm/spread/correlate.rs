//! The values of all pairs of some series, spread over a swarm.

use std::ops::Range;

use swarm_actors::correlator::measure_of;
use swarm_actors::task::Task;
use swarm_kernels::correlation::{Measure, PairOrder, pearson, spearman};
use swarm_kernels::{Symmetric, dtw, is_constant};
use swarm_protocols::Floats;
use swarm_protocols::coordinator::INPUTS_MAX;
use swarm_protocols::correlation::{CorrelateGroups, GROUP_VALUES, PairMeasure, VALUES_MAX, pair_blocks};
use swarm_protocols::part::Impossible;
use swarm_protocols::series_matcher::runs;

use super::spot_checks::{SpotChecks, agrees};
use super::{Groups, add, check_work};
use crate::swarm::jobs::Terms;
use crate::swarm::operator::{JobError, Operator};
use crate::swarm::progress::Progress;

/// The matrix of all pairs of series, in requests that agents do.
pub(crate) struct Correlation<'a> {
    series: &'a [Vec<f64>],
    measure: PairMeasure,
    inputs: Groups,
    requests: Vec<CorrelateGroups>,
}

impl<'a> Correlation<'a> {
    /// Splits it, where no part of it is too much.
    pub(crate) fn of(series: &'a [Vec<f64>], measure: PairMeasure) -> Result<Self, JobError> {
        let lengths: Vec<[u64; 1]> = series.iter().map(|values| [values.len() as u64]).collect();
        let values: u64 = lengths.iter().flatten().sum();
        let groups = runs(&lengths, [GROUP_VALUES]);
        if values > VALUES_MAX || groups.len() > INPUTS_MAX {
            let count = series.len();
            let reason = format!(
                "{count} series of {values} values are too much to be handed out, {VALUES_MAX} are the limit"
            );
            return Err(JobError::TooMuch { reason });
        }
        let mut inputs = Groups::new();
        let groups =
            groups.into_iter().map(|run| add(&mut inputs, &series[run])).collect::<Result<Vec<_>, _>>()?;
        let requests: Vec<_> = blocks_of(series, measure)
            .into_iter()
            .map(|pairs| CorrelateGroups {
                groups: groups.clone(),
                measure,
                from: pairs.start,
                until: pairs.end,
            })
            .collect();
        check_work(&requests, &inputs, "--window")?;
        Ok(Self { series, measure, inputs, requests })
    }

    /// Has agents compute it.
    pub(crate) async fn compute(
        self,
        operator: &Operator,
        progress: &mut Progress,
    ) -> Result<Symmetric<f64>, JobError> {
        let Self { series, measure, inputs, requests } = self;
        let facts = Facts::of(series, measure, requests.len());
        let check = |request: &CorrelateGroups, answer: &Floats| facts.check(request, answer);
        let task = Task::parts(requests).inputs(&inputs).kind("correlate").check(check);
        let answers = operator.compute("correlate", task, Terms::default(), progress).await?.answers;
        Ok(PairOrder::new(series.len()).matrix(answers.iter().flat_map(|answer| answer.iter().copied())))
    }
}

/// The pairs that are computed together, here or by an agent.
pub(crate) fn blocks_of(series: &[Vec<f64>], measure: PairMeasure) -> Vec<Range<u64>> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let longest = series.iter().map(Vec::len).max().unwrap_or(0);
    pair_blocks(number(series.len()), number(longest), measure)
}

/// What is known of the series without comparing all of them.
struct Facts<'a> {
    series: &'a [Vec<f64>],
    measure: PairMeasure,
    /// Those that lack a point.
    is_gapped: Vec<bool>,
    /// Those that have no deviation where they have points.
    is_constant: Vec<bool>,
    checks: SpotChecks,
}

impl<'a> Facts<'a> {
    fn of(series: &'a [Vec<f64>], measure: PairMeasure, answers: usize) -> Self {
        let known = |values: &Vec<f64>| values.iter().copied().filter(|x| !x.is_nan()).collect::<Vec<f64>>();
        let is_gapped = series.iter().map(|values| values.iter().any(|x| x.is_nan())).collect();
        let is_constant = series.iter().map(|values| is_constant(&known(values))).collect();
        Self { series, measure, is_gapped, is_constant, checks: SpotChecks::of(answers) }
    }

    /// Whether the values of some pairs can be right: those that must be undefined are, those that cannot be are not, and
    /// pairs that no agent can foresee have the values that they have here.
    fn check(&self, request: &CorrelateGroups, answer: &[f64]) -> Result<(), Impossible> {
        let order = u32::try_from(self.series.len()).map_err(Impossible::because)?;
        let pairs: Vec<(usize, usize)> =
            request.pairs(order).map(|(i, j)| (i as usize, j as usize)).collect();
        let correlates = matches!(self.measure, PairMeasure::Pearson | PairMeasure::Spearman);
        for (&(i, j), value) in pairs.iter().zip(answer) {
            let is_undefined = correlates && (self.is_constant[i] || self.is_constant[j]);
            let is_defined = !is_undefined && (i == j || !(self.is_gapped[i] || self.is_gapped[j]));
            let is_possible = if value.is_nan() { !is_defined } else { !is_undefined };
            Impossible::unless(is_possible, format_args!("{value:?} for the series {i} and {j}"))?;
        }
        let others: Vec<usize> = (0..pairs.len()).filter(|&at| pairs[at].0 != pairs[at].1).collect();
        let longest = others.iter().map(|&at| self.series[pairs[at].0].len()).max().unwrap_or(0) as u64;
        let cells = if correlates { longest } else { longest.saturating_mul(longest) };
        self.checks.positions(others.len(), cells).into_iter().try_for_each(|position| {
            let at = others[position];
            let (i, j) = pairs[at];
            agrees(answer[at], self.value(i, j)?, format_args!("the series {i} and {j}"))
        })
    }

    fn value(&self, i: usize, j: usize) -> Result<f64, Impossible> {
        let (a, b) = (&self.series[i], &self.series[j]);
        let value = match measure_of(self.measure).map_err(Impossible::because)? {
            Measure::Pearson => pearson(a, b),
            Measure::Spearman => spearman(a, b),
            Measure::Lcss(lcss) => lcss.similarity(a, b),
            Measure::Dtw(band) => {
                dtw::distance_squared(a, b, band).map(|distance| 1.0 / (1.0 + distance.sqrt()))
            }
        };
        value.map_err(Impossible::because)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_protocols::ContentHash;

    #[test]
    fn a6_matrices_that_are_not_those_of_the_series_are_refused() {
        let mut series: Vec<Vec<f64>> =
            (1..=5_u32).map(|s| (0..50).map(|row| f64::from(row * row * s % 23)).collect()).collect();
        let (order, groups) = (PairOrder::new(5), vec![ContentHash::of(b"a")]);
        let all = |measure| CorrelateGroups { groups: groups.clone(), measure, from: 0, until: 15 };
        let dtw = PairMeasure::Dtw { window: None };
        let lcss = PairMeasure::Lcss { epsilon: 1.0, window: Some(3) };
        for measure in [PairMeasure::Pearson, PairMeasure::Spearman, dtw, lcss] {
            let facts = Facts::of(&series, measure, 1);
            let pairs: Vec<(usize, usize)> = (0..15).map(|position| order.pair(position)).collect();
            let honest: Vec<f64> = pairs.iter().map(|&(i, j)| facts.value(i, j).unwrap()).collect();
            let all = all(measure);
            assert_eq!(facts.check(&all, &honest), Ok(()), "{measure:?}");
            let diagonal_alone = |value: f64| -> Vec<f64> {
                pairs.iter().map(|(i, j)| if i == j { 1.0 } else { value }).collect()
            };
            for lie in
                [vec![f64::NAN; 15], diagonal_alone(0.0), diagonal_alone(1.0), diagonal_alone(f64::NAN)]
            {
                assert!(facts.check(&all, &lie).is_err(), "{measure:?} {lie:?}");
            }
            let other = pairs.iter().position(|(i, j)| i != j).unwrap();
            let mut one_value = honest.clone();
            one_value[other] += 0.1;
            assert!(facts.check(&all, &one_value).is_err(), "{measure:?}: a single false value");
        }
        series[2].fill(0.1);
        series[3][7] = f64::NAN;
        let facts = Facts::of(&series, PairMeasure::Pearson, 1);
        let all = all(PairMeasure::Pearson);
        let pairs = (0..15).map(|position| order.pair(position));
        let honest: Vec<f64> = pairs.map(|(i, j)| facts.value(i, j).unwrap()).collect();
        assert_eq!(facts.check(&all, &honest), Ok(()));
        let invented: Vec<f64> =
            honest.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
        assert!(facts.check(&all, &invented).is_err(), "a constant series has no correlation");
    }
}

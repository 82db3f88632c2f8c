//! The distance of two series, measured by an agent of a swarm.

use swarm_actors::pattern_matcher::width_of;
use swarm_actors::task::Task;
use swarm_kernels::{dtw, z_normalize};
use swarm_protocols::distance::{BandRule, Detail, MeasureDistance, MeasuredDistance, Scaling, path_of};
use swarm_protocols::part::Impossible;

use super::spot_checks::{SpotChecks, agrees};
use super::{Groups, add, check_work};
use crate::swarm::jobs::Terms;
use crate::swarm::operator::{JobError, Operator};
use crate::swarm::progress::Progress;

/// The distance of two series, as a request that an agent does.
pub(crate) struct Distance<'a> {
    series: [&'a [f64]; 2],
    groups: Groups,
    request: MeasureDistance,
}

impl<'a> Distance<'a> {
    /// Unless it is too much.
    pub(crate) fn of(
        series: [&'a [f64]; 2],
        (band, scaling, detail): (BandRule, Scaling, Detail),
    ) -> Result<Self, JobError> {
        let mut groups = Groups::new();
        let [a, b] = [add(&mut groups, [series[0]])?, add(&mut groups, [series[1]])?];
        let request = MeasureDistance { a, b, band, scaling, detail };
        let options = match detail {
            Detail::Distance => "--band or --window",
            Detail::Path => "--band or --window; with --path each cell counts 8 times",
        };
        check_work(std::slice::from_ref(&request), &groups, options)?;
        Ok(Self { series, groups, request })
    }

    /// Has an agent measure it.
    pub(crate) async fn measure(
        self,
        operator: &Operator,
        progress: &mut Progress,
    ) -> Result<MeasuredDistance, JobError> {
        let Self { series, groups, request } = self;
        let check = |request: &MeasureDistance, answer: &MeasuredDistance| is_right(request, series, answer);
        let task = Task::parts([request]).inputs(&groups).kind("distance").check(check);
        let done = operator.compute("distance", task, Terms::default(), progress).await?;
        Ok(done.answers.into_iter().next().expect("there is an answer to every request"))
    }
}

/// Whether the path costs what it is said to, and the distance is that of the series where these are not too long.
fn is_right(
    request: &MeasureDistance,
    [a, b]: [&[f64]; 2],
    answer: &MeasuredDistance,
) -> Result<(), Impossible> {
    let scaled = |values: &[f64]| match request.scaling {
        Scaling::Raw => values.to_vec(),
        Scaling::ZNormalized => z_normalize(values),
    };
    let (a, b) = (scaled(a), scaled(b));
    let claimed = answer.distance_squared;
    if let Some(steps) = &answer.steps {
        let cost: f64 = path_of(steps).map(|(i, j)| (a[i] - b[j]).powi(2)).sum();
        agrees(claimed, cost, "the squared distance along its path")?;
    }
    let cells = request.band.cells(a.len() as u64, b.len() as u64);
    SpotChecks::of(1).positions(1, cells).into_iter().try_for_each(|_| {
        let band = width_of(request.band).band(a.len().max(b.len())).map_err(Impossible::because)?;
        let distance = dtw::distance_squared(&a, &b, band).map_err(Impossible::because)?;
        agrees(claimed, distance, "the squared distance of the two series")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_kernels::Band;
    use swarm_protocols::ContentHash;
    use swarm_protocols::distance::steps_of;

    #[test]
    fn a6_distances_that_are_not_those_of_the_series_are_refused() {
        let wave = |step: f64| (0..300).map(|i| (f64::from(i) * step).sin() * 9.0).collect::<Vec<_>>();
        let (a, b, hash) = (wave(0.1), wave(0.13), ContentHash::of(b"a"));
        let band = BandRule::Points(20);
        let request = MeasureDistance { a: hash, b: hash, band, scaling: Scaling::Raw, detail: Detail::Path };
        let found = dtw::align(&a, &b, Band::Points(20)).unwrap();
        let distance_squared = found.distance_squared;
        let honest = MeasuredDistance { distance_squared, steps: Some(steps_of(&found.path)) };
        let check = |answer: &MeasuredDistance| is_right(&request, [&a, &b], answer).is_ok();
        assert!(check(&honest));
        assert!(check(&MeasuredDistance { steps: None, ..honest.clone() }));
        for lie in [0.0, 0.99 * distance_squared, 1.01 * distance_squared, 1e9] {
            assert!(!check(&MeasuredDistance { distance_squared: lie, ..honest.clone() }), "{lie}");
            assert!(!check(&MeasuredDistance { distance_squared: lie, steps: None }), "{lie}");
        }
        // A path that exists, with what it costs, and is not the cheapest.
        let diagonal: Vec<(usize, usize)> = (0..300).map(|i| (i, i)).collect();
        let cost = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
        assert!(!check(&MeasuredDistance { distance_squared: cost, steps: Some(steps_of(&diagonal)) }));
    }

    #[test]
    fn a6_the_path_of_series_too_long_to_be_measured_again_is_held_against_its_cost() {
        let a = vec![1.0; 40_000];
        let (band, hash) = (BandRule::Full, ContentHash::of(b"a"));
        let request = MeasureDistance { a: hash, b: hash, band, scaling: Scaling::Raw, detail: Detail::Path };
        let diagonal: Vec<(usize, usize)> = (0..a.len()).map(|i| (i, i)).collect();
        let steps = Some(steps_of(&diagonal));
        let check = |distance_squared| {
            is_right(&request, [&a, &a], &MeasuredDistance { distance_squared, steps: steps.clone() })
        };
        assert_eq!(check(0.0), Ok(()));
        assert!(check(5.0).is_err());
    }
}

//! Units of work: searching a piece of a series, classifying, measuring a distance.

#[cfg(test)]
mod tests;

use super::PatternMatcher;
use crate::{
    call::{Answer, Call},
    groups::{Groups, answer},
};
use actix::Handler;
use std::collections::BTreeMap;
use swarm_kernels::{
    Band, KernelError, Search,
    classify::{Neighbours, Width},
    dtw, search, z_normalize,
};
use swarm_protocols::{
    classification::{ClassifySeries, Neighbour},
    distance::{BandRule, Detail, MeasureDistance, MeasuredDistance, Scaling, steps_of},
    series_search::{SearchSeries, SearchedSeries, Settled, WindowMatch},
};

impl Handler<Call<SearchSeries>> for PatternMatcher {
    type Result = Answer<SearchSeries>;

    fn handle(&mut self, call: Call<SearchSeries>, _: &mut Self::Context) -> Self::Result {
        answer(&mut self.parts, &self.workers, call, search_series)
    }
}

impl Handler<Call<ClassifySeries>> for PatternMatcher {
    type Result = Answer<ClassifySeries>;

    fn handle(&mut self, call: Call<ClassifySeries>, _: &mut Self::Context) -> Self::Result {
        answer(&mut self.parts, &self.workers, call, classify_series)
    }
}

impl Handler<Call<MeasureDistance>> for PatternMatcher {
    type Result = Answer<MeasureDistance>;

    fn handle(&mut self, call: Call<MeasureDistance>, _: &mut Self::Context) -> Self::Result {
        answer(&mut self.parts, &self.workers, call, |unit, groups, _| measure_distance(unit, groups))
    }
}

/// The only series of each of two inputs; the unit has been checked.
fn two_series(groups: &Groups) -> (&[f64], &[f64]) {
    (&groups.series(0)[0], &groups.series(1)[0])
}

fn search_series(
    unit: &SearchSeries,
    groups: &Groups,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<SearchedSeries, KernelError> {
    let (piece, query) = two_series(groups);
    let first = unit.from as usize;
    // What a window is, and so its distance, depends on its own rows alone.
    let rows = &piece[first..unit.until as usize + query.len() - 1];
    let admitted = |start: usize| unit.admits(first + start);
    let found = Search::new(query, unit.window as usize)?
        .top(unit.top as usize)
        .apart(unit.apart as usize)
        .starts(&admitted)
        .cancel(cancelled)
        .run(rows)?;
    let as_match = |found: &search::Match| WindowMatch {
        start: unit.from + u32::try_from(found.start).expect("a piece has fewer than 2^32 rows"),
        distance_squared: found.distance_squared,
    };
    let search::Pruned { kim, keogh_query, keogh_data, abandoned, computed } = found.pruned;
    let settled = Settled { kim, keogh_query, keogh_data, abandoned, computed };
    Ok(SearchedSeries { matches: found.matches.iter().map(as_match).collect(), settled })
}

fn classify_series(
    unit: &ClassifySeries,
    groups: &Groups,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Neighbour>, KernelError> {
    let (train, test) = (groups.series(0), groups.series(1));
    let train: Vec<&[f64]> = train.iter().map(|values| &**values).collect();
    let width = width_of(unit.band);
    // Series of one length share a classifier where the band depends on the length, and all of them where not.
    let mut by_length = BTreeMap::<usize, Vec<usize>>::new();
    for (at, values) in test.iter().enumerate() {
        let length = if width.depends_on_length() { values.len() } else { 0 };
        by_length.entry(length).or_default().push(at);
    }
    let mut found = vec![None; test.len()];
    for (length, members) in by_length {
        let neighbours = Neighbours::new(&train, width, length)?;
        for at in members {
            if cancelled() {
                return Err(KernelError::Cancelled);
            }
            let nearest = neighbours.nearest(&test[at])?;
            let index = u32::try_from(nearest.index).expect("a group has fewer than 2^32 series");
            found[at] = Some(Neighbour { index, distance_squared: nearest.distance_squared });
        }
    }
    Ok(found.into_iter().flatten().collect())
}

fn measure_distance(unit: &MeasureDistance, groups: &Groups) -> Result<MeasuredDistance, KernelError> {
    let (a, b) = two_series(groups);
    let band = width_of(unit.band).band(a.len().max(b.len()))?;
    match unit.scaling {
        Scaling::Raw => measured(a, b, band, unit.detail),
        Scaling::ZNormalized => measured(&z_normalize(a), &z_normalize(b), band, unit.detail),
    }
}

fn measured(a: &[f64], b: &[f64], band: Band, detail: Detail) -> Result<MeasuredDistance, KernelError> {
    Ok(match detail {
        Detail::Distance => {
            MeasuredDistance { distance_squared: dtw::distance_squared(a, b, band)?, steps: None }
        }
        Detail::Path => {
            let alignment = dtw::align(a, b, band)?;
            let steps = Some(steps_of(&alignment.path));
            MeasuredDistance { distance_squared: alignment.distance_squared, steps }
        }
    })
}

fn width_of(band: BandRule) -> Width {
    match band {
        BandRule::Full => Width::Full,
        BandRule::Points(points) => Width::Points(usize::try_from(points).unwrap_or(usize::MAX)),
        BandRule::Percent(percent) => Width::Percent(percent),
    }
}

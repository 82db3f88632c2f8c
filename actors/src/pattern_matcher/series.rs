//! Searching a piece of a series, classifying, measuring a distance.

#[cfg(test)]
mod tests;

use super::PatternMatcher;
use crate::{
    call::{Answer, Call},
    parts::{Cancelled, Groups, answer_series},
};
use actix::Handler;
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
        answer_series(&self.contents, &self.workers, call, search_series)
    }
}

impl Handler<Call<ClassifySeries>> for PatternMatcher {
    type Result = Answer<ClassifySeries>;

    fn handle(&mut self, call: Call<ClassifySeries>, _: &mut Self::Context) -> Self::Result {
        answer_series(&self.contents, &self.workers, call, classify_series)
    }
}

impl Handler<Call<MeasureDistance>> for PatternMatcher {
    type Result = Answer<MeasureDistance>;

    fn handle(&mut self, call: Call<MeasureDistance>, _: &mut Self::Context) -> Self::Result {
        answer_series(&self.contents, &self.workers, call, measure_distance)
    }
}

/// The only series of each of two inputs; the request has been checked.
fn two_series<'a>(groups: &'a Groups<'_>) -> (&'a [f64], &'a [f64]) {
    (&groups.series(0)[0], &groups.series(1)[0])
}

fn search_series(
    part: &SearchSeries,
    groups: &Groups<'_>,
    cancelled: Cancelled<'_>,
) -> Result<SearchedSeries, KernelError> {
    let (piece, query) = two_series(groups);
    let first = part.from as usize;
    // What a window is, and so its distance, depends on its own rows alone.
    let rows = &piece[first..part.until as usize + query.len() - 1];
    let admitted = |start: usize| part.admits(first + start);
    let found = Search::new(query, part.window as usize)?
        .top(part.top as usize)
        .apart(part.apart as usize)
        .starts(&admitted)
        .cancel(cancelled)
        .run(rows)?;
    let as_match = |found: &search::Match| WindowMatch {
        start: part.from + u32::try_from(found.start).expect("a piece has fewer than 2^32 rows"),
        distance_squared: found.distance_squared,
    };
    let settled = settled_of(found.pruned);
    Ok(SearchedSeries { matches: found.matches.iter().map(as_match).collect(), settled })
}

fn classify_series(
    part: &ClassifySeries,
    groups: &Groups<'_>,
    cancelled: Cancelled<'_>,
) -> Result<Vec<Neighbour>, KernelError> {
    let (train, test) = (groups.series(0), groups.series(1));
    let train: Vec<&[f64]> = train.iter().map(|values| &**values).collect();
    let width = width_of(part.band);
    let mut found = vec![None; test.len()];
    for (length, members) in width.by_length(test.iter().map(|values| values.len())) {
        let neighbours = Neighbours::new(&train, width, length)?;
        for at in members {
            let nearest = neighbours.nearest_unless(cancelled, &test[at])?;
            let index = u32::try_from(nearest.index).expect("a group has fewer than 2^32 series");
            found[at] = Some(Neighbour { index, distance_squared: nearest.distance_squared });
        }
    }
    Ok(found.into_iter().flatten().collect())
}

fn measure_distance(
    part: &MeasureDistance,
    groups: &Groups<'_>,
    cancelled: Cancelled<'_>,
) -> Result<MeasuredDistance, KernelError> {
    let (a, b) = two_series(groups);
    let band = width_of(part.band).band(a.len().max(b.len()))?;
    match part.scaling {
        Scaling::Raw => measured(a, b, band, part.detail, cancelled),
        Scaling::ZNormalized => measured(&z_normalize(a), &z_normalize(b), band, part.detail, cancelled),
    }
}

fn measured(
    a: &[f64],
    b: &[f64],
    band: Band,
    detail: Detail,
    cancelled: Cancelled<'_>,
) -> Result<MeasuredDistance, KernelError> {
    Ok(match detail {
        Detail::Distance => {
            let distance_squared = dtw::distance_squared_unless(cancelled, a, b, band)?;
            MeasuredDistance { distance_squared, steps: None }
        }
        Detail::Path => {
            let alignment = dtw::align_unless(cancelled, a, b, band)?;
            let steps = Some(steps_of(&alignment.path));
            MeasuredDistance { distance_squared: alignment.distance_squared, steps }
        }
    })
}

/// What became of the windows of a search, as agents tell it.
pub fn settled_of(pruned: search::Pruned) -> Settled {
    let search::Pruned { kim, keogh_query, keogh_data, abandoned, computed } = pruned;
    Settled { kim, keogh_query, keogh_data, abandoned, computed }
}

/// The width that a rule stands for.
pub fn width_of(band: BandRule) -> Width {
    match band {
        BandRule::Full => Width::Full,
        BandRule::Points(points) => Width::Points(usize::try_from(points).unwrap_or(usize::MAX)),
        BandRule::Percent(percent) => Width::Percent(percent),
    }
}

//! Work that is spread over the agents of a swarm: split here, merged here.

pub(crate) mod classify;
pub(crate) mod correlate;
pub(crate) mod distance;
pub(crate) mod search;
mod spot_checks;

use swarm_actors::task::Inputs;
use swarm_kernels::classify::Width;
use swarm_kernels::{Band, KernelError};
use swarm_protocols::distance::BandRule;
use swarm_protocols::series_group::{InvalidGroup, SeriesGroup};
use swarm_protocols::{ContentHash, Floats};

/// Groups of series, with the lengths of the series in each.
type Groups = Inputs<[u32]>;

/// Adds a group of series.
fn add<S: AsRef<[f64]>>(
    groups: &mut Groups,
    series: impl IntoIterator<Item = S>,
) -> Result<ContentHash, InvalidGroup> {
    let series = series.into_iter().map(|values| Floats::from(values.as_ref().to_vec()));
    let group = SeriesGroup::new(series.collect())?;
    Ok(groups.add(group.encode(), group.lengths()))
}

/// The band of a pair of which the longer series has so many points.
fn band_of(rule: BandRule, longer: usize) -> Result<Band, KernelError> {
    let width = match rule {
        BandRule::Full => Width::Full,
        BandRule::Points(points) => Width::Points(usize::try_from(points).unwrap_or(usize::MAX)),
        BandRule::Percent(percent) => Width::Percent(percent),
    };
    width.band(longer)
}

//! Work that is spread over the agents of a swarm: split here, merged here.

pub(crate) mod classify;
pub(crate) mod correlate;
pub(crate) mod distance;
pub(crate) mod search;
mod spot_checks;

use swarm_actors::task::Inputs;
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

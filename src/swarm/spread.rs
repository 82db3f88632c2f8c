//! Work that is spread over the agents of a swarm: split here, merged here.

pub(crate) mod classify;
pub(crate) mod correlate;
pub(crate) mod distance;
pub(crate) mod search;
mod spot_checks;

use swarm_actors::task::Inputs;
use swarm_protocols::part::TooMuchWork;
use swarm_protocols::series_group::{InvalidGroup, SeriesGroup};
use swarm_protocols::series_matcher::SeriesRequest;
use swarm_protocols::{ContentHash, Floats};

use super::operator::JobError;

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

/// Whether agents do all of these; nothing is sent otherwise. `options` are those that narrow the band.
fn check_work<R: SeriesRequest>(requests: &[R], groups: &Groups, options: &str) -> Result<(), JobError> {
    let mut cells = requests.iter().map(|request| request.cells(&groups.known(request)));
    cells.try_for_each(TooMuchWork::unless_within).map_err(|too_much| {
        let reason = format!("{too_much}: leave out --connect, or narrow the band with {options}");
        JobError::TooMuch { reason }
    })
}

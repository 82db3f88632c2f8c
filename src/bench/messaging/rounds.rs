//! Sides that take turns, so that whatever disturbs the machine disturbs all of them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join;

use super::MessagingError;
use crate::bench::{ROUNDS, Side, median};

/// How long a round may take beyond its time before the run is given up: 200 handshakes on a busy machine take a while.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What each side brought in each of its rounds.
pub(super) struct Rounds<T>(Vec<(Side, Vec<T>)>);

impl<T> Rounds<T> {
    /// The medians of the sides, or nothing where one of them has no such number.
    pub(super) fn medians(&self, of: impl Fn(&T) -> Option<f64>) -> Option<Vec<(Side, f64)>> {
        let side = |(side, rounds): &(Side, Vec<T>)| {
            let mut values = rounds.iter().map(&of).collect::<Option<Vec<f64>>>()?;
            Some((*side, median(&mut values)))
        };
        self.0.iter().map(side).collect()
    }
}

/// Lets every side do its `round` in turns, after a warm-up of each; it is told how long a round takes, so that each
/// side is measured for `time` in all.
pub(super) async fn in_turns<T>(
    name: &str,
    sides: &[Side],
    time: Duration,
    mut round: impl AsyncFnMut(Side, Duration) -> Result<T, MessagingError>,
) -> Result<Rounds<T>, MessagingError> {
    let each = time / ROUNDS;
    let mut rounds: Vec<(Side, Vec<T>)> = sides.iter().map(|side| (*side, Vec::new())).collect();
    for turn in 0..=ROUNDS {
        for (side, brought) in &mut rounds {
            let measured = tokio::time::timeout(each + PATIENCE, round(*side, each)).await;
            let measured = measured.map_err(|_| MessagingError::Stalled(name.to_owned()))??;
            if turn > 0 {
                brought.push(measured);
            }
        }
    }
    Ok(Rounds(rounds))
}

/// Runs `work` until it sees in the cell that `time` is over, and says how long it took.
pub(super) async fn for_time<T>(
    time: Duration,
    work: impl AsyncFnOnce(&Cell<bool>) -> Result<T, MessagingError>,
) -> Result<(T, Duration), MessagingError> {
    let over = Cell::new(false);
    let end = async {
        tokio::time::sleep(time).await;
        over.set(true);
        Ok(())
    };
    let began = Instant::now();
    let (done, ()) = try_join(work(&over), end).await?;
    Ok((done, began.elapsed()))
}

//! Work that is too much for one task, in several.

use super::{ANSWER_BYTES_MAX, Unit};
use crate::{ContentHash, coordinator::board::PARTS_MAX};
use std::{collections::BTreeSet, ops::Range};

/// The content that a client hands out for one task, in bytes: half of what a coordinator keeps unless it was
/// told otherwise.
pub const CONTENT_BYTES_MAX: usize = 128 << 20;

/// Cuts `units` into runs that a coordinator takes as one task each: no more units than
/// [`PARTS_MAX`], content of no more than [`CONTENT_BYTES_MAX`] by `content_bytes`, and answers of no more
/// than [`ANSWER_BYTES_MAX`] by `answer_bytes`. A unit that is too much by itself is a run of its own.
pub fn waves(
    units: &[Unit],
    content_bytes: impl Fn(&ContentHash) -> usize,
    answer_bytes: impl Fn(&Unit) -> usize,
) -> Vec<Range<usize>> {
    let mut waves = Vec::new();
    let mut first = 0;
    let (mut held, mut content, mut answers) = (BTreeSet::new(), 0, 0);
    for (at, unit) in units.iter().enumerate() {
        let inputs: BTreeSet<ContentHash> = unit.inputs().into_iter().collect();
        let new: usize = inputs.difference(&held).map(&content_bytes).sum();
        let answer = answer_bytes(unit);
        let full = at - first == PARTS_MAX
            || content + new > CONTENT_BYTES_MAX
            || answers + answer > ANSWER_BYTES_MAX;
        if full && at > first {
            waves.push(first..at);
            first = at;
            held.clear();
            (content, answers) = (0, 0);
        }
        content += inputs.difference(&held).map(&content_bytes).sum::<usize>();
        answers += answer;
        held.extend(inputs);
    }
    if first < units.len() {
        waves.push(first..units.len());
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::{BandRule, Detail, MeasureDistance, Scaling};

    fn unit(a: u8, b: u8) -> Unit {
        let [a, b] = [a, b].map(|of| ContentHash::of(&[of]));
        let (band, scaling, detail) = (BandRule::Full, Scaling::Raw, Detail::Distance);
        Unit::Distance(MeasureDistance { a, b, band, scaling, detail })
    }

    #[test]
    fn a_wave_ends_where_a_task_would_hold_too_much() {
        let units = vec![unit(1, 2); PARTS_MAX + 3];
        assert_eq!(waves(&units, |_| 1, |_| 1), [0..PARTS_MAX, PARTS_MAX..PARTS_MAX + 3]);
        assert_eq!(waves(&[], |_| 1, |_| 1), []);
        // Shared content counts once.
        let units = [unit(1, 2), unit(1, 3), unit(4, 5), unit(1, 1)];
        let third = CONTENT_BYTES_MAX / 3;
        assert_eq!(waves(&units, |_| third, |_| 1), [0..2, 2..4]);
        assert_eq!(waves(&units, |_| CONTENT_BYTES_MAX, |_| 1), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(waves(&units, |_| 0, |_| ANSWER_BYTES_MAX / 2), [0..2, 2..4]);
    }
}

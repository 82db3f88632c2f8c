//! Work that is too much for one task, in several.

use super::PartRequest;
use crate::{
    ContentHash,
    coordinator::{
        PAYLOAD_BYTES_MAX,
        board::{ANSWER_BYTES_MAX, PARTS_MAX},
    },
};
use std::{collections::BTreeSet, ops::Range};

/// The content that a client hands out for one task, in bytes: half of what a coordinator keeps unless it was
/// told otherwise.
pub const CONTENT_BYTES_MAX: usize = 128 << 20;

/// What one part adds to a task.
#[derive(Debug, Clone, Copy)]
pub struct Weight {
    /// The length of its encoded request, in bytes.
    pub request: usize,
    /// The longest answer, in bytes.
    pub answer: usize,
}

/// Cuts parts into runs that a coordinator takes as one task each: no more parts than [`PARTS_MAX`], content of no
/// more than [`CONTENT_BYTES_MAX`] by `content_bytes`, requests of no more than [`PAYLOAD_BYTES_MAX`] and answers of
/// no more than [`ANSWER_BYTES_MAX`] by `weight`. A part that is too much by itself is a run of its own.
pub fn waves<R: PartRequest>(
    parts: &[R],
    content_bytes: impl Fn(&ContentHash) -> usize,
    weight: impl Fn(usize) -> Weight,
) -> Vec<Range<usize>> {
    let mut waves = Vec::new();
    let mut first = 0;
    let (mut held, mut content, mut requests, mut answers) = (BTreeSet::new(), 0, 0, 0);
    for (at, part) in parts.iter().enumerate() {
        let inputs: BTreeSet<ContentHash> = part.inputs().into_iter().collect();
        let new: usize = inputs.difference(&held).map(&content_bytes).sum();
        let Weight { request, answer } = weight(at);
        let full = at - first == PARTS_MAX
            || content + new > CONTENT_BYTES_MAX
            || requests + request > PAYLOAD_BYTES_MAX
            || answers + answer > ANSWER_BYTES_MAX;
        if full && at > first {
            waves.push(first..at);
            first = at;
            held.clear();
            (content, requests, answers) = (0, 0, 0);
        }
        content += inputs.difference(&held).map(&content_bytes).sum::<usize>();
        requests += request;
        answers += answer;
        held.extend(inputs);
    }
    if first < parts.len() {
        waves.push(first..parts.len());
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::{BandRule, Detail, MeasureDistance, Scaling};

    fn part(a: u8, b: u8) -> MeasureDistance {
        let [a, b] = [a, b].map(|of| ContentHash::of(&[of]));
        let (band, scaling, detail) = (BandRule::Full, Scaling::Raw, Detail::Distance);
        MeasureDistance { a, b, band, scaling, detail }
    }

    #[test]
    fn a_wave_ends_where_a_task_would_hold_too_much() {
        let of = |request, answer| move |_| Weight { request, answer };
        let parts = vec![part(1, 2); PARTS_MAX + 3];
        assert_eq!(waves(&parts, |_| 1, of(1, 1)), [0..PARTS_MAX, PARTS_MAX..PARTS_MAX + 3]);
        assert_eq!(waves::<MeasureDistance>(&[], |_| 1, of(1, 1)), []);
        // Shared content counts once.
        let parts = [part(1, 2), part(1, 3), part(4, 5), part(1, 1)];
        let third = CONTENT_BYTES_MAX / 3;
        assert_eq!(waves(&parts, |_| third, of(1, 1)), [0..2, 2..4]);
        assert_eq!(waves(&parts, |_| CONTENT_BYTES_MAX, of(1, 1)), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(waves(&parts, |_| 0, of(1, ANSWER_BYTES_MAX / 2)), [0..2, 2..4]);
        assert_eq!(waves(&parts, |_| 0, of(PAYLOAD_BYTES_MAX / 2, 1)), [0..2, 2..4]);
    }
}

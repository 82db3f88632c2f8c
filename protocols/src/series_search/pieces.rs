//! How a series is cut.

use crate::part::part_count;
use std::ops::Range;

/// The windows that start in one piece: 2 MiB of rows. Those of longer queries overlap by no more than half.
const PIECE_STARTS: usize = 1 << 18;

/// A run of windows that is searched as one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The piece that holds its windows.
    pub piece: usize,
    /// Where they start, in rows of the whole series.
    pub starts: Range<usize>,
}

/// A series in overlapping pieces that hold every window once, and their windows in blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    /// The rows of each piece.
    pub pieces: Vec<Range<usize>>,
    /// The blocks, ascending.
    pub blocks: Vec<Block>,
}

impl Pieces {
    /// Cuts a series of `rows` rows for a query of `points` points, 1 to `rows`, and a band of `window` points.
    pub fn of(rows: usize, points: usize, window: usize) -> Self {
        let windows = rows - points + 1;
        let width = window.saturating_mul(2).saturating_add(1).min(points);
        let cells = (windows as u64).saturating_mul(points as u64).saturating_mul(width as u64);
        let count = usize::try_from(part_count(cells)).unwrap_or(usize::MAX).min(windows);
        let block_starts = windows.div_ceil(count);
        let piece_starts = PIECE_STARTS.max(points);
        let mut cut = Self { pieces: Vec::new(), blocks: Vec::new() };
        for first in (0..windows).step_by(piece_starts) {
            let end = (first + piece_starts).min(windows);
            let piece = cut.pieces.len();
            cut.pieces.push(first..end + points - 1);
            let blocks = (first..end).step_by(block_starts);
            cut.blocks.extend(blocks.map(|from| {
                let starts = from..(from + block_starts).min(end);
                Block { piece, starts }
            }));
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series_group::VALUES_MAX;
    use crate::series_search::{QUERY_MAX, SearchSeries};
    use crate::{
        ContentHash,
        part::CELLS_MAX,
        series_matcher::{Lengths, SeriesRequest},
    };
    use proptest::prelude::*;

    #[test]
    fn every_window_is_in_one_block_and_whole_in_its_piece() {
        for (rows, points, window) in [
            (1, 1, 0),
            (50, 50, 3),
            (2_000, 64, 6),
            (20_000, 128, 12),
            (600_000, 128, 6),
            (1_000_000, 300_000, 10),
            (2_200_000, QUERY_MAX, 0),
        ] {
            let Pieces { pieces, blocks } = Pieces::of(rows, points, window);
            let mut next = 0;
            for Block { piece, starts } in &blocks {
                assert_eq!(starts.start, next);
                assert!(!starts.is_empty());
                next = starts.end;
                let rows = &pieces[*piece];
                assert!(rows.start <= starts.start && starts.end + points - 1 <= rows.end);
            }
            assert_eq!(next, rows - points + 1);
            assert!(pieces.iter().all(|piece| piece.len() <= VALUES_MAX));
            assert!(pieces.iter().map(Range::len).sum::<usize>() <= 2 * rows, "little is sent twice");
        }
    }

    proptest! {
        #[test]
        fn no_block_is_beyond_the_limit_where_no_window_is(
            windows in prop_oneof![1_usize..50, 1_usize..200_000], points in 1_usize..QUERY_MAX, window in 0_usize..QUERY_MAX,
        ) {
            let Pieces { pieces, blocks } = Pieces::of(windows + points - 1, points, window);
            let zeros = ContentHash::of(&[]);
            let number = |rows: usize| rows as u32;
            for Block { piece, starts } in blocks {
                let (from, until, window) = (number(starts.start), number(starts.end), number(window));
                let (from, until) = (from - number(pieces[piece].start), until - number(pieces[piece].start));
                let (top, apart, excluded) = (1, 1, Vec::new());
                let part = SearchSeries { piece: zeros, query: zeros, from, until, window, top, apart, excluded };
                let inputs: &[Lengths<'_>] = &[&[number(pieces[piece].len())], &[number(points)]];
                prop_assert_eq!(part.check(inputs), Ok(()));
                let one = SearchSeries { until: from + 1, ..part.clone() }.cells(inputs);
                prop_assert!(part.cells(inputs) <= one.max(CELLS_MAX), "{:?}", part);
            }
        }
    }

    #[test]
    fn work_that_takes_long_is_cut_finer() {
        let blocks = |rows, points, window| Pieces::of(rows, points, window).blocks.len();
        assert_eq!(blocks(2_000, 64, 6), 1);
        assert_eq!(blocks(20_000, 128, 12), 15);
        assert_eq!(blocks(200_000, 128, 6), 64);
        assert_eq!(blocks(20_000, 4_000, 4_000), 942, "2.6e11 cells, 2^28 for each block");
        assert_eq!(
            blocks(100_000, 4_000, 4_000),
            4_001,
            "1.5e12 cells, as many blocks as one task may have parts"
        );
    }
}

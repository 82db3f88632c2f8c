//! From the best windows of blocks to those of the whole series.

use super::{WindowMatch, Zone};
use std::{collections::BTreeSet, ops::Range};

/// Merges the greedy answers of blocks into the greedy answer of all.
///
/// The best head of all blocks' lists is the next match. It excludes the windows around it, in its neighbours
/// too. Where that strikes an entry from another block's list, what follows that entry there is no longer known
/// to be right: a window that the entry had kept out may be free now. All that is known is that such a window
/// ranks behind the struck entry. So the rest of the list is dropped, and once the struck entry would be the
/// next match, the block is asked again, with all matches so far as excluded zones.
///
/// A block is asked for few matches at first, as many as it would have if they were spread evenly and as many
/// again, and for twice as many each time: a search for few rules out most windows, one for more than fit into the
/// block rules out none.
///
/// What is never: a match that a search through the whole series would not find, in another order or at another
/// distance.
#[derive(Debug)]
pub struct Merge {
    top: usize,
    apart: usize,
    /// Where no window may start, whatever is found.
    excluded: Option<Range<usize>>,
    blocks: Vec<Listed>,
    matches: Vec<(f64, usize)>,
    /// The starts of the matches.
    taken: BTreeSet<usize>,
}

/// What is known of a block.
#[derive(Debug)]
struct Listed {
    starts: Range<usize>,
    /// Its next matches, the best one last, and what is known of those after them.
    list: Vec<(f64, usize)>,
    rest: Rest,
    /// For how many matches it is asked next.
    wanted: usize,
}

/// What follows the list of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rest {
    /// Nothing.
    Nothing,
    /// Nothing that ranks before this window.
    Behind((f64, usize)),
}

/// What a block is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The position of the block.
    pub block: usize,
    /// How many matches are wanted.
    pub top: usize,
    /// Where in the series no window of the block may start: ascending, not touching.
    pub excluded: Vec<Range<usize>>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// These blocks are to be asked, each once; then [`Merge::answer`] and the next step.
    Ask(Vec<Question>),
    /// The matches, nearest first: squared distance and start.
    Done(Vec<(f64, usize)>),
}

impl Merge {
    /// Looks for `top` matches that start `apart` rows or more from each other in the windows of `blocks`, which
    /// ascend, without those that start in `excluded`.
    pub fn new(
        blocks: impl IntoIterator<Item = Range<usize>>,
        top: usize,
        apart: usize,
        excluded: Option<Range<usize>>,
    ) -> Self {
        let nothing_known = Rest::Behind((f64::NEG_INFINITY, 0));
        let blocks: Vec<Range<usize>> = blocks.into_iter().collect();
        let wanted = top.saturating_mul(2).div_ceil(blocks.len().max(1));
        let listed = |starts| Listed { starts, list: Vec::new(), rest: nothing_known, wanted };
        let blocks = blocks.into_iter().map(listed).collect();
        Self { top, apart: apart.max(1), excluded, blocks, matches: Vec::new(), taken: BTreeSet::new() }
    }

    /// Takes matches as far as they are certain.
    pub fn step(&mut self) -> Step {
        while self.matches.len() < self.top {
            let heads = self.blocks.iter().enumerate();
            let head = heads.filter_map(|(at, block)| Some((block.head()?, at))).min_by(|(a, _), (b, _)| {
                // No two windows are equal: their starts differ.
                a.window.partial_cmp(&b.window).expect("answers were checked, distances are no NaN")
            });
            let Some((head, at)) = head else { break };
            if !head.is_certain {
                return Step::Ask(self.questions());
            }
            self.blocks[at].list.pop();
            self.take(head.window);
        }
        Step::Done(self.matches.clone())
    }

    /// Takes the answer to a question of the last step: the greedy matches of the block, nearest first, with their
    /// starts in rows of the series.
    pub fn answer(&mut self, question: &Question, matches: impl IntoIterator<Item = (f64, usize)>) {
        let block = &mut self.blocks[question.block];
        block.list = matches.into_iter().collect();
        block.rest = match block.list.last() {
            Some(last) if block.list.len() >= question.top => Rest::Behind(*last),
            _ => Rest::Nothing,
        };
        block.list.reverse();
        block.wanted = question.top.saturating_mul(2);
    }

    /// Makes a window the next match.
    fn take(&mut self, window: (f64, usize)) {
        let (_, start) = window;
        self.matches.push(window);
        self.taken.insert(start);
        let around = zone(start, self.apart);
        for block in &mut self.blocks {
            // The best one is last: what lies before the last one that is struck follows it.
            if block.starts.start < around.end
                && around.start < block.starts.end
                && let Some(struck) = block.list.iter().rposition(|(_, start)| around.contains(start))
            {
                block.rest = Rest::Behind(block.list[struck]);
                block.list.drain(..=struck);
            }
        }
    }

    /// Asks every block of which no next match is known.
    fn questions(&self) -> Vec<Question> {
        let top = self.top - self.matches.len();
        let unknown = |block: &Listed| block.list.is_empty() && block.rest != Rest::Nothing;
        let blocks = self.blocks.iter().enumerate().filter(|(_, block)| unknown(block));
        let question = |(at, block): (usize, &Listed)| {
            let excluded = self.zones(&block.starts);
            Question { block: at, top: top.min(block.wanted), excluded }
        };
        blocks.map(question).collect()
    }

    /// Where none of `starts` may be chosen any more.
    fn zones(&self, starts: &Range<usize>) -> Vec<Range<usize>> {
        let near = starts.start.saturating_sub(self.apart)..starts.end.saturating_add(self.apart);
        let around = self.taken.range(near).map(|start| zone(*start, self.apart));
        let mut zones: Vec<Range<usize>> = around.chain(self.excluded.clone()).collect();
        zones.sort_unstable_by_key(|zone| zone.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for zone in zones {
            let zone = zone.start.max(starts.start)..zone.end.min(starts.end);
            match joined.last_mut() {
                _ if zone.is_empty() => {}
                Some(last) if zone.start <= last.end => last.end = last.end.max(zone.end),
                _ => joined.push(zone),
            }
        }
        joined
    }
}

/// The next match of a block, or what it ranks behind.
#[derive(Debug, Clone, Copy)]
struct Head {
    window: (f64, usize),
    is_certain: bool,
}

impl Listed {
    fn head(&self) -> Option<Head> {
        match (self.list.last(), self.rest) {
            (Some(window), _) => Some(Head { window: *window, is_certain: true }),
            (None, Rest::Behind(window)) => Some(Head { window, is_certain: false }),
            (None, Rest::Nothing) => None,
        }
    }
}

/// The starts that are closer than `apart` to this one.
fn zone(start: usize, apart: usize) -> Range<usize> {
    start.saturating_sub(apart - 1)..start.saturating_add(apart)
}

impl Question {
    /// Its zones in rows of a piece that begins with row `first` of the series.
    pub fn zones_from(&self, first: usize) -> Vec<Zone> {
        let row = |row: usize| u32::try_from(row - first).expect("a piece has fewer than 2^32 rows");
        self.excluded.iter().map(|zone| Zone { from: row(zone.start), until: row(zone.end) }).collect()
    }
}

impl WindowMatch {
    /// Squared distance and start, in rows of the series of which the piece begins with row `first`.
    pub fn in_series(&self, first: usize) -> (f64, usize) {
        (self.distance_squared, first + self.start as usize)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "zones are ranges")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: all windows by rank, each that lies apart from those taken before.
    fn greedily(
        distances: &[f64],
        starts: Range<usize>,
        top: usize,
        apart: usize,
        excluded: &[Range<usize>],
    ) -> Vec<(f64, usize)> {
        let admitted = |start: &usize| !excluded.iter().any(|zone| zone.contains(start));
        let mut windows: Vec<_> = starts.filter(admitted).map(|start| (distances[start], start)).collect();
        windows.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let mut taken: Vec<(f64, usize)> = Vec::new();
        for window in windows {
            if taken.len() < top && taken.iter().all(|other| other.1.abs_diff(window.1) >= apart.max(1)) {
                taken.push(window);
            }
        }
        taken
    }

    /// The matches, and how often blocks were asked in all.
    fn merged(
        distances: &[f64],
        blocks: &[Range<usize>],
        top: usize,
        apart: usize,
        own: Option<Range<usize>>,
    ) -> (Vec<(f64, usize)>, usize) {
        let mut merge = Merge::new(blocks.iter().cloned(), top, apart, own);
        let mut asked = 0;
        loop {
            match merge.step() {
                Step::Done(matches) => return (matches, asked),
                Step::Ask(questions) => {
                    assert!(!questions.is_empty() && asked <= blocks.len() * (top + 1), "it ends");
                    for question in questions {
                        asked += 1;
                        let zones = &question.excluded;
                        assert!(zones.windows(2).all(|pair| pair[0].end < pair[1].start), "{zones:?}");
                        let starts = blocks[question.block].clone();
                        let found = greedily(distances, starts, question.top, apart, zones);
                        merge.answer(&question, found);
                    }
                }
            }
        }
    }

    #[test]
    fn a_match_across_a_border_brings_back_what_it_freed() {
        // The best window is 9. It strikes 11 from the second block, which had kept 14 out behind 17.
        let mut distances = [9.0; 20];
        (distances[9], distances[11], distances[14], distances[17]) = (1.0, 2.0, 3.0, 4.0);
        let (found, asked) = merged(&distances, &[0..10, 10..20], 2, 4, None);
        assert_eq!(found, [(1.0, 9), (3.0, 14)]);
        assert_eq!(asked, 3, "the second block twice");
    }

    #[test]
    fn blocks_are_not_asked_again_for_what_cannot_matter() {
        let mut distances = [9.0; 30];
        (distances[9], distances[11], distances[22], distances[3]) = (1.0, 8.0, 2.0, 3.0);
        let blocks = [0..10, 10..20, 20..30];
        let (found, asked) = merged(&distances, &blocks, 3, 4, None);
        assert_eq!(found, [(1.0, 9), (2.0, 22), (3.0, 3)]);
        assert_eq!(asked, 3);
    }

    #[test]
    fn equal_windows_go_by_start_through_all_blocks() {
        let found = merged(&[0.0; 50], &[0..7, 7..20, 20..21, 21..50], 100, 4, Some(10..13)).0;
        assert_eq!(found, greedily(&[0.0; 50], 0..50, 100, 4, &[10..13]));
        assert_eq!(found.len(), 13);
    }

    #[test]
    fn no_windows_no_matches() {
        assert_eq!(merged(&[1.0; 5], &[0..3, 3..5], 3, 2, Some(0..9)).0, []);
        assert_eq!(merged(&[1.0; 5], &[0..3, 3..5], 0, 2, None).0, []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn merged_blocks_are_the_whole(
            distances in (1_u8..40).prop_flat_map(|kinds| prop::collection::vec(0..kinds, 1..120)),
            borders in prop::collection::btree_set(1_usize..120, 0..8),
            top in 0_usize..40,
            apart in 0_usize..12,
            own in prop::option::of((0_usize..120, 1_usize..30)),
        ) {
            let distances: Vec<f64> = distances.into_iter().map(f64::from).collect();
            let windows = distances.len();
            let mut edges: Vec<usize> = borders.into_iter().filter(|border| *border < windows).collect();
            edges.insert(0, 0);
            edges.push(windows);
            let blocks: Vec<_> = edges.windows(2).map(|pair| pair[0]..pair[1]).collect();
            let own = own.map(|(start, length)| start.saturating_sub(length)..start + length);
            let zones: Vec<_> = own.iter().cloned().collect();
            let expected = greedily(&distances, 0..windows, top, apart, &zones);
            prop_assert_eq!(merged(&distances, &blocks, top, apart, own).0, expected);
        }
    }
}

//! The common order of the values of several series.

/// Where the points of several series come when all their values are sorted, and how far `epsilon` reaches from each.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Of each series, where its points begin in the other lists, and after the last one where they end.
    offsets: Vec<usize>,
    /// Of each series by rising value: the place among all values, and the point.
    places: Vec<(u32, u32)>,
    reaches: Vec<[u32; 2]>,
}

impl Order {
    /// Of series without NaN.
    ///
    /// # Panics
    /// When there are 2³² points or more.
    pub(super) fn of<S: AsRef<[f64]>>(series: &[S], epsilon: f64) -> Self {
        let mut offsets = vec![0];
        let mut values: Vec<(f64, u32)> = Vec::new();
        for points in series.iter().map(AsRef::as_ref) {
            values.extend(points.iter().zip(values.len()..).map(|(&value, at)| (value, at as u32)));
            offsets.push(values.len());
        }
        assert!(u32::try_from(values.len()).is_ok(), "2^32 points or more");
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));

        let mut reaches = vec![[0; 2]; values.len()];
        let (mut below, mut within) = (0, 0);
        for &(x, at) in &values {
            // Differences round in order, so both only move on.
            while values.get(below).is_some_and(|&(y, _)| y - x < -epsilon) {
                below += 1;
            }
            within = within.max(below);
            while values.get(within).is_some_and(|&(y, _)| y - x <= epsilon) {
                within += 1;
            }
            reaches[at as usize] = [below as u32, within as u32];
        }

        let mut series_of = vec![0; values.len()];
        for (index, ends) in offsets.windows(2).enumerate() {
            series_of[ends[0]..ends[1]].fill(index);
        }
        let mut next = offsets.clone();
        let mut places = vec![(0, 0); values.len()];
        for (place, &(_, at)) in (0..).zip(&values) {
            let index = series_of[at as usize];
            places[next[index]] = (place, at - offsets[index] as u32);
            next[index] += 1;
        }
        Self { offsets, places, reaches }
    }

    /// The points of one series by rising value, each after its place among all values.
    pub(super) fn places(&self, index: usize) -> &[(u32, u32)] {
        &self.places[self.offsets[index]..self.offsets[index + 1]]
    }

    /// Of each point of one series, how many of all values lie below its `epsilon`, and how many not above it.
    pub(super) fn reaches(&self, index: usize) -> &[[u32; 2]] {
        &self.reaches[self.offsets[index]..self.offsets[index + 1]]
    }
}

/// How many values of one series are among the first of all.
pub(super) struct Counts(Vec<u32>);

impl Counts {
    /// Of the series with these places.
    pub(super) fn of(order: &Order, places: &[(u32, u32)]) -> Self {
        let mut counts = Vec::with_capacity(order.reaches.len() + 1);
        for (count, &(place, _)) in (0..).zip(places) {
            counts.resize(place as usize + 1, count);
        }
        counts.resize(order.reaches.len() + 1, places.len() as u32);
        Self(counts)
    }

    /// Ranks in the series of what a point of another reaches.
    #[inline(always)]
    pub(super) fn ranks(&self, reach: [u32; 2]) -> [usize; 2] {
        reach.map(|place| self.0[place as usize] as usize)
    }
}

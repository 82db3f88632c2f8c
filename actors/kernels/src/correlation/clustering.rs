//! Which series belong together: agglomerative clustering with average linkage, and the order of rows and columns in
//! which a matrix shows it.
//!
//! Müllner 2011: *Modern hierarchical, agglomerative clustering algorithms* (the nearest-neighbour chain); Lance,
//! Williams 1967 (the distance to a union).

/// Two clusters that were joined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Join {
    /// The cluster with the first of all members. Below the number of members it is that member alone, otherwise the
    /// join so many further on in [`Dendrogram::joins`].
    pub first: usize,
    /// The other cluster.
    pub second: usize,
    /// The mean distance between members of one and members of the other.
    pub distance: f64,
}

/// A hierarchy of clusters, from every member by itself to all together.
///
/// ```
/// use swarm_kernels::correlation::Dendrogram;
/// let places = [0.0_f64, 10.0, 1.0, 11.5];
/// let tree = Dendrogram::average_linkage(4, |i, j| (places[i] - places[j]).abs());
/// assert_eq!((tree.joins()[0].first, tree.joins()[0].second, tree.joins()[0].distance), (0, 2, 1.0));
/// assert_eq!(tree.leaves(), [0, 2, 1, 3]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dendrogram {
    members: usize,
    joins: Vec<Join>,
    leaves: Vec<usize>,
}

impl Dendrogram {
    /// Joins the nearest two clusters until one is left, in time and memory of the square of the members.
    ///
    /// Clusters are as far apart as their members on average. A distance of NaN is unknown and counts as the greatest
    /// one known, so that members without anything in common come together last. Of equal distances the one to the
    /// cluster with the smaller first member is taken, except that the two most lately compared stay together.
    pub fn average_linkage(members: usize, distance: impl Fn(usize, usize) -> f64) -> Self {
        let distances = Distances::new(members, distance);
        let mut joined = Chain::new(distances.clone()).join_all();
        // The chain finds them out of order; a join never lies below one of its parts but by rounding.
        joined.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        let joins = numbered(members, &joined);
        let leaves = leaves(members, &joins, &distances);
        Self { members, joins, leaves }
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.members
    }

    /// One less than there are members, by growing distance.
    pub fn joins(&self) -> &[Join] {
        &self.joins
    }

    /// The members so ordered that every cluster stands together, and of two that are joined the ends that touch are as
    /// near as turning either round can bring them.
    pub fn leaves(&self) -> &[usize] {
        &self.leaves
    }
}

/// Distances between clusters, each in the place of its first member.
#[derive(Clone)]
struct Distances {
    members: usize,
    values: Vec<f64>,
}

impl Distances {
    fn new(members: usize, distance: impl Fn(usize, usize) -> f64) -> Self {
        let mut distances = Self { members, values: vec![0.0; members * members] };
        let mut greatest = 0.0_f64;
        for i in 0..members {
            for j in i + 1..members {
                let value = distance(i, j);
                greatest = greatest.max(value);
                distances.set(i, j, value);
            }
        }
        for value in distances.values.iter_mut().filter(|value| value.is_nan()) {
            *value = greatest;
        }
        distances
    }

    fn get(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.members + j]
    }

    fn set(&mut self, i: usize, j: usize, value: f64) {
        self.values[i * self.members + j] = value;
        self.values[j * self.members + i] = value;
    }
}

/// A chain of clusters, each nearer to the one before than any other is.
struct Chain {
    distances: Distances,
    /// How many members the cluster in each place has; none where it was joined to another.
    sizes: Vec<usize>,
}

impl Chain {
    fn new(distances: Distances) -> Self {
        Self { sizes: vec![1; distances.members], distances }
    }

    /// All joins, between the first members of clusters.
    fn join_all(mut self) -> Vec<Join> {
        let mut joins = Vec::new();
        let mut chain: Vec<usize> = Vec::new();
        while joins.len() + 1 < self.sizes.len() {
            let tip = match chain.last() {
                Some(&tip) => tip,
                None => {
                    let alive = self.sizes.iter().position(|&size| size > 0);
                    let first = alive.expect("two clusters or more are left");
                    chain.push(first);
                    first
                }
            };
            let before = chain.len().checked_sub(2).map(|place| chain[place]);
            let (nearest, distance) = self.nearest(tip, before);
            if before == Some(nearest) {
                chain.truncate(chain.len() - 2);
                let (first, second) = (tip.min(nearest), tip.max(nearest));
                self.unite(first, second);
                joins.push(Join { first, second, distance });
            } else {
                chain.push(nearest);
            }
        }
        joins
    }

    /// The cluster nearest to another one: the one before it in the chain if that is as near as any.
    fn nearest(&self, tip: usize, before: Option<usize>) -> (usize, f64) {
        let mut nearest = before.map(|before| (before, self.distances.get(tip, before)));
        for (other, _) in self.sizes.iter().enumerate().filter(|&(other, &size)| size > 0 && other != tip) {
            let distance = self.distances.get(tip, other);
            if nearest.is_none_or(|nearest| distance < nearest.1) {
                nearest = Some((other, distance));
            }
        }
        nearest.expect("two clusters or more are left")
    }

    fn unite(&mut self, first: usize, second: usize) {
        let (a, b) = (self.sizes[first] as f64, self.sizes[second] as f64);
        self.sizes[first] += self.sizes[second];
        self.sizes[second] = 0;
        for other in 0..self.sizes.len() {
            if self.sizes[other] > 0 && other != first {
                let (x, y) = (self.distances.get(first, other), self.distances.get(second, other));
                self.distances.set(first, other, (a * x + b * y) / (a + b));
            }
        }
    }
}

/// Joins between clusters instead of their first members.
fn numbered(members: usize, joined: &[Join]) -> Vec<Join> {
    // The cluster of each place, and the place a joined one went to.
    let mut clusters: Vec<usize> = (0..members).collect();
    let mut places: Vec<usize> = (0..members).collect();
    let mut joins = Vec::with_capacity(joined.len());
    for (number, join) in joined.iter().enumerate() {
        let find = |mut place: usize| {
            while places[place] != place {
                place = places[place];
            }
            place
        };
        let (a, b) = (find(join.first), find(join.second));
        let (first, second) = (a.min(b), a.max(b));
        joins.push(Join { first: clusters[first], second: clusters[second], distance: join.distance });
        clusters[first] = members + number;
        places[second] = first;
    }
    joins
}

fn leaves(members: usize, joins: &[Join], distances: &Distances) -> Vec<usize> {
    let mut clusters: Vec<Vec<usize>> = (0..members).map(|member| vec![member]).collect();
    for join in joins {
        let mut first = std::mem::take(&mut clusters[join.first]);
        let mut second = std::mem::take(&mut clusters[join.second]);
        let ends = |cluster: &[usize]| (cluster[0], cluster[cluster.len() - 1]);
        let ((a, b), (c, d)) = (ends(&first), ends(&second));
        let ways = [(b, c, false, false), (b, d, false, true), (a, c, true, false), (a, d, true, true)];
        // Of equally good ways the first is taken.
        let best =
            ways.into_iter().min_by(|x, y| distances.get(x.0, x.1).total_cmp(&distances.get(y.0, y.1)));
        let (_, _, turn_first, turn_second) = best.expect("there are four ways");
        if turn_first {
            first.reverse();
        }
        if turn_second {
            second.reverse();
        }
        first.append(&mut second);
        clusters.push(first);
    }
    let mut leaves = clusters.pop().unwrap_or_default();
    if leaves.first() > leaves.last() {
        leaves.reverse();
    }
    leaves
}

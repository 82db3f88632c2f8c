use std::collections::BTreeSet;

use proptest::prelude::*;
use swarm_kernels::correlation::Dendrogram;

/// The definition: of all pairs of clusters the one nearest on average, over all their members, is joined.
fn naive(members: usize, distance: &dyn Fn(usize, usize) -> f64) -> Vec<(BTreeSet<usize>, f64)> {
    let mut clusters: Vec<Vec<usize>> = (0..members).map(|member| vec![member]).collect();
    let mut joins = Vec::new();
    while clusters.len() > 1 {
        let mean = |a: &[usize], b: &[usize]| {
            let sum: f64 = a.iter().flat_map(|&i| b.iter().map(move |&j| distance(i, j))).sum();
            sum / (a.len() * b.len()) as f64
        };
        let pairs = (0..clusters.len()).flat_map(|i| (i + 1..clusters.len()).map(move |j| (i, j)));
        let (i, j) = pairs
            .min_by(|a, b| {
                mean(&clusters[a.0], &clusters[a.1]).total_cmp(&mean(&clusters[b.0], &clusters[b.1]))
            })
            .unwrap();
        let height = mean(&clusters[i], &clusters[j]);
        let second = clusters.remove(j);
        clusters[i].extend(second);
        joins.push((clusters[i].iter().copied().collect(), height));
    }
    joins
}

/// The members under each join, and its distance.
fn clusters(tree: &Dendrogram) -> Vec<(BTreeSet<usize>, f64)> {
    let mut found: Vec<(BTreeSet<usize>, f64)> = Vec::new();
    for join in tree.joins() {
        let mut all = BTreeSet::new();
        for part in [join.first, join.second] {
            match part.checked_sub(tree.members()) {
                None => assert!(all.insert(part)),
                Some(earlier) => all.extend(found[earlier].0.iter().copied()),
            }
        }
        found.push((all, join.distance));
    }
    found
}

/// Leaves are all members, and those of a cluster stand together.
fn check_leaves(tree: &Dendrogram) {
    let mut places = vec![usize::MAX; tree.members()];
    for (place, &leaf) in tree.leaves().iter().enumerate() {
        places[leaf] = place;
    }
    assert_eq!(tree.leaves().len(), tree.members());
    for (members, _) in clusters(tree) {
        let places = || members.iter().map(|&member| places[member]);
        assert_eq!(places().max().unwrap() - places().min().unwrap() + 1, members.len());
    }
}

fn lookup(values: &[f64], members: usize) -> impl Fn(usize, usize) -> f64 {
    move |i, j| values[i.min(j) * members + i.max(j)]
}

proptest! {
    #[test]
    fn joins_are_those_of_the_definition(members in 0_usize..18, values in prop::collection::vec(0.0..1.0_f64, 18 * 18)) {
        let distance = lookup(&values, members);
        let tree = Dendrogram::average_linkage(members, &distance);
        let (found, expected) = (clusters(&tree), naive(members, &distance));
        prop_assert_eq!(found.len(), expected.len());
        for ((found, height), (expected, naive_height)) in found.iter().zip(&expected) {
            prop_assert_eq!(found, expected);
            prop_assert!((height - naive_height).abs() < 1e-12);
        }
        check_leaves(&tree);
    }

    #[test]
    fn ties_and_unknown_distances_still_make_one_tree(
        members in 1_usize..25, values in prop::collection::vec(0_u8..5, 25 * 25),
    ) {
        let values: Vec<f64> = values.iter().map(|&v| if v == 4 { f64::NAN } else { f64::from(v) }).collect();
        let distance = lookup(&values, members);
        let tree = Dendrogram::average_linkage(members, &distance);
        check_leaves(&tree);
        prop_assert!(tree.joins().is_sorted_by(|a, b| a.distance <= b.distance));
        prop_assert_eq!(tree.joins().len(), members - 1);
        prop_assert_eq!(clusters(&tree).last().map_or(1, |all| all.0.len()), members);
        prop_assert_eq!(&tree, &Dendrogram::average_linkage(members, &distance));
    }
}

#[test]
fn groups_stand_together_and_strangers_apart() {
    // Three groups, interleaved, and a member of which nothing is known.
    let group = |i: usize| if i == 7 { None } else { Some(i % 3) };
    let distance = |i: usize, j: usize| match (group(i), group(j)) {
        (Some(a), Some(b)) => {
            if a == b {
                0.1
            } else {
                1.0 + a.abs_diff(b) as f64
            }
        }
        _ => f64::NAN,
    };
    let tree = Dendrogram::average_linkage(10, distance);
    let groups: Vec<_> = tree.leaves().iter().map(|&leaf| group(leaf)).collect();
    let mut runs = groups.clone();
    runs.dedup();
    assert_eq!(runs.len(), 4, "{groups:?}");
    assert_eq!(tree.joins().last().unwrap().distance, 3.0);
    assert!(groups[0].is_none() || groups[9].is_none());
}

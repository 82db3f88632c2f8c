use proptest::prelude::*;
use swarm_kernels::Band;
use swarm_kernels::lower_bound::{Envelope, keogh, kim};

use crate::oracle;

proptest! {
    #[test]
    fn kim_is_below_the_distance((a, b) in oracle::pairs(), band in oracle::bands()) {
        let distance = oracle::distance_squared(&a, &b, band);
        prop_assert!(kim(&a, &b) <= distance * (1.0 + 1e-12));
        prop_assert_eq!(kim(&a, &a), 0.0);
    }

    #[test]
    fn keogh_is_below_the_distance_both_ways(
        (a, b) in oracle::lengths().prop_flat_map(|length| (oracle::series_of(length), oracle::series_of(length))),
        half_width in 0_usize..70,
    ) {
        let distance = oracle::distance_squared(&a, &b, Band::Points(half_width));
        for (series, other) in [(&a, &b), (&b, &a)] {
            let bound = keogh(series, &Envelope::new(other, half_width));
            prop_assert!(bound <= distance * (1.0 + 1e-12));
        }
    }
}

#[test]
fn bounds_are_tight_where_they_can_be() {
    let (a, b) = ([0.0, 9.0, 9.0, 0.0], [1.0, 9.0, 9.0, 2.0]);
    assert_eq!(kim(&a, &b), 5.0);
    assert_eq!(kim(&[1.0], &[3.0]), 4.0);
    assert_eq!(kim(&[1.0], &[3.0, 0.0]), 5.0);
    assert_eq!(keogh(&a, &Envelope::new(&b, 0)), 5.0);
    assert_eq!(keogh(&a, &Envelope::new(&b, 1)), 1.0 + 4.0);
}

#[test]
#[should_panic(expected = "equal length")]
fn keogh_of_unequal_lengths_is_a_programming_error() {
    keogh(&[1.0, 2.0], &Envelope::new(&[1.0], 0));
}

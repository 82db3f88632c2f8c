//! Series to measure with: random walks, the same in every run.

use swarm_kernels::z_normalize;

/// z-normalised random walks.
pub(crate) fn walks(count: usize, points: usize) -> Vec<Vec<f64>> {
    let mut random = SplitMix64(0x5eed);
    (0..count)
        .map(|_| {
            let mut at = 0.0;
            let walk: Vec<f64> = (0..points)
                .map(|_| {
                    at += random.next_unit() - 0.5;
                    at
                })
                .collect();
            z_normalize(&walk)
        })
        .collect()
}

/// In single precision.
pub(crate) fn single(series: &[Vec<f64>]) -> Vec<Vec<f32>> {
    series.iter().map(|values| values.iter().map(|&value| value as f32).collect()).collect()
}

/// Steele, Lea and Flood 2014: *Fast splittable pseudorandom number generators*.
struct SplitMix64(u64);

impl SplitMix64 {
    /// From 0 up to 1.
    fn next_unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

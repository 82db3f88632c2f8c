//! Longest common subsequence, the plain form: dynamic programming in two rows.

/// Points that match in order, with `|x - y| <= epsilon`.
pub(crate) fn matches(a: &[f64], b: &[f64], epsilon: f64) -> u32 {
    let (mut previous, mut current) = (vec![0_u32; b.len()], vec![0_u32; b.len()]);
    for &x in a {
        let (mut left, mut diagonal) = (0, 0);
        for ((cell, &up), &y) in current.iter_mut().zip(&previous).zip(b) {
            left = if (x - y).abs() <= epsilon {
                diagonal + 1
            } else if left < up {
                up
            } else {
                left
            };
            *cell = left;
            diagonal = up;
        }
        std::mem::swap(&mut previous, &mut current);
    }
    previous[b.len() - 1]
}

//! The recurrence, column by column: how many points match in order.
//!
//! `sets` are prefixes of some points, one after the other, and a range names the two whose difference matches a point
//! of the other series. Bits past the last point match nothing and stay ones.

use crate::simd::Simd;

/// With sets of so few words that the column stays in registers.
pub(super) fn in_words<const W: usize>(sets: &[u64], ranges: &[[usize; 2]]) -> usize {
    let (sets, _) = sets.as_chunks::<W>();
    let mut column = [u64::MAX; W];
    for range in ranges {
        let [below, within] = range.map(|rank| &sets[rank]);
        let mut carry = false;
        for w in 0..W {
            let matching = column[w] & within[w] & !below[w];
            let sum;
            (sum, carry) = column[w].carrying_add(matching, carry);
            column[w] = sum | (column[w] & !matching);
        }
    }
    zeros(&column)
}

/// With sets of 8 or 16 words.
pub(super) fn in_registers(simd: Simd, words: usize, sets: &[u64], ranges: &[[usize; 2]]) -> usize {
    match (simd, words) {
        // SAFETY: an instruction set that is in use was detected.
        #[cfg(target_arch = "x86_64")]
        (Simd::Avx512, 8) => unsafe { x86::in_registers::<1>(sets, ranges) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Simd::Avx512, _) => unsafe { x86::in_registers::<2>(sets, ranges) },
        _ => in_slices(words, sets, ranges, |_, _| u64::MAX),
    }
}

/// With sets of any size, and what of word `w` may match point `j` at all given by `near(j, w)`.
pub(super) fn in_slices(
    words: usize,
    sets: &[u64],
    ranges: &[[usize; 2]],
    near: impl Fn(usize, usize) -> u64,
) -> usize {
    let mut column = vec![u64::MAX; words];
    for (j, range) in ranges.iter().enumerate() {
        let [below, within] = range.map(|rank| &sets[rank * words..(rank + 1) * words]);
        let mut carry = false;
        for (w, (word, (&below, &within))) in column.iter_mut().zip(below.iter().zip(within)).enumerate() {
            let matching = *word & within & !below & near(j, w);
            let sum;
            (sum, carry) = word.carrying_add(matching, carry);
            *word = sum | (*word & !matching);
        }
    }
    zeros(&column)
}

fn zeros(column: &[u64]) -> usize {
    column.iter().map(|word| word.count_zeros() as usize).sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::simd::wide::Wide;

    /// With sets of `8 R` words.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn in_registers<const R: usize>(sets: &[u64], ranges: &[[usize; 2]]) -> usize {
        let words = 8 * R;
        // SAFETY: this function has the instructions.
        let mut column = unsafe { Wide::<R>::ones() };
        for range in ranges {
            let [below, within] = range.map(|rank| {
                let set = &sets[rank * words..(rank + 1) * words];
                // SAFETY: as above; a set has so many words.
                unsafe { Wide::load(set, 0) }
            });
            let matching = column & within.without(below);
            column = (column + matching) | column.without(matching);
        }
        column.count_zeros()
    }
}

//! Pairs of series of which one lacks points that the other has.
//!
//! A pair is correlated over the points that both have. What is prepared once serves all pairs: sums over those points
//! are the sums over all less those over the few others, and ranks among them follow from ranks among all.

use super::{dot, pairwise, rank_unit, ranks, unit};
use crate::znorm::Moments;

/// Where so little of the squares of a series is left to a pair, differences of sums are not exact enough.
const LEFT_MIN: f64 = 0.01;

/// Values below this may be so close to each other that they count as constant where others are missing.
const FAINT: f64 = 1e-130;

/// What is correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Values,
    Ranks,
}

/// What some series lack.
#[derive(Debug, Clone)]
pub(super) struct Gaps {
    form: Form,
    of: Vec<Gapped>,
}

#[derive(Debug, Clone)]
struct Gapped {
    /// The rows that are missing, ascending.
    missing: Vec<usize>,
    /// Twice the rank of each row among those that are there; 0 of those that are missing.
    ranks: Vec<u32>,
    /// Whether some of the ranks may be those of values that count as equal.
    is_faint: bool,
}

impl Gaps {
    pub(super) fn new(form: Form) -> Self {
        Self { form, of: Vec::new() }
    }

    /// Takes the next series. Leaves it in `vector` with length 1 around its mean, with zeros where it lacks points; NaN
    /// when it is constant.
    pub(super) fn push(&mut self, values: &[f64], vector: &mut [f64]) {
        let is_gapped = values.iter().fold(false, |any, x| any | x.is_nan());
        let there = || values.iter().copied().filter(|x| !x.is_nan());
        let present = is_gapped.then(|| there().collect::<Vec<f64>>());
        let present = present.as_deref().unwrap_or(values);
        let ranks = if self.form == Form::Ranks { ranks(present) } else { Vec::new() };
        let unit = match self.form {
            Form::Values => unit(present),
            Form::Ranks if Moments::of(present).is_constant() => None,
            Form::Ranks => unit(&ranks),
        };
        match unit {
            None => vector.fill(f64::NAN),
            Some(unit) if !is_gapped => vector.copy_from_slice(&unit),
            Some(unit) => {
                let mut unit = unit.into_iter();
                let next = |x: &f64| if x.is_nan() { 0.0 } else { unit.next().unwrap_or(0.0) };
                vector.iter_mut().zip(values.iter().map(next)).for_each(|(own, x)| *own = x);
            }
        }
        let mut gapped = Gapped { missing: Vec::new(), ranks: Vec::new(), is_faint: false };
        if is_gapped {
            gapped.missing = (0..values.len()).filter(|&row| values[row].is_nan()).collect();
        }
        if self.form == Form::Ranks {
            let mut ranks = ranks.into_iter();
            let next =
                |x: &f64| if x.is_nan() { 0 } else { ranks.next().map_or(0, |rank| (2.0 * rank) as u32) };
            gapped.ranks = values.iter().map(next).collect();
            gapped.is_faint = present.iter().any(|x| *x != 0.0 && x.abs() < FAINT);
        }
        self.of.push(gapped);
    }

    /// Whether a series lacks a point.
    pub(super) fn is_any(&self) -> bool {
        self.of.iter().any(|gapped| !gapped.missing.is_empty())
    }

    /// The correlation of series `i` with series `j`: their values, their vectors, and the product of those.
    pub(super) fn correlation(
        &self,
        [i, j]: [usize; 2],
        values: [&[f64]; 2],
        vectors: [&[f64]; 2],
        product: f64,
    ) -> f64 {
        let (a, b) = (&self.of[i], &self.of[j]);
        if a.missing == b.missing {
            return product;
        }
        let alone = || match self.form {
            Form::Values => pairwise(values[0], values[1], unit),
            Form::Ranks => pairwise(values[0], values[1], rank_unit),
        };
        if self.form == Form::Ranks {
            return if a.is_faint || b.is_faint { alone() } else { ranked(a, b) };
        }
        let common = vectors[0].len() - union(&a.missing, &b.missing);
        let without = |vector: &[f64], missing: &[usize]| {
            let less = missing.iter().map(|&row| vector[row]);
            less.fold((0.0, 1.0), |(sum, squares), x| (sum - x, squares - x * x))
        };
        let (sum, squares) = without(vectors[0], &b.missing);
        let (other_sum, other_squares) = without(vectors[1], &a.missing);
        let per_point = 1.0 / common as f64;
        let left = [squares - sum * sum * per_point, other_squares - other_sum * other_sum * per_point];
        if left.iter().any(|&left| left < LEFT_MIN) {
            return alone();
        }
        ((product - sum * other_sum * per_point) / (left[0] * left[1]).sqrt()).clamp(-1.0, 1.0)
    }
}

/// How many rows are in one of two ascending lists.
fn union(a: &[usize], b: &[usize]) -> usize {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        (i, j) = (i + usize::from(a[i] <= b[j]), j + usize::from(b[j] <= a[i]));
        count += 1;
    }
    count + a.len() - i + b.len() - j
}

/// Spearman's correlation over the rows that both have.
fn ranked(a: &Gapped, b: &Gapped) -> f64 {
    let (below_a, below_b) = (a.ranks_lost(b), b.ranks_lost(a));
    let is_common = |&(&x, &y): &(&u32, &u32)| x > 0 && y > 0;
    let common = a.ranks.iter().zip(&b.ranks).filter(is_common);
    let kept = |(&x, &y): (&u32, &u32)| (x - below_a[x as usize], y - below_b[y as usize]);
    let (x, y): (Vec<f64>, Vec<f64>) = common.map(kept).map(|(x, y)| (f64::from(x), f64::from(y))).unzip();
    // Twice the mean of that many ranks.
    let mean = x.len() as f64 + 1.0;
    let centred = |ranks: Vec<f64>| ranks.into_iter().map(|rank| rank - mean).collect::<Vec<f64>>();
    let (x, y) = (centred(x), centred(y));
    // NaN where one has no squares.
    (dot(&x, &y) / (dot(&x, &x).sqrt() * dot(&y, &y).sqrt())).clamp(-1.0, 1.0)
}

impl Gapped {
    /// By how much twice a rank falls when the rows that the other lacks are left out: by 2 for each lower one, by 1 for
    /// each equal one.
    fn ranks_lost(&self, other: &Gapped) -> Vec<u32> {
        let mut lost = vec![0; 2 * self.ranks.len() + 2];
        for &row in &other.missing {
            let rank = self.ranks[row] as usize;
            if rank > 0 {
                lost[rank] += 1;
                lost[rank + 1] += 1;
            }
        }
        let mut sum = 0;
        for lost in &mut lost {
            sum += *lost;
            *lost = sum;
        }
        lost
    }
}

//! The one recurrence behind every distance: a single rolling row, pruned on both sides.

use crate::band::Reach;
use crate::input::{Cancelled, KernelError, go_on};
use crate::simd::Number;

/// Rows between two questions whether to go on; the first row has one.
const CANCEL_ROWS: usize = 64;

/// The squared distance between `rows` and `columns`, or `None` when every path leaves the limits. The only error is that
/// it is `cancelled`.
///
/// A cell is alive while its value is at most `row_limit(i)` and at most `column_limit(j)`. The caller's promise:
/// every path worth finding has only living cells. Then the answer is exact. A computed cell is never below its
/// true value, because pruned neighbours count as infinite; and the cells of a path worth finding are computed
/// exactly, by induction along the path. With one constant limit the promise holds to the last bit: adding a
/// non-negative number never rounds downwards, so no cell of a path exceeds the path's end.
///
/// The living cells of a row lie in one range; nothing outside is read again, so a row costs what it keeps alive
/// (the pruning of Herrmann and Webb 2021). Left and diagonal neighbours stay in locals, and `if a < b` compiles
/// to one instruction where `f64::min` needs three: together a quarter of the plain form's time per cell.
///
/// `row` is scratch space; its contents do not matter.
pub(crate) fn sweep<T: Number>(
    rows: &[T],
    columns: &[T],
    reach: Reach,
    cancelled: Cancelled<'_>,
    row_limit: impl Fn(usize) -> T,
    column_limit: impl Fn(usize) -> T,
    row: &mut Vec<T>,
) -> Result<Option<T>, KernelError> {
    if row.len() < columns.len() {
        row.resize(columns.len(), T::INFINITY);
    }
    let row = &mut row[..columns.len()];
    // Living range of the previous row.
    let (mut alive_first, mut alive_end) = (0, 0);
    for (i, &x) in rows.iter().enumerate() {
        if i.is_multiple_of(CANCEL_ROWS) {
            go_on(cancelled)?;
        }
        let limit = row_limit(i);
        let (first, end) = (reach.first(i).max(alive_first), reach.end(i));
        if first > alive_end {
            return Ok(None);
        }
        let mut left = T::INFINITY;
        let mut diagonal = match i {
            0 => T::ZERO,
            _ if first > alive_first => row[first - 1],
            _ => T::INFINITY,
        };

        let below_living = alive_end.min(end);
        for (cell, &y) in row[first..below_living].iter_mut().zip(&columns[first..below_living]) {
            let up = *cell;
            // `left` last: it alone is on the critical path from one cell to the next.
            let earlier = if diagonal < up { diagonal } else { up };
            let least = if left < earlier { left } else { earlier };
            left = least + (x - y) * (x - y);
            *cell = left;
            diagonal = up;
        }

        // Right of the previous row's living range only the left neighbour is finite, after one diagonal step.
        let is_alive = |j: usize, value: T| value <= limit && value <= column_limit(j);
        let mut computed_end = below_living;
        let mut least = if left < diagonal { left } else { diagonal };
        while computed_end < end {
            least = least + (x - columns[computed_end]) * (x - columns[computed_end]);
            if !is_alive(computed_end, least) {
                break;
            }
            row[computed_end] = least;
            computed_end += 1;
        }

        // From the edges inwards: the dead cells are counted, the living ones cost nothing.
        alive_first = first;
        while alive_first < computed_end && !is_alive(alive_first, row[alive_first]) {
            alive_first += 1;
        }
        if alive_first == computed_end {
            return Ok(None);
        }
        alive_end = computed_end;
        while !is_alive(alive_end - 1, row[alive_end - 1]) {
            alive_end -= 1;
        }
    }
    Ok((alive_end == columns.len()).then(|| row[columns.len() - 1]))
}

//! The answer for all pairs of some series.

/// A symmetric matrix: one row and one column for each series.
#[derive(Debug, Clone, PartialEq)]
pub struct Symmetric<T> {
    order: usize,
    values: Vec<T>,
}

impl<T: Copy> Symmetric<T> {
    /// The same value everywhere.
    pub(crate) fn filled(order: usize, value: T) -> Self {
        Self { order, values: vec![value; order * order] }
    }

    pub(crate) fn set(&mut self, i: usize, j: usize, value: T) {
        self.values[i * self.order + j] = value;
        self.values[j * self.order + i] = value;
    }

    /// How many series there are.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The value of a pair.
    ///
    /// # Panics
    /// When an index is not below [`order`](Self::order).
    pub fn get(&self, i: usize, j: usize) -> T {
        self.row(i)[j]
    }

    /// The values of one series with all.
    ///
    /// # Panics
    /// When the index is not below [`order`](Self::order).
    pub fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.order..(i + 1) * self.order]
    }
}

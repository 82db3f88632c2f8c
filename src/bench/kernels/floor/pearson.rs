//! Pearson's correlation of all pairs, the plain form: two nested loops with running sums.

/// All pairs, the upper half by rows.
pub(crate) fn matrix(series: &[Vec<f64>]) -> Vec<f64> {
    let mut correlations = Vec::with_capacity(series.len() * series.len() / 2);
    for (i, a) in series.iter().enumerate() {
        for b in &series[i + 1..] {
            let (mut x, mut y, mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (&p, &q) in a.iter().zip(b) {
                x += p;
                y += q;
                xx += p * p;
                yy += q * q;
                xy += p * q;
            }
            correlations.push(correlation(a.len() as f64, [x, y, xx, yy, xy]));
        }
    }
    correlations
}

fn correlation(count: f64, [x, y, xx, yy, xy]: [f64; 5]) -> f64 {
    (count * xy - x * y) / ((count * xx - x * x) * (count * yy - y * y)).sqrt()
}

/// The same over the last points of series that grow.
pub(crate) struct Rolling {
    window: Vec<Vec<f64>>,
    oldest: usize,
    sums: Vec<f64>,
    products: Vec<Vec<f64>>,
}

impl Rolling {
    /// Over these points, each with all series.
    pub(crate) fn new(window: Vec<Vec<f64>>) -> Self {
        let order = window[0].len();
        let mut sums = vec![0.0; order];
        let mut products = vec![vec![0.0; order]; order];
        for point in &window {
            for i in 0..order {
                sums[i] += point[i];
                for j in i..order {
                    products[i][j] += point[i] * point[j];
                }
            }
        }
        Self { window, oldest: 0, sums, products }
    }

    /// Takes the next point of every series, and leaves the upper half of the matrix in `correlations`, by rows.
    pub(crate) fn step(&mut self, point: &[f64], correlations: &mut Vec<f64>) {
        let old = &self.window[self.oldest];
        for i in 0..point.len() {
            self.sums[i] += point[i] - old[i];
            for j in i..point.len() {
                self.products[i][j] += point[i] * point[j] - old[i] * old[j];
            }
        }
        correlations.clear();
        let count = self.window.len() as f64;
        for i in 0..point.len() {
            for j in i + 1..point.len() {
                let squares = [self.products[i][i], self.products[j][j], self.products[i][j]];
                let [xx, yy, xy] = squares;
                correlations.push(correlation(count, [self.sums[i], self.sums[j], xx, yy, xy]));
            }
        }
        self.window[self.oldest].copy_from_slice(point);
        self.oldest = (self.oldest + 1) % self.window.len();
    }
}

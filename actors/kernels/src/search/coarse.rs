//! The windows of a block in single precision: what rules most of them out, 16 at a time.
//!
//! Rows are told as their distance from the middle of the block, in units of the farthest one, so single precision is
//! off by at most 2⁻²⁴ of that unit. What this may add to a bound is the [room](Coarse::rooms) of a window, which is
//! large when the window's deviation is small beside the unit; such windows survive, and are looked at in full.

use super::rolling::Rolling;
use super::windows::Windows;
use crate::lower_bound;
use crate::simd::Vector;
use crate::znorm::Moments;

/// Half a unit in the last place of the largest row, and as much again.
pub(super) const ROW_ERROR: f64 = 1.0 / (1 << 24) as f64;

/// A block of consecutive windows.
#[derive(Default)]
pub(super) struct Coarse {
    /// `(x - middle) / unit`.
    pub(super) rows: Vec<f32>,
    pub(super) lower: Vec<f32>,
    pub(super) upper: Vec<f32>,
    /// Of each window: its mean, and the reciprocal of its deviation.
    means: Vec<f32>,
    scales: Vec<f32>,
    /// What single precision may add to the root of a bound of each window.
    pub(super) rooms: Vec<f32>,
    middle: f64,
    unit: f64,
}

impl Coarse {
    /// Windows of `points` rows with their moments. The envelope is not known yet.
    ///
    /// A z-value is off by at most `2⁻²³ unit / deviation` for its row and its mean, and 2⁻²² of itself; that of an
    /// envelope likewise, and where it counts it lies between those of the query and the window. Seen as the length of
    /// a vector over the points, a bound by LB_Keogh changes by no more than `sqrt(m)` times
    /// `2⁻²² unit / deviation + 2⁻²⁰`; so does LB_Kim, six terms with `|z| <= sqrt(m)` each.
    #[inline(always)]
    pub(super) fn fill(&mut self, rows: &[f64], points: usize, rolling: &Rolling) {
        let (least, most) = extremes(rows);
        self.middle = least + (most - least) / 2.0;
        // A block without spread has constant windows only, whatever the unit.
        self.unit = ((most - least) / 2.0).max(1e-300);
        let (middle, per_unit) = (self.middle, 1.0 / self.unit);
        self.rows.clear();
        self.rows.extend(rows.iter().map(|x| ((x - middle) * per_unit) as f32));
        let moments = rolling.centres.iter().zip(&rolling.shifts);
        self.means.clear();
        self.means.extend(moments.map(|(centre, shift)| ((centre - middle + shift) * per_unit) as f32));
        self.scales.clear();
        self.scales.extend(rolling.scales.iter().map(|scale| (scale * self.unit) as f32));
        let root = (points as f64).sqrt();
        let room = |scale: &f64| (root * (4.0 * ROW_ERROR * scale * self.unit + 16.0 * ROW_ERROR)) as f32;
        self.rooms.clear();
        self.rooms.extend(rolling.scales.iter().map(room));
    }

    #[inline(always)]
    pub(super) fn fill_envelope(&mut self, half_width: usize) {
        lower_bound::running_minimum(&self.rows, half_width, &mut self.lower);
        lower_bound::running_maximum(&self.rows, half_width, &mut self.upper);
    }

    /// Factor and summand that turn a row into a z-value of a window with these moments.
    pub(super) fn normalization(&self, moments: &Moments) -> (f64, f64) {
        (self.unit * moments.scale, (self.middle - moments.centre - moments.shift) * moments.scale)
    }

    /// A register of windows.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and the block has a register of windows from `from` on.
    #[inline(always)]
    pub(super) unsafe fn windows<V: Vector<Lane = f32>>(&self, from: usize) -> Windows<'_, V, 1> {
        // SAFETY: the caller vouches for both.
        unsafe {
            Windows {
                rows: &self.rows[from..],
                means: [V::load(&self.means, from)],
                scale: V::load(&self.scales, from),
            }
        }
    }
}

/// The least and the greatest value, of at least one.
#[inline(always)]
fn extremes(values: &[f64]) -> (f64, f64) {
    const LANES: usize = 32;
    let least = |x: f64, y: f64| if x < y { x } else { y };
    let most = |x: f64, y: f64| if x > y { x } else { y };
    let (mut lows, mut highs) = ([values[0]; LANES], [values[0]; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for ((low, high), &x) in lows.iter_mut().zip(&mut highs).zip(chunk) {
            (*low, *high) = (least(*low, x), most(*high, x));
        }
    }
    let low = lows.into_iter().chain(rest.iter().copied()).fold(values[0], least);
    (low, highs.into_iter().chain(rest.iter().copied()).fold(values[0], most))
}

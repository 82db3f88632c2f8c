//! The kernels, each beside its plain scalar form in the same run. One thread, processor times of one
//! call, medians.

pub(crate) mod floor;
mod reference;
pub(crate) mod samples;
mod timeframes;
mod turns;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use swarm_kernels::bars::{BarError, Gap, Visible, align, as_of_by_search};
use swarm_kernels::correlation::{RollingPearson, pearson_matrix};
use swarm_kernels::{Band, KernelError, Lcss, Search, dtw};

use self::floor::dtw::Rows;
use self::floor::pearson::{self, Rolling};
use self::floor::ucr_suite::UcrSuite;
use self::floor::{dtw::Real, lcss};
use self::reference::{Case, Reference};
use self::timeframes::Year;
use self::turns::{Timed, around, in_turns};
use super::{Compared, Side};
use crate::input::InputError;

/// Points of the series of one DTW.
const DTW_POINTS: usize = 1000;

/// Distinct pairs that a median of single DTW distances is over, at least: one pair again and again would train the
/// branch predictor.
const DTW_PAIRS: usize = 99;

/// Series that are compared all with all by DTW, and their points.
const ALL_PAIRS: (usize, usize) = (60, 256);

/// Series of a correlation matrix: a hundred strategies, over four years of days and over one.
const MATRIX_SERIES: usize = 100;
const MATRIX_POINTS: [usize; 2] = [1000, 252];

/// Within which distance points match for the LCSS, in deviations.
const EPSILON: f64 = 0.25;

/// Pairs of a turn of the control of the LCSS matrix, whose time is that of all pairs in proportion.
const LCSS_TURN_PAIRS: usize = 45;

/// Why there are no (further) figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelsError {
    #[error(transparent)]
    Data(#[from] InputError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Bars(#[from] BarError),
    #[error("a wrong answer: {0}")]
    Wrong(String),
    #[error("{0}")]
    Print(String),
}

/// Where the figures go, one by one.
pub(crate) type Report<'a> = dyn FnMut(&Compared) -> Result<(), String> + 'a;

/// Measures every case whose name holds `only`, for `time` on each side or as long as it takes once. Searches need the
/// folder of `data`.
pub(crate) fn run(
    time: Duration,
    only: &str,
    data: Option<&Path>,
    report: &mut Report<'_>,
) -> Result<(), KernelsError> {
    let reference = data.map(Reference::read).transpose()?;
    let mut bench = Bench { time, only, report };
    bench.dtw()?;
    bench.dtw_all_pairs()?;
    bench.lcss_matrix()?;
    bench.pearson()?;
    bench.align()?;
    reference.map_or(Ok(()), |reference| bench.search(&reference))
}

struct Bench<'a> {
    time: Duration,
    only: &'a str,
    report: &'a mut Report<'a>,
}

impl Bench<'_> {
    /// Whether a figure is wanted: its metric and the values of its parameters, joined by `-`.
    fn wants(&self, metric: &str, params: &Value) -> bool {
        let values = params.as_object().into_iter().flatten().map(|(_, value)| match value {
            Value::String(word) => word.clone(),
            other => other.to_string(),
        });
        let name: Vec<String> = std::iter::once(metric.to_owned()).chain(values).collect();
        name.join("-").contains(self.only)
    }

    fn figure(
        &mut self,
        metric: &'static str,
        unit: &'static str,
        params: Value,
        timed: Timed,
    ) -> Result<(), KernelsError> {
        let Timed { swarm_ms: swarm, floor_ms } = timed;
        let controls = vec![(Side::Floor, floor_ms)];
        let compared = Compared { bench: "kernels", metric, unit, params, swarm, controls };
        (self.report)(&compared).map_err(KernelsError::Print)
    }

    fn dtw(&mut self) -> Result<(), KernelsError> {
        let double = samples::walks(DTW_PAIRS + 1, DTW_POINTS);
        let single = samples::single(&double);
        for band_percent in [100, 10, 1] {
            let band = Band::percent(f64::from(band_percent), DTW_POINTS)?;
            let params = |dtype: &str, path: bool| json!({ "n": DTW_POINTS, "dtype": dtype, "band_percent": band_percent, "path": path });
            let distance = |a: &[f64], b: &[f64]| dtw::distance_squared(a, b, band);
            self.dtw_distance(&double, band, params("f64", false), distance)?;
            let distance = |a: &[f32], b: &[f32]| dtw::distance_squared_f32(a, b, band);
            self.dtw_distance(&single, band, params("f32", false), distance)?;
            self.dtw_path(&double, band, params("f64", true))?;
        }
        Ok(())
    }

    fn dtw_distance<T: Real>(
        &mut self,
        series: &[Vec<T>],
        band: Band,
        params: Value,
        distance_squared: impl Fn(&[T], &[T]) -> Result<T, KernelError>,
    ) -> Result<(), KernelsError> {
        if !self.wants("dtw_ms", &params) {
            return Ok(());
        }
        let mut rows = Rows::new(DTW_POINTS);
        let timed = in_turns(
            self.time,
            &neighbours(series),
            |(a, b)| distance_squared(a, b),
            |(a, b)| rows.distance_squared(a, b, half_width(band)),
        );
        self.figure("dtw_ms", "ms", params, timed)
    }

    fn dtw_path(&mut self, series: &[Vec<f64>], band: Band, params: Value) -> Result<(), KernelsError> {
        if !self.wants("dtw_ms", &params) {
            return Ok(());
        }
        let mut rows = Rows::new(DTW_POINTS);
        let mut moves = vec![0; DTW_POINTS * DTW_POINTS];
        let timed = in_turns(
            self.time,
            &neighbours(series),
            |(a, b)| dtw::align(a, b, band),
            |(a, b)| rows.align(a, b, half_width(band), &mut moves),
        );
        self.figure("dtw_ms", "ms", params, timed)
    }

    fn dtw_all_pairs(&mut self) -> Result<(), KernelsError> {
        let (count, points) = ALL_PAIRS;
        let series = samples::single(&samples::walks(count, points));
        for band_percent in [100, 10] {
            let params =
                json!({ "series": count, "n": points, "dtype": "f32", "band_percent": band_percent });
            if !self.wants("dtw_all_pairs_us", &params) {
                continue;
            }
            let band = Band::percent(f64::from(band_percent), points)?;
            let mut rows = Rows::new(points);
            let floor = |()| {
                let half_width = half_width(band);
                pairs(&series).map(|(a, b)| rows.distance_squared(a, b, half_width)).sum::<f32>()
            };
            let timed = in_turns(self.time, &[()], |()| dtw::all_pairs_f32(&series, band), floor);
            let us_per_pair = 1e3 / pairs(&series).count() as f64;
            self.figure("dtw_all_pairs_us", "us", params, timed.times(us_per_pair))?;
        }
        Ok(())
    }

    fn lcss_matrix(&mut self) -> Result<(), KernelsError> {
        let lcss = Lcss::new(EPSILON)?;
        for points in MATRIX_POINTS {
            let params = json!({ "series": MATRIX_SERIES, "n": points, "epsilon": EPSILON });
            if !self.wants("lcss_matrix_ms", &params) {
                continue;
            }
            let series = samples::walks(MATRIX_SERIES, points);
            let pairs: Vec<_> = pairs(&series).collect();
            let mut turns = pairs.chunks_exact(LCSS_TURN_PAIRS).cycle();
            let floor = |()| -> u32 {
                let turn = turns.next().into_iter().flatten();
                turn.map(|(a, b)| lcss::matches(a, b, EPSILON)).sum()
            };
            let mut timed = in_turns(self.time, &[()], |()| lcss.all_pairs(&series), floor);
            timed.floor_ms *= pairs.len() as f64 / LCSS_TURN_PAIRS as f64;
            self.figure("lcss_matrix_ms", "ms", params, timed)?;
        }
        Ok(())
    }

    fn pearson(&mut self) -> Result<(), KernelsError> {
        for points in MATRIX_POINTS {
            let params = json!({ "series": MATRIX_SERIES, "n": points });
            let series = samples::walks(MATRIX_SERIES, points);
            if self.wants("pearson_matrix_ms", &params) {
                let swarm = |()| pearson_matrix(&series);
                let timed = in_turns(self.time, &[()], swarm, |()| pearson::matrix(&series));
                self.figure("pearson_matrix_ms", "ms", params.clone(), timed)?;
            }
            if self.wants("pearson_rolling_us", &params) {
                let timed = self.pearson_rolling(&series)?;
                self.figure("pearson_rolling_us", "us", params, timed.times(1e3))?;
            }
        }
        Ok(())
    }

    /// A step takes the next point of every series and gives the correlations of all pairs.
    fn pearson_rolling(&self, series: &[Vec<f64>]) -> Result<Timed, KernelsError> {
        let points: Vec<Vec<f64>> =
            (0..series[0].len()).map(|at| series.iter().map(|values| values[at]).collect()).collect();
        let mut rolling = RollingPearson::new(series.len(), points.len());
        for point in &points {
            rolling.push(point)?;
        }
        let mut floor = Rolling::new(points.clone());
        let mut correlations = Vec::new();
        let steps: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
        Ok(in_turns(
            self.time,
            &steps,
            |point| rolling.push(point).map(|()| rolling.matrix()),
            |point| {
                floor.step(point, &mut correlations);
                correlations.last().copied()
            },
        ))
    }

    fn align(&mut self) -> Result<(), KernelsError> {
        let Year { frames, grid } = Year::new()?;
        let params = json!({ "timeframes": frames.len(), "rows": grid.len() });
        if !self.wants("align_ms", &params) {
            return Ok(());
        }
        let floor = |()| {
            let mut visible = vec![Visible::default(); frames.len() * grid.len()];
            for (frame, visible) in frames.iter().zip(visible.chunks_exact_mut(grid.len())) {
                as_of_by_search(frame, &grid, visible);
            }
            visible
        };
        let timed = in_turns(self.time, &[()], |()| align(&frames, &grid, Gap::LastKnown), floor);
        self.figure("align_ms", "ms", params, timed)
    }

    fn search(&mut self, reference: &Reference<'_>) -> Result<(), KernelsError> {
        for case in &reference.cases {
            let params = json!({ "data": case.data.word(), "m": case.m, "window": case.window });
            if !self.wants("search_ms", &params) {
                continue;
            }
            let (series, query) = reference.inputs(case)?;
            let timed = self.search_case(case, series, &query)?;
            self.figure("search_ms", "ms", params, timed)?;
        }
        Ok(())
    }

    /// Both sides find the exact answer every time, or there is no figure.
    fn search_case(&self, case: &Case, series: &[f64], query: &[f64]) -> Result<Timed, KernelsError> {
        let mut wrong = None;
        let mut floor_wrong = None;
        let swarm = || -> Result<(), KernelError> {
            let found = Search::new(query, case.window)?.run(series)?;
            let (start, distance) =
                found.matches.first().map_or((0, f64::INFINITY), |best| (best.start, best.distance_squared));
            wrong = wrong.take().or(case.check(start, distance).err());
            Ok(())
        };
        let floor = || {
            let (start, distance) = UcrSuite::new(query, case.window).run(series);
            floor_wrong = floor_wrong.take().or(case.check(start, distance).err());
        };
        let timed = around(self.time, swarm, floor);
        match (wrong, floor_wrong) {
            (None, None) => Ok(timed),
            (Some(wrong), _) => Err(KernelsError::Wrong(wrong)),
            (None, Some(wrong)) => Err(KernelsError::Wrong(format!("the control: {wrong}"))),
        }
    }
}

/// Each series with the one that follows it.
fn neighbours<T>(series: &[Vec<T>]) -> Vec<(&[T], &[T])> {
    series.windows(2).map(|two| (&two[0][..], &two[1][..])).collect()
}

/// Every series with all that follow it.
fn pairs<T>(series: &[Vec<T>]) -> impl Iterator<Item = (&[T], &[T])> {
    series.iter().enumerate().flat_map(|(i, a)| series[i + 1..].iter().map(move |b| (&a[..], &b[..])))
}

fn half_width(band: Band) -> usize {
    match band {
        Band::Full => DTW_POINTS,
        Band::Points(points) => points,
    }
}

//! The search cases, their series and their exact answers, from a folder of data.

use std::path::Path;

use serde::Deserialize;

use crate::input::{self, InputError, Source};

/// Largest document with cases that is read.
const CASES_BYTES_MAX: u64 = 1 << 20;

/// Rows of the series that are searched.
const SERIES_ROWS: usize = 1_000_000;

/// Where the query of the real series begins.
const QUERY_ROW: usize = 100_000;

/// What distances of the reference, computed elsewhere, may differ by, relative to themselves.
const DISTANCE_TOLERANCE: f64 = 1e-9;

/// One case with its exact answer.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Case {
    pub(super) data: Data,
    pub(super) m: usize,
    pub(super) window: usize,
    start: usize,
    distance_squared: f64,
}

/// Which series is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Data {
    Real,
    RandomWalk,
}

impl Data {
    pub(super) fn word(self) -> &'static str {
        match self {
            Data::Real => "real",
            Data::RandomWalk => "random_walk",
        }
    }
}

impl Case {
    /// Says what is wrong with an answer.
    pub(super) fn check(&self, start: usize, distance_squared: f64) -> Result<(), String> {
        let is_near =
            (distance_squared - self.distance_squared).abs() <= DISTANCE_TOLERANCE * self.distance_squared;
        if start == self.start && is_near {
            return Ok(());
        }
        let Case { data, m, window, start: expected, distance_squared: expected_distance } = self;
        Err(format!(
            "the search in {} with m={m} and window={window} found {distance_squared} at {start}, \
             not {expected_distance} at {expected}",
            data.word()
        ))
    }
}

/// The cases of `search_bench_reference.json` and what they need.
pub(super) struct Reference<'a> {
    folder: &'a Path,
    pub(super) cases: Vec<Case>,
    real: Vec<f64>,
    random_walk: Vec<f64>,
    query: Vec<f64>,
}

impl<'a> Reference<'a> {
    pub(super) fn read(folder: &'a Path) -> Result<Self, InputError> {
        let document = file(folder, "search_bench_reference.json");
        let cases = serde_json::from_str(&input::text(&document, CASES_BYTES_MAX)?)
            .map_err(|error| InputError::at(&document, error.line(), error.column(), error.to_string()))?;
        let close =
            |name: &str| input::column(&file(folder, &format!("bitfinex_1m/{name}_1m.csv.gz")), "close");
        let mut real = close("BTCUSD_2017")?;
        real.extend(close("BTCUSD_2018")?);
        real.truncate(SERIES_ROWS);
        let random_walk = input::column(&file(folder, "random_walk/series.csv.gz"), "value")?;
        Ok(Self { folder, cases, real, random_walk, query: close("ETHUSD_2018")? })
    }

    /// The series and the query of a case.
    pub(super) fn inputs(&self, case: &Case) -> Result<(&[f64], Vec<f64>), InputError> {
        match case.data {
            Data::Real => {
                let rows = self.query.get(QUERY_ROW..).and_then(|rows| rows.get(..case.m));
                let rows = rows.ok_or_else(|| {
                    let message = format!("has no {} rows from row {QUERY_ROW} on", case.m);
                    InputError::whole(&file(self.folder, "bitfinex_1m/ETHUSD_2018_1m.csv.gz"), message)
                })?;
                Ok((&self.real, rows.to_vec()))
            }
            Data::RandomWalk => {
                let query = file(self.folder, &format!("random_walk/query_{}.csv.gz", case.m));
                Ok((&self.random_walk, input::column(&query, "value")?))
            }
        }
    }
}

fn file(folder: &Path, name: &str) -> Source {
    Source::File(folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_differs_is_wrong() {
        let text = r#"{"data": "random_walk", "m": 128, "window": 6, "start": 7, "distance_squared": 10.0}"#;
        let case: Case = serde_json::from_str(text).unwrap();
        assert_eq!(case.check(7, 10.0 + 1e-9), Ok(()));
        assert!(case.check(8, 10.0).unwrap_err().contains("random_walk with m=128 and window=6"));
        assert!(case.check(7, 10.0 + 1e-7).is_err());
        assert!(case.check(7, f64::NAN).is_err());
    }
}

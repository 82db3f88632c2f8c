//! What counts as a window, and how two windows are compared.

use serde::{Deserialize, Serialize};

/// The parameters of a search for similar windows; all lengths are in bars unless they say days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRule {
    /// The length of a window.
    pub length: u16,
    /// How many bars after a window show what followed it.
    pub following: u16,
    /// The longest gap between neighbouring bars of a window and what follows it, in calendar days.
    pub max_gap_days: u16,
    /// Half the width of the warping band.
    pub band: u16,
    /// How many matches are wanted.
    pub top: u16,
    /// How far a match starts from every better one in the same series, at the least.
    pub apart: u16,
}

/// Why a rule cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter} is {value}, expected is {min} to {max}")]
pub struct InvalidRule {
    /// The name of the parameter.
    pub parameter: &'static str,
    /// Its value.
    pub value: u16,
    /// The least value that makes sense.
    pub min: u16,
    /// The greatest value that is carried out.
    pub max: u16,
}

impl WindowRule {
    /// The rule of the job `similar-windows`: a quarter of a year of daily bars and the month that
    /// followed; ten days let holidays pass but no halt of trading.
    pub const DAILY: Self = Self { length: 60, following: 20, max_gap_days: 10, band: 3, top: 5, apart: 60 };

    /// Whether the rule makes sense and bounds the work: a rule comes from a peer.
    ///
    /// The worst rule that passes costs 1,000 × 1,000 cells a candidate.
    pub fn check(&self) -> Result<(), InvalidRule> {
        let bounds = [
            ("length", self.length, 2, 1_000),
            ("following", self.following, 1, 1_000),
            ("max_gap_days", self.max_gap_days, 1, 1_000),
            ("band", self.band, 0, self.length.saturating_sub(1)),
            ("top", self.top, 1, 100),
            ("apart", self.apart, 1, 10_000),
        ];
        match bounds.into_iter().find(|(_, value, min, max)| value < min || value > max) {
            None => Ok(()),
            Some((parameter, value, min, max)) => Err(InvalidRule { parameter, value, min, max }),
        }
    }

    /// A window and the bars that follow it.
    pub fn span(&self) -> usize {
        usize::from(self.length) + usize::from(self.following)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_rules_are_refused_by_name() {
        assert_eq!(WindowRule::DAILY.check(), Ok(()));
        let rule = WindowRule::DAILY;
        for (rule, parameter) in [
            (WindowRule { length: 0, ..rule }, "length"),
            (WindowRule { length: u16::MAX, ..rule }, "length"),
            (WindowRule { following: 0, ..rule }, "following"),
            (WindowRule { max_gap_days: 0, ..rule }, "max_gap_days"),
            (WindowRule { band: 60, ..rule }, "band"),
            (WindowRule { top: 0, ..rule }, "top"),
            (WindowRule { top: 101, ..rule }, "top"),
            (WindowRule { apart: 0, ..rule }, "apart"),
        ] {
            assert_eq!(rule.check().unwrap_err().parameter, parameter);
        }
    }
}

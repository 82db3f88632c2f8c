//! Calendar days without a calendar library.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// A day of the proleptic Gregorian calendar in the years 1 to 9999.
///
/// On the wire it is the number of days since 1970-01-01, in JSON the text `YYYY-MM-DD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

/// Why a text or a number is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no day: a date in the years 1 to 9999, as YYYY-MM-DD or YYYYMMDD, is expected")]
pub struct InvalidDay(pub String);

/// 0001-01-01 and 9999-12-31.
const RANGE: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

impl Day {
    /// The last one, 9999-12-31.
    pub const MAX: Self = Self(*RANGE.end());

    /// The day of a year, month (1 to 12) and day of the month, when the calendar has it.
    pub fn from_civil(year: i32, month: u32, day: u32) -> Option<Self> {
        let in_year = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let candidate = in_year.then(|| Self(days_from_civil(year, month, day)))?;
        // The arithmetic carries 30 February over into March: such a date does not come back.
        (candidate.civil() == (year, month, day)).then_some(candidate)
    }

    /// Year, month and day of the month.
    pub fn civil(self) -> (i32, u32, u32) {
        civil_from_days(self.0)
    }

    /// How many days lie between `earlier` and this day; negative when it is the later one.
    pub fn days_since(self, earlier: Self) -> i32 {
        self.0 - earlier.0
    }

    /// The day that is `days` after 1970-01-01, when it is within the years 1 to 9999.
    pub fn from_epoch_days(days: i32) -> Option<Self> {
        RANGE.contains(&days).then_some(Self(days))
    }
}

/// Days since 1970-01-01 of a civil date. Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms": years begin in March, so that the leap day is the last one, and eras of 400 years
/// have 146,097 days each.
fn days_from_civil(year: i32, month: u32, day: u32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month as i32 + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day as i32 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`], from the same source.
fn civil_from_days(days: i32) -> (i32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i32::from(month <= 2);
    (year, month as u32, day as u32)
}

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let parts = match text.as_bytes() {
            [_, _, _, _, b'-', _, _, b'-', _, _] => (text.get(..4), text.get(5..7), text.get(8..)),
            [_, _, _, _, _, _, _, _] => (text.get(..4), text.get(4..6), text.get(6..)),
            _ => (None, None, None),
        };
        let digits = |part: Option<&str>| {
            let part = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            part.and_then(|part| part.parse::<u32>().ok())
        };
        digits(parts.0)
            .zip(digits(parts.1))
            .zip(digits(parts.2))
            .and_then(|((year, month), day)| Self::from_civil(year as i32, month, day))
            .ok_or_else(|| InvalidDay(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            let days = i32::deserialize(deserializer)?;
            Self::from_epoch_days(days).ok_or_else(|| de::Error::custom(InvalidDay(days.to_string())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_begins_with_1970_and_knows_leap_years() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2000-03-01", 11_017),
            ("2021-03-31", 18_717),
            ("0001-01-01", *RANGE.start()),
            ("9999-12-31", *RANGE.end()),
        ] {
            let day: Day = text.parse().unwrap();
            assert_eq!((day.0, day.to_string().as_str()), (days, text));
            assert_eq!(text.replace('-', "").parse(), Ok(day), "without hyphens");
        }
    }

    #[test]
    fn days_follow_each_other_through_three_centuries() {
        let mut expected = (1800, 1, 1);
        let first = Day::from_civil(1800, 1, 1).unwrap().0;
        for days in first..first + 110_000 {
            assert_eq!(Day(days).civil(), expected);
            let (year, month, day) = expected;
            assert_eq!(Day::from_civil(year, month, day), Some(Day(days)));
            let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
            let length =
                [31, 28 + u32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            expected = match (day == length, month) {
                (false, _) => (year, month, day + 1),
                (true, 12) => (year + 1, 1, 1),
                (true, _) => (year, month + 1, 1),
            };
        }
    }

    #[test]
    fn what_the_calendar_lacks_is_refused() {
        for bad in [
            "",
            "1900-02-29",
            "2021-02-30",
            "2021-13-01",
            "2021-00-10",
            "2021-01-00",
            "0000-01-01",
            "202l0101",
            "+0210101",
            "2021-1-01",
            "20210101 ",
            "2021/01/01",
            "ä210101",
        ] {
            assert_eq!(bad.parse::<Day>(), Err(InvalidDay(bad.into())), "{bad:?} passed");
        }
    }
}

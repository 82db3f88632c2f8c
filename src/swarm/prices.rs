//! Daily bars from files in the layout of QuantConnect's Lean, as series of total-return closes.

use std::ops::RangeInclusive;
use std::path::Path;

use swarm_protocols::similar_windows::{BARS_MAX, CLOSE_RANGE, Day, SeriesPart, Symbol};

use crate::input::{InputError, Row, Rows, Source, note};

/// How the name of a file with bars ends.
const BARS_SUFFIX: &str = "_daily.csv.gz";

/// Whether `folder` can be one with bars.
pub(crate) fn check_folder(folder: &Path) -> Result<(), InputError> {
    if folder.is_dir() {
        return Ok(());
    }
    let message = if folder.exists() { "is not a directory" } else { "there is no such folder" };
    Err(InputError::whole(&Source::File(folder.to_owned()), message))
}

/// Whether `folder` holds bars of a symbol.
pub(crate) fn check_symbol(folder: &Path, symbol: &Symbol) -> Result<(), InputError> {
    let file = format!("{}{BARS_SUFFIX}", prefix(symbol));
    if folder.join(&file).exists() {
        return Ok(());
    }
    let message = format!("holds no bars of {symbol}: there is no {file}");
    Err(InputError::whole(&Source::File(folder.to_owned()), message))
}

/// Loads the series of a symbol from `folder`.
///
/// A close is the traded one times both factors of the first factor row dated on or after its day,
/// in the unit of the file, 1/10000 dollar. Bars before the first date of the map file, or after its
/// last one, belong to another security and are dropped; as by Lean's own reader, so are bars from more than a day before
/// the first factor row, whose factor nobody knows.
pub(crate) fn load(folder: &Path, symbol: &Symbol) -> Result<SeriesPart, InputError> {
    check_folder(folder)?;
    check_symbol(folder, symbol)?;
    let prefix = prefix(symbol);
    let source = |suffix: &str| Source::File(folder.join(format!("{prefix}{suffix}")));
    let (bars, factor_file) = (source(BARS_SUFFIX), source("_factor_files.csv"));
    let listed = listing(&source("_map_files.csv"))?;
    let factors = factors(&factor_file)?;

    let (mut days, mut closes) = (Vec::new(), Vec::new());
    let first_factor = factors.first().map(|(first, _)| *first);
    let mut factors = factors.into_iter().peekable();
    let mut rows = Rows::open(&bars)?;
    let [datetime, close] = rows.header(["datetime", "close"])?;
    let mut previous = None;
    let mut bars_left = BARS_MAX;
    while let Some(row) = rows.next()? {
        // Those that are dropped count as well: the file is not read without end.
        bars_left = bars_left
            .checked_sub(1)
            .ok_or_else(|| InputError::whole(&bars, format!("holds more than {BARS_MAX} bars")))?;
        // Daily bars carry the time of day 00:00.
        let day = later_day(&row, datetime, &mut previous, |text| text.split(' ').next().and_then(day))?;
        let traded = row.field(close, "a price above zero in whole 1/10000 dollar", |text| {
            text.parse::<u64>().ok().filter(|price| *price > 0)
        })?;
        if !listed.contains(&day) || first_factor.is_some_and(|first| first.days_since(day) > 1) {
            continue;
        }
        while factors.next_if(|(until, _)| *until < day).is_some() {}
        let Some((_, factor)) = factors.peek() else {
            let message = format!("has no row dated on or after {day}, the day of a bar");
            return Err(InputError::whole(&factor_file, message));
        };
        days.push(day);
        closes.push(traded as f64 * factor);
    }
    SeriesPart::new(symbol.clone(), days, closes)
        .map_err(|error| InputError::whole(&bars, format!("is no series: {error}")))
}

/// How the names of all files of a symbol begin.
fn prefix(symbol: &Symbol) -> String {
    symbol.as_str().to_ascii_lowercase()
}

fn day(text: &str) -> Option<Day> {
    // Without hyphens, as everywhere in these files.
    text.parse().ok().filter(|_| text.len() == 8)
}

/// The day in a column, which is later than that of the row before.
fn later_day(
    row: &Row<'_>,
    column: usize,
    previous: &mut Option<Day>,
    parse: impl FnOnce(&str) -> Option<Day>,
) -> Result<Day, InputError> {
    let day = row.field(column, "a day as YYYYMMDD", parse)?;
    match previous.replace(day) {
        Some(before) if before >= day => {
            Err(row.unexpected(column, &format!("a later day than {before}, that of the row before")))
        }
        _ => Ok(day),
    }
}

/// The days between the dates of a map file, which lists until when an exchange has called the security what: the first
/// row is its first day, the last one its last. A file of one row says nothing of a last day.
fn listing(file: &Source) -> Result<RangeInclusive<Day>, InputError> {
    let mut rows = Rows::skipping_blank(file)?;
    let mut days = Vec::new();
    while let Some(row) = rows.next()? {
        days.push(row.field(0, "a day as YYYYMMDD", day)?);
        if days.len() > BARS_MAX {
            return Err(InputError::whole(file, format!("holds more than {BARS_MAX} rows")));
        }
    }
    days.sort_unstable();
    match days[..] {
        [] => Err(InputError::whole(file, "is empty, expected rows of day, ticker and exchange")),
        [first] => Ok(first..=Day::MAX),
        [first, .., last] => Ok(first..=last),
    }
}

/// What is said of the days of rows that were left out.
fn of_left_out(days: &[Day]) -> Option<String> {
    let (first, count) = (days.first()?, days.len());
    let rows = if count == 1 { "1 row is" } else { &format!("{count} rows are") };
    Some(format!(
        "{rows} left out, the first that of {first}: with a factor of 0, an infinite number or an exponent above 0; the \
         next row holds for its days too"
    ))
}

/// The last day of each factor, and the product of price factor and split factor until then.
///
/// As for Lean's own reader, rows with a number that is infinite or has an exponent above 0, which has lost its digits,
/// whatever it is for, and those whose product of factors is 0 are no rows. A note says how many there are.
fn factors(file: &Source) -> Result<Vec<(Day, f64)>, InputError> {
    let mut rows = Rows::skipping_blank(file)?;
    let mut factors: Vec<(Day, f64)> = Vec::new();
    let mut previous = None;
    let mut left_out = Vec::new();
    while let Some(row) = rows.next()? {
        let until = later_day(&row, 0, &mut previous, day)?;
        let text = row.text().to_ascii_lowercase();
        if text.contains("inf") || text.contains("e+") {
            left_out.push(until);
            continue;
        }
        let is_factor = |factor: &f64| *factor == 0.0 || CLOSE_RANGE.contains(factor);
        let factor = |text: &str| text.parse::<f64>().ok().filter(is_factor);
        let price = row.field(1, "a price factor of 0, or 1e-12 to 1e15", factor)?;
        let split = row.field(2, "a split factor of 0, or 1e-12 to 1e15", factor)?;
        if factors.len() == BARS_MAX {
            return Err(InputError::whole(file, format!("holds more than {BARS_MAX} factors")));
        }
        if price * split > 0.0 {
            factors.push((until, price * split));
        } else {
            left_out.push(until);
        }
    }
    if let Some(message) = of_left_out(&left_out) {
        note(InputError::whole(file, message));
    }
    Ok(factors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temp_folder::TempFolder;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    use swarm_protocols::similar_windows::{Distribution, QueryMatches, WindowRule, Windows};

    const BARS: &str = "datetime,open,high,low,close,volume\n\
        20200102 00:00,1,1,1,100,5\n20200103 00:00,1,1,1,110,5\n20200106 00:00,1,1,1,60,5\n\
        20200107 00:00,1,1,1,70,5\n";
    const FACTORS: &str = "20200102,1,1,1\n20200103,0.9,0.5,1\n20200106,0.8,1,1\n20501231,1,1,0\n";
    const MAP: &str = "20200103,ab,N\n20501231,ab,N\n";

    fn folder(bars: &str, factors: &str, map: &str) -> TempFolder {
        let folder = TempFolder::new();
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(bars.as_bytes()).unwrap();
        std::fs::write(folder.join("ab_daily.csv.gz"), gz.finish().unwrap()).unwrap();
        std::fs::write(folder.join("ab_factor_files.csv"), factors).unwrap();
        std::fs::write(folder.join("ab_map_files.csv"), map).unwrap();
        folder
    }

    fn load_ab(bars: &str, factors: &str, map: &str) -> Result<SeriesPart, InputError> {
        load(&folder(bars, factors, map), &"AB".parse().unwrap())
    }

    #[test]
    fn closes_carry_the_factors_of_the_first_row_on_or_after_their_day() {
        let part = load_ab(BARS, FACTORS, MAP).unwrap();
        let days: Vec<String> = part.days().iter().map(Day::to_string).collect();
        assert_eq!(days, ["2020-01-03", "2020-01-06", "2020-01-07"], "an earlier bar is another security");
        assert_eq!(part.closes(), [110.0 * (0.9 * 0.5), 60.0 * 0.8, 70.0]);
    }

    #[test]
    fn f7_rows_that_the_format_skips_change_nothing() {
        let expected = load_ab(BARS, FACTORS, MAP).unwrap();
        for rows in [
            "20191230,inf,inf,0\n",
            "20191230,0,1,0\n",
            "20191230,1,0,1\n",
            "20191230,INF,0,0\n",
            "20191230,1.6e+6,1,2\n",
            "20191230,inf,1,0\n20191231,1,inf,0\n20200101,0,0,0\n",
            "20191230,0.5,1,inf\n",
            "20191230,0.5,1,-Infinity\n",
            "20191230,0.5,1E+0,1\n",
            "\n \r\n",
        ] {
            assert_eq!(load_ab(BARS, &format!("{rows}{FACTORS}"), MAP).unwrap(), expected, "{rows}");
        }
        for row in ["20200105,inf,inf,0\n", "20200105,0.1,1,inf\n", "\n\n"] {
            let within = FACTORS.replace("20200106,", &format!("{row}20200106,"));
            assert_eq!(load_ab(BARS, &within, MAP).unwrap(), expected, "{row}");
        }
        assert_eq!(
            load_ab(BARS, FACTORS, &MAP.replace('\n', "\n\n")).unwrap(),
            expected,
            "blank lines of a map"
        );
        let nothing = load_ab(BARS, "20501231,inf,inf,0\n", MAP).unwrap_err().to_string();
        assert!(nothing.contains("factor_files.csv: has no row dated on or after 2020-01-03"), "{nothing}");
    }

    #[test]
    fn m4_rows_that_are_left_out_are_counted() {
        let days = ["2020-01-02", "2020-01-03"].map(|day| day.parse().unwrap());
        assert_eq!(of_left_out(&[]), None);
        let one = of_left_out(&days[..1]).unwrap();
        assert!(
            one.starts_with("1 row is left out, the first that of 2020-01-02: with a factor of 0,"),
            "{one}"
        );
        assert!(
            of_left_out(&days).unwrap().starts_with("2 rows are left out, the first that of 2020-01-02: ")
        );
    }

    #[test]
    fn m5_a_day_in_another_format_is_told_from_one_out_of_order() {
        let format = "expected a day as YYYYMMDD, found";
        let order = "expected a later day than 2020-01-03, that of the row before, found \"20200103";
        for (bars, factors, expected) in [
            (
                BARS.replace("20200102 ", "2020-01-02 "),
                FACTORS.into(),
                format!("daily.csv.gz:2:1: {format} \"2020-01-02 00:00\""),
            ),
            (
                BARS.replace("20200106 ", "20200103 "),
                FACTORS.into(),
                format!("daily.csv.gz:4:1: {order} 00:00\""),
            ),
            (
                BARS.into(),
                format!("date,a,b,c\n{FACTORS}"),
                format!("factor_files.csv:1:1: {format} \"date\""),
            ),
            (
                BARS.into(),
                FACTORS.replace("20200106", "20200103"),
                format!("factor_files.csv:3:1: {order}\""),
            ),
            (
                BARS.into(),
                FACTORS.replace(',', ";"),
                "factor_files.csv:1:9: the columns seem to be separated by semicolons, expected commas"
                    .into(),
            ),
        ] {
            let error = load_ab(&bars, &factors, MAP).unwrap_err().to_string();
            assert!(error.ends_with(&expected), "{error}\ndoes not end with\n{expected}");
        }
    }

    #[test]
    fn m3_a_row_of_bars_has_as_many_fields_as_the_header() {
        for (row, place) in
            [(",60,5,7", "4:28: expected 6 fields, found 7"), (",60", "4:24: expected 6 fields, found 5")]
        {
            let error = load_ab(&BARS.replace(",60,5", row), FACTORS, MAP).unwrap_err().to_string();
            assert!(error.ends_with(&format!("daily.csv.gz:{place}")), "{error}");
        }
    }

    #[test]
    fn n6_a_factor_beyond_any_price_is_refused_where_it_stands() {
        for factor in ["1e308", "1e-300"] {
            let error = load_ab(BARS, &FACTORS.replace("0.9", factor), MAP).unwrap_err().to_string();
            assert!(
                error.contains("factor_files.csv:2:10: expected a price factor of 0, or 1e-12 to 1e15"),
                "{error}"
            );
        }
    }

    #[test]
    fn f7_bars_begin_a_day_before_the_first_factor_row_that_is_one() {
        for (factors, first) in [
            ("20200103,inf,1,1\n20200106,0.8,1,1\n20501231,1,1,0\n", "2020-01-06"),
            ("20200103,0,1,1\n20200104,0.8,1,1\n20501231,1,1,0\n", "2020-01-03"),
            ("20200106,0.8,1,inf\n20200107,0.8,1,1\n20501231,1,1,0\n", "2020-01-06"),
            ("20200107,0.8,1,1\n20501231,1,1,0\n", "2020-01-06"),
        ] {
            let part = load_ab(BARS, factors, MAP).unwrap();
            assert_eq!(part.days()[0].to_string(), first, "{factors}");
        }
    }

    #[test]
    fn f7_bars_after_the_last_date_of_the_map_belong_to_another_security() {
        for (map, last) in [
            ("20200103,ab,N\n20200106,ab,N\n", "2020-01-06"),
            ("20200103,ab,N\n20200104,xy,N\n20200105,ab,N\n", "2020-01-03"),
            ("20200103,ab,N\n", "2020-01-07"),
        ] {
            let part = load_ab(BARS, FACTORS, map).unwrap();
            assert_eq!(part.days().last().unwrap().to_string(), last, "{map}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_place() {
        for (bars, factors, map, expected) in [
            (
                BARS.replace("20200106 ", "20200103 "),
                FACTORS.into(),
                MAP,
                "daily.csv.gz:4:1: expected a later day",
            ),
            (
                BARS.replace(",60,", ",6O,"),
                FACTORS.into(),
                MAP,
                "daily.csv.gz:4:22: expected a price above zero",
            ),
            (
                BARS.replace(",60,", ",0,"),
                FACTORS.into(),
                MAP,
                "daily.csv.gz:4:22: expected a price above zero",
            ),
            (BARS.replace(",60,5", ""), FACTORS.into(), MAP, "daily.csv.gz:4:21: expected 6 fields, found 4"),
            (BARS.replace("close", "last"), FACTORS.into(), MAP, "has no column \"close\""),
            (
                BARS.into(),
                FACTORS.replace("0.5", "-1"),
                MAP,
                "factor_files.csv:2:14: expected a split factor",
            ),
            (
                BARS.into(),
                FACTORS.replace("0.9", "NaN"),
                MAP,
                "factor_files.csv:2:10: expected a price factor",
            ),
            (
                BARS.into(),
                FACTORS.replace("20200106", "20200101"),
                MAP,
                "factor_files.csv:3:1: expected a later",
            ),
            (
                BARS.into(),
                FACTORS.replace("20501231,1,1,0\n", ""),
                MAP,
                "no row dated on or after 2020-01-07",
            ),
            (BARS.into(), FACTORS.into(), "2020-1-3,ab\n", "map_files.csv:1:1: expected a day as YYYYMMDD"),
            (BARS.into(), FACTORS.into(), "", "map_files.csv: is empty"),
            (BARS.into(), FACTORS.into(), "20300101,ab\n", "AB has 0 bars"),
            (
                BARS.to_owned() + &"1".repeat(5_000),
                FACTORS.into(),
                MAP,
                "daily.csv.gz:6:1: the row is longer than",
            ),
        ] {
            let error = load_ab(&bars, &factors, map).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
        }
    }

    #[test]
    fn a_small_file_that_unfolds_into_endless_bars_is_left() {
        let day = |days| Day::from_epoch_days(days).unwrap().to_string().replace('-', "");
        let bars = (0..=BARS_MAX as i32).map(|days| format!("{},1\n", day(days))).collect::<String>();
        let error = load_ab(&format!("datetime,close\n{bars}"), FACTORS, "99991231,ab\n").unwrap_err();
        assert!(error.to_string().ends_with("holds more than 65536 bars"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = folder(BARS, FACTORS, MAP);
        let error = load(&folder, &"BRK.B".parse().unwrap()).unwrap_err().to_string();
        assert!(error.ends_with("holds no bars of BRK.B: there is no brk.b_daily.csv.gz"), "{error}");
    }

    #[test]
    fn the_bundled_series_have_the_known_candidates() {
        // Counts and mean as an independent program in Python found them on the same files.
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/us_equity");
        let rule = WindowRule::DAILY;
        let query_day = "2021-01-05".parse().unwrap();
        let mut returns = Vec::new();
        for (symbol, bars, starts) in [
            ("AAPL", 5_849, 5_770),
            ("AIG", 5_849, 5_770),
            ("BAC", 5_849, 5_770),
            ("EEM", 4_523, 4_444),
            ("IBM", 5_849, 5_770),
            ("IWM", 5_244, 5_165),
            // Bars are absent from 2004 to 2011, while its ticker was another.
            ("QQQ", 3_964, 3_806),
            ("SPY", 5_849, 5_770),
            ("USO", 3_770, 3_691),
        ] {
            let part = load(&data, &symbol.parse().unwrap()).unwrap();
            let windows = Windows::of(&part, &rule);
            assert_eq!((part.days().len(), windows.starts().len()), (bars, starts), "{symbol}");
            assert_eq!(part.last_window(&rule).unwrap().start, query_day, "{symbol}");
            let found = QueryMatches { candidates: windows.before(query_day) as u32, matches: vec![] };
            returns.extend_from_slice(&windows.reply(vec![found]).following_returns);
        }
        assert_eq!(returns.len(), 45_416);
        let mean = Distribution::of(returns).unwrap().mean;
        assert!((mean - 0.009_199_235_685_483_309).abs() < 1e-12, "{mean}");
    }
}

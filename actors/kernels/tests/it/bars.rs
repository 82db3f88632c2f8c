use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use swarm_kernels::bars::{
    Aggregated, Bar, BarError, Calendar, Frame, Gap, Session, TIME_MAX, Timeframe, Visible, aggregate, align,
    as_of_by_search,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn bar(time: i64, close: i64) -> Bar {
    Bar { time, open: close - 2, high: close + 1, low: close - 3, close, volume: 10 }
}

fn span(length: i64) -> Timeframe {
    Timeframe::Span(NonZeroU32::new(length.try_into().unwrap()).unwrap())
}

fn frame(calendar: &Calendar, timeframe: Timeframe, bars: &[Bar]) -> Frame {
    Frame::new(calendar, timeframe, bars.iter().map(|bar| bar.time)).unwrap()
}

/// The span that `time` is in, by definition: the moments of the same session in the same stretch of the clock.
fn span_of(calendar: &Calendar, timeframe: Timeframe, time: i64) -> Option<Range<i64>> {
    let session = calendar.sessions().iter().find(|session| (session.open..session.close).contains(&time))?;
    let within = |moment: &i64| match timeframe {
        Timeframe::Session => true,
        Timeframe::Span(length) => {
            let length = i64::from(length.get());
            moment.div_euclid(length) == time.div_euclid(length)
        }
    };
    let moments: Vec<i64> = (session.open..session.close).filter(within).collect();
    Some(moments[0]..moments[moments.len() - 1] + 1)
}

/// Sessions of up to 40 moments with holes between them, and bars at some of the moments inside and outside.
fn market() -> impl Strategy<Value = (Calendar, Vec<i64>)> {
    let sessions = prop::collection::vec((0_i64..15, 1_i64..40), 1..6);
    (-50_i64..50, sessions, prop::collection::vec(prop::bool::weighted(0.6), 400)).prop_map(
        |(start, lengths, traded)| {
            let mut open = start;
            let mut sessions = Vec::new();
            for (pause, length) in lengths {
                open += pause;
                sessions.push(Session { open, close: open + length });
                open += length;
            }
            let times =
                (start - 10..).zip(traded).filter_map(|(time, traded)| traded.then_some(time)).collect();
            (Calendar::new(sessions).unwrap(), times)
        },
    )
}

proptest! {
    #[test]
    fn coarser_bars_hold_the_trades_of_their_span(
        (calendar, times) in market(), finer in 1_i64..4, factor in 1_i64..8, is_session: bool,
        prices in prop::collection::vec(1_i64..50, 400),
    ) {
        let (finer, coarser) =
            (span(finer), if is_session { Timeframe::Session } else { span(finer * factor) });
        let ticks: Vec<Bar> = times.iter().zip(&prices).map(|(&time, &price)| bar(time, price)).collect();
        let fine = aggregate(&calendar, span(1), finer, &ticks).unwrap();
        let inside: Vec<&Bar> =
            ticks.iter().filter(|bar| span_of(&calendar, finer, bar.time).is_some()).collect();
        prop_assert_eq!(fine.outside, ticks.len() - inside.len());

        // By way of the finer bars and directly.
        for coarse in [
            aggregate(&calendar, finer, coarser, &fine.bars).unwrap().bars,
            aggregate(&calendar, span(1), coarser, &ticks).unwrap().bars,
        ] {
            let mut spans: Vec<Range<i64>> =
                inside.iter().map(|bar| span_of(&calendar, coarser, bar.time).unwrap()).collect();
            spans.dedup();
            prop_assert_eq!(coarse.len(), spans.len());
            for (coarse, span) in coarse.iter().zip(spans) {
                let members: Vec<&&Bar> = inside.iter().filter(|bar| span.contains(&bar.time)).collect();
                let expected = Bar {
                    time: span.start,
                    open: members[0].open,
                    high: members.iter().map(|bar| bar.high).max().unwrap(),
                    low: members.iter().map(|bar| bar.low).min().unwrap(),
                    close: members[members.len() - 1].close,
                    volume: members.iter().map(|bar| bar.volume).sum(),
                };
                prop_assert_eq!(*coarse, expected);
            }
        }
    }

    #[test]
    fn a_row_sees_the_last_bar_that_has_closed(
        (calendar, times) in market(), length in 1_i64..12, is_session: bool, ahead in 0_i64..20,
        steps in prop::collection::vec(0_i64..4, 1..150),
    ) {
        let timeframe = if is_session { Timeframe::Session } else { span(length) };
        let ticks: Vec<Bar> = times.iter().map(|&time| bar(time, 5)).collect();
        let bars = aggregate(&calendar, span(1), timeframe, &ticks).unwrap().bars;
        let closes: Vec<i64> =
            bars.iter().map(|bar| span_of(&calendar, timeframe, bar.time).unwrap().end).collect();
        let frames = [frame(&calendar, timeframe, &bars)];
        prop_assert_eq!(frames[0].closes(), &closes[..]);

        // Spans by definition, one after the other.
        let mut expected_closes: Vec<i64> = calendar.sessions().iter()
            .flat_map(|session| session.open..session.close)
            .map(|time| span_of(&calendar, timeframe, time).unwrap().end)
            .collect();
        expected_closes.dedup();
        prop_assert_eq!(calendar.closes(timeframe).collect::<Vec<_>>(), expected_closes.clone());

        let start = calendar.sessions()[0].open - 5;
        let grid: Vec<i64> = steps.iter().scan(start, |time, step| { *time += step; Some(*time) }).collect();
        let mut by_search = vec![Visible::default(); grid.len()];
        as_of_by_search(&frames[0], &grid, &mut by_search);
        for gap in [Gap::LastKnown, Gap::Nothing] {
            let aligned = align(&frames, &grid, gap).unwrap();
            for (row, &time) in grid.iter().enumerate() {
                let last = (0..closes.len()).rev().find(|&bar| closes[bar] <= time);
                let due = expected_closes.iter().copied().rfind(|&close| close <= time);
                let expected = last.filter(|&bar| gap == Gap::LastKnown || Some(closes[bar]) == due);
                let known = aligned.get(row, 0);
                prop_assert_eq!(known.map(|known| known.bar), expected);
                prop_assert_eq!(known.map(|known| known.age), expected.map(|bar| time - closes[bar]));
                prop_assert_eq!(by_search[row].bar(), last);
            }
        }

        // What happens later changes nothing that was seen before.
        let now = start + ahead;
        let until_now: Vec<Bar> = ticks.iter().copied().filter(|bar| bar.time < now).collect();
        let known_bars = aggregate(&calendar, span(1), timeframe, &until_now).unwrap().bars;
        let known = [frame(&calendar, timeframe, &known_bars)];
        let rows: Vec<i64> = grid.iter().copied().filter(|&time| time <= now).collect();
        for gap in [Gap::LastKnown, Gap::Nothing] {
            let (then, later) = (align(&known, &rows, gap).unwrap(), align(&frames, &grid, gap).unwrap());
            for row in 0..rows.len() {
                prop_assert_eq!(then.get(row, 0), later.get(row, 0));
                if let Some(seen) = then.get(row, 0) {
                    prop_assert_eq!(known_bars[seen.bar], bars[seen.bar]);
                }
            }
        }
    }
}

#[test]
fn a_half_day_closes_early_and_its_last_bars_with_it() {
    let sessions = vec![
        Session { open: 9 * HOUR + HOUR / 2, close: 16 * HOUR },
        Session { open: DAY + 9 * HOUR + HOUR / 2, close: DAY + 13 * HOUR + 5 * MINUTE },
        Session { open: 2 * DAY + 9 * HOUR + HOUR / 2, close: 2 * DAY + 16 * HOUR },
    ];
    let calendar = Calendar::new(sessions).unwrap();
    // Marked as vendors do: the hour that the session opens in, on the clock.
    let marks = [15 * HOUR, DAY + 9 * HOUR, DAY + 13 * HOUR, 2 * DAY + 9 * HOUR];
    let hours = Frame::new(&calendar, Timeframe::HOUR, marks).unwrap();
    let closes = [16 * HOUR, DAY + 10 * HOUR, DAY + 13 * HOUR + 5 * MINUTE, 2 * DAY + 10 * HOUR];
    assert_eq!(hours.closes(), closes);
    let days = Frame::new(&calendar, Timeframe::Session, [10 * HOUR, DAY + 10 * HOUR]).unwrap();
    assert_eq!(days.closes(), [16 * HOUR, DAY + 13 * HOUR + 5 * MINUTE]);

    // Over night the last bar is the one that is due; when 10 to 11 is missing, it is not.
    let grid = [DAY + 9 * HOUR, DAY + 10 * HOUR, DAY + 11 * HOUR, DAY + 14 * HOUR, 2 * DAY + 10 * HOUR - 1];
    let frames = [hours, days];
    let seen = |gap| {
        let aligned = align(&frames, &grid, gap).unwrap();
        let column = |frame| (0..5).map(|row| aligned.get(row, frame).map(|known| known.bar)).collect();
        [0, 1].map(column) as [Vec<Option<usize>>; 2]
    };
    let days = [Some(0), Some(0), Some(0), Some(1), Some(1)];
    assert_eq!(seen(Gap::LastKnown), [vec![Some(0), Some(1), Some(1), Some(2), Some(2)], days.to_vec()]);
    assert_eq!(seen(Gap::Nothing), [vec![Some(0), Some(1), None, Some(2), Some(2)], days.to_vec()]);
}

#[test]
fn errors_say_which_bar_and_what_is_wrong() {
    let calendar =
        Calendar::new(vec![Session { open: 0, close: 2 * HOUR }, Session { open: DAY, close: DAY + HOUR }])
            .unwrap();
    let sum =
        |finer, coarser, bars: &[Bar]| aggregate(&calendar, finer, coarser, bars).unwrap_err().to_string();
    let (minute, hour) = (Timeframe::MINUTE, Timeframe::HOUR);
    assert_eq!(
        sum(minute, hour, &[bar(0, 1), bar(MINUTE, 1), bar(MINUTE + 1, 1)]),
        "bar 2 at 60001 begins before the one before it has closed"
    );
    let full = Bar { volume: u64::MAX, ..bar(0, 1) };
    assert_eq!(sum(minute, hour, &[full, bar(MINUTE, 1)]), "the volume up to bar 1 is beyond 64 bits");
    let error = aggregate(&calendar, Timeframe::FIVE_MINUTES, span(7 * MINUTE), &[]).unwrap_err();
    assert!(matches!(error, BarError::NotNested { .. }));
    assert_eq!(
        Frame::new(&calendar, hour, [0, 3 * HOUR]),
        Err(BarError::OutsideSessions { index: 1, time: 3 * HOUR })
    );
    assert_eq!(
        Frame::new(&calendar, hour, [i64::MIN]),
        Err(BarError::OutsideSessions { index: 0, time: i64::MIN })
    );
    assert_eq!(
        Frame::new(&calendar, hour, [i64::MAX]),
        Err(BarError::OutsideSessions { index: 0, time: i64::MAX })
    );
    assert_eq!(
        align(&[frame(&calendar, hour, &[])], &[5, 4], Gap::Nothing).unwrap_err(),
        BarError::GridOrder { index: 1, time: 4 }
    );
    for sessions in [
        vec![Session { open: 5, close: 5 }],
        vec![Session { open: 0, close: 5 }, Session { open: 4, close: 9 }],
        vec![Session { open: 0, close: TIME_MAX + 1 }],
        vec![Session { open: i64::MIN, close: 0 }],
    ] {
        assert!(matches!(Calendar::new(sessions), Err(BarError::Session { .. })));
    }
}

#[test]
fn hours_add_up_to_the_days_of_2013() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/us_equity");
    let hours = read(&folder.join("ibm_hour_2013.csv.gz"));
    let days = read(&folder.join("ibm_daily.csv.gz"));
    let year = days_from_civil(2013, 1, 1) * DAY..days_from_civil(2014, 1, 1) * DAY;
    let days: Vec<Bar> = days.into_iter().filter(|bar| year.contains(&bar.time)).collect();
    assert_eq!(days.len(), 252);
    let half_days = [(7, 3), (11, 29), (12, 24)].map(|(month, day)| days_from_civil(2013, month, day) * DAY);
    let session = |midnight| {
        let close = if half_days.contains(&midnight) { 13 * HOUR } else { 16 * HOUR };
        Session { open: midnight + 9 * HOUR + HOUR / 2, close: midnight + close }
    };
    let calendar = Calendar::new(days.iter().map(|bar| session(bar.time)).collect()).unwrap();
    check_days(&calendar, &hours, &days);
    assert_eq!(
        hours.len(),
        calendar.closes(Timeframe::HOUR).count(),
        "an hour bar for each hour of each session"
    );
}

#[test]
fn hours_add_up_to_all_days_of_the_public_data() {
    for symbol in ["ibm", "bac", "aapl"] {
        let (Some(hours), Some(days)) =
            (data(&format!("{symbol}_hour.csv.gz")), data(&format!("{symbol}_daily.csv.gz")))
        else {
            return;
        };
        let (hours, days) = (read(&hours), read(&days));
        assert_eq!(days.len(), 5849);
        // On half days trades after the early close are in the files, so that every day is given its full length.
        let session =
            |day: &Bar| Session { open: day.time + 9 * HOUR + HOUR / 2, close: day.time + 16 * HOUR };
        check_days(&Calendar::new(days.iter().map(session).collect()).unwrap(), &hours, &days);
    }
}

fn check_days(calendar: &Calendar, hours: &[Bar], days: &[Bar]) {
    let Aggregated { bars, outside } =
        aggregate(calendar, Timeframe::HOUR, Timeframe::Session, hours).unwrap();
    assert_eq!((bars.len(), outside), (days.len(), 0));
    for (sum, day) in bars.iter().zip(days) {
        // The day's file marks it by its midnight.
        assert_eq!(Bar { time: day.time, ..*sum }, *day, "on day {}", day.time / DAY);
    }
}

/// The source filters some seconds' volume otherwise, and eight minutes of each; the counts are those of its README.
#[test]
fn seconds_add_up_to_most_minutes_of_the_public_data() {
    for (symbol, expected) in [("ibm", (2147, 2155)), ("bac", (2941, 2949))] {
        let (Some(seconds), Some(minutes)) = (
            data(&format!("{symbol}_second_trade_201310.csv.gz")),
            data(&format!("{symbol}_minute_trade_201310.csv.gz")),
        ) else {
            return;
        };
        let (seconds, minutes) = (read(&seconds), read(&minutes));
        let (first, last) = (minutes[0].time / DAY, minutes[minutes.len() - 1].time / DAY);
        let calendar = Calendar::round_the_clock(first as i32, (last - first + 1) as u32);
        let sums = aggregate(&calendar, span(1000), Timeframe::MINUTE, &seconds).unwrap().bars;
        let prices = |bar: &Bar| Bar { volume: 0, ..*bar };
        let common: Vec<bool> = sums
            .iter()
            .filter_map(|sum| {
                let minute = minutes.binary_search_by_key(&sum.time, |bar| bar.time).ok()?;
                Some(prices(&minutes[minute]) == prices(sum))
            })
            .collect();
        let equal = common.iter().filter(|&&equal| equal).count();
        assert_eq!((equal, common.len()), expected, "{symbol}");
    }
}

/// Bars of a file whose first columns are `YYYYMMDD HH:MM`, or `YYYYMMDD` and milliseconds since midnight.
fn read(path: &Path) -> Vec<Bar> {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let parse = |line: &str| {
        let (date, rest) = line.split_at(8);
        let number = |text: &str| text.parse::<i64>().unwrap();
        let midnight = DAY * days_from_civil(number(&date[..4]), number(&date[4..6]), number(&date[6..]));
        let mut fields = rest[1..].split(',');
        let time_of_day = match fields.next().unwrap().split_once(':') {
            Some((hours, minutes)) => number(hours) * HOUR + number(minutes) * MINUTE,
            None => number(rest[1..].split(',').next().unwrap()),
        };
        let [open, high, low, close, volume] = std::array::from_fn(|_| number(fields.next().unwrap()));
        Bar { time: midnight + time_of_day, open, high, low, close, volume: volume.try_into().unwrap() }
    };
    text.lines().skip(1).map(parse).collect()
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years from March on, so that the leap day is the last.
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// A file of the public data sets, or `None` with a message where they are absent.
fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ACTIX_SWARM_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = folder.join("us_equity_multires").join(name);
    if !path.exists() {
        // Not `eprintln!`, whose text the test runner hides when the test passes.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: {} is absent: reference data that is no part of the repository, in a folder that ACTIX_SWARM_DATA names", path.display()).unwrap();
        return None;
    }
    Some(path)
}

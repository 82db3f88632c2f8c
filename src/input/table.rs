//! Whole tables: CSV files in which every column is a series.

use super::csv::{expect_fields, fields, note_numbers, refuse_other_format, refuse_other_separator, unquote};
use super::lines::{Line, Lines, is_formatted, quote};
use super::{InputError, Source, note};

/// The most series of a table.
pub(crate) const SERIES_MAX: usize = 4096;

/// What stands for a value that is missing, in any case, beside nothing at all; [`OF_GAPS`] names it.
const MISSING: [&str; 5] = ["nan", "na", "n/a", "null", "none"];

/// Series of one length side by side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    /// What each row is called, where the first column is no series.
    pub(crate) index: Option<Vec<String>>,
    pub(crate) labels: Vec<String>,
    /// A column for each label; a missing value is NaN.
    pub(crate) series: Vec<Vec<f64>>,
}

/// Whether a table may have values missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    Allowed,
    Refused,
}

/// Reads a table with a header and at least two series.
///
/// The first column is the index when it has no name, or when none of its values is a number, however formatted; that is
/// said, unless they are dates. One that has both numbers and texts is refused: a single cell decides nothing. One of
/// numbers under a name is a series, which is said where the name is one of an index.
pub(crate) fn table(input: &Source, gaps: Gaps) -> Result<Table, InputError> {
    let mut lines = Lines::open(input)?;
    let Some(header) = lines.next()? else {
        return Err(InputError::whole(input, "is empty, expected a CSV header"));
    };
    refuse_other_format(&header)?;
    refuse_other_separator(input, header.text)?;
    let names = names(&header)?;
    note_numbers(&header, &names);
    let mut table = Reading::new(&names);
    while let Some(line) = lines.next()? {
        let kept = table.row(&line, gaps)?;
        lines.keep(kept)?;
    }
    table.finish(input, names)
}

const OF_GAPS: &str = "; a missing value is an empty field, NaN, NA, N/A, null or none";

const OF_TEXTS: &str = "; only the first column may be labels of rows: remove this one, or move it there";

const OF_DATES: &str =
    "; dates are written as 2020-01-31: of 01/02/2020 it is not known which number is the month";

/// How labels are told from a series where that is in doubt.
const OF_LABELS: &str = "; if these are labels of rows, leave the name of the column empty";

/// What an index is called, in small letters without blanks and hyphens.
const INDEX_NAMES: [&str; 7] = ["date", "dates", "day", "time", "datetime", "timestamp", "index"];

/// The names in the header: each once, and only the first may be empty.
fn names(header: &Line<'_>) -> Result<Vec<String>, InputError> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (offset, field) in fields(header)? {
        let name = unquote(field).into_owned();
        if name.is_empty() && !names.is_empty() {
            return Err(header.error(
                offset,
                "expected the name of a column, found nothing: name it, or remove the column",
            ));
        }
        if !seen.insert(name.clone()) {
            let is_row = name.parse::<f64>().is_ok();
            let more =
                if is_row { ": this looks like a row, write the names of the columns above it" } else { "" };
            return Err(header.error(offset, format!("two columns are called {}{more}", quote(&name))));
        }
        // One more may be the index.
        if names.len() > SERIES_MAX {
            return Err(header.error(offset, format!("the table has more than {SERIES_MAX} series")));
        }
        names.push(name);
    }
    Ok(names)
}

/// What the first column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// It has no name.
    Index,
    /// Its values so far are missing or infinite.
    Unknown,
    /// Some of its values are texts, none a number.
    Texts,
    /// Its values are numbers.
    Series,
}

struct Reading {
    first: First,
    /// The text of the first column, until it is known to be a series.
    index: Vec<String>,
    series: Vec<Vec<f64>>,
    /// Whether all values of the first column are dates.
    is_dates: bool,
    /// The first value of the first column that it may not have, should it be a series.
    flaw: Option<InputError>,
}

impl Reading {
    fn new(names: &[String]) -> Self {
        let first = if names[0].is_empty() { First::Index } else { First::Unknown };
        Self { first, index: Vec::new(), series: vec![Vec::new(); names.len()], is_dates: true, flaw: None }
    }

    /// Takes a row and says how many bytes of it are kept.
    fn row(&mut self, line: &Line<'_>, gaps: Gaps) -> Result<usize, InputError> {
        let mut count = 0;
        let mut kept = 0;
        for (column, (offset, field)) in fields(line)?.enumerate() {
            count += 1;
            if column >= self.series.len() {
                continue;
            }
            let text = unquote(field);
            if column > 0 || self.first == First::Series {
                let value = value(line, offset, &text, gaps).map_err(|error| match column {
                    _ if !is_text(&text) || is_placeholder(&text) => error,
                    0 => error.and(OF_LABELS),
                    _ => error.and(OF_TEXTS),
                })?;
                self.series[column].push(value);
                kept += size_of::<f64>();
            } else {
                kept += size_of::<String>() + text.len() + size_of::<f64>();
                self.first_column(line, offset, &text, gaps)?;
            }
        }
        expect_fields(line, self.series.len(), count)?;
        Ok(kept)
    }

    /// Takes a value of the first column, which is not known to be a series.
    fn first_column(
        &mut self,
        line: &Line<'_>,
        offset: usize,
        text: &str,
        gaps: Gaps,
    ) -> Result<(), InputError> {
        self.index.push(text.to_owned());
        let is_text = is_text(text);
        let was_dates = self.is_dates && self.index.len() > 1;
        self.is_dates &= is_date(text);
        if was_dates && !self.is_dates && self.first == First::Texts && (is_text || is_missing(text)) {
            self.flaw = Some(line.error(offset, format!("expected a date, found {}", quote(text))));
        }
        if self.first == First::Index || (self.first == First::Texts && is_text) {
            return Ok(());
        }
        match value(line, offset, text, gaps) {
            Ok(value) if value.is_nan() => self.series[0].push(value),
            Ok(value) => {
                self.flaw.take().map_or(Ok(()), |flaw| Err(beside_number(flaw, line.number)))?;
                self.first = First::Series;
                self.index = Vec::new();
                self.series[0].push(value);
            }
            Err(error) if is_formatted(text) => {
                return Err(match self.flaw.take() {
                    Some(flaw) => beside_number(flaw, line.number),
                    None => error.and(OF_LABELS),
                });
            }
            Err(error) => {
                if is_text {
                    self.first = First::Texts;
                }
                // With a flaw it is the index or refused: its values are of no use.
                self.flaw.get_or_insert(error);
            }
        }
        Ok(())
    }

    fn finish(mut self, input: &Source, mut labels: Vec<String>) -> Result<Table, InputError> {
        let is_index = matches!(self.first, First::Index | First::Texts);
        if is_index {
            let name = labels.remove(0);
            self.series.remove(0);
            if let Some(flaw) = self.flaw.filter(|_| !self.is_dates) {
                note(format_args!(
                    "no value of {} is a number, so it is taken for the labels of the rows and is no series: {flaw}{}",
                    quote(&name),
                    if self.index.iter().all(|text| is_date_in_any_order(text)) { OF_DATES } else { "" }
                ));
            }
        } else if let Some(flaw) = self.flaw {
            let is_labels = !self.index.iter().all(|text| is_missing(text));
            return Err(if is_labels { flaw.and(OF_LABELS) } else { flaw });
        }
        if labels.len() > SERIES_MAX {
            let message = format!("has {} series, expected at most {SERIES_MAX}", labels.len());
            return Err(InputError::whole(input, message));
        }
        if labels.len() < 2 {
            let series = if labels.is_empty() { "no series" } else { "one series" };
            return Err(InputError::whole(
                input,
                format!("has {series}, expected two or more columns of numbers"),
            ));
        }
        if self.series[0].is_empty() {
            return Err(InputError::whole(input, "has a header and no rows"));
        }
        if self.first == First::Series && is_name_of_index(&labels[0]) {
            let name = quote(&labels[0]);
            let message = format!("the values of {name} are numbers, so it is a series{OF_LABELS}");
            note(InputError::at(input, 1, 1, message));
        }
        let index = is_index.then_some(self.index);
        Ok(Table { index, labels, series: self.series })
    }
}

/// The value of a field; a missing one is NaN.
fn value(line: &Line<'_>, offset: usize, text: &str, gaps: Gaps) -> Result<f64, InputError> {
    match (is_missing(text), gaps) {
        (false, Gaps::Allowed) if is_placeholder(text) => {
            line.value(offset, text).map_err(|error| error.and(OF_GAPS))
        }
        (false, _) => line.value(offset, text),
        (true, Gaps::Allowed) => Ok(f64::NAN),
        (true, Gaps::Refused) => {
            Err(line.error(offset, "a value is missing here, and this method takes none"))
        }
    }
}

/// The same error of a value in a column that has a number in another line.
fn beside_number(flaw: InputError, number_line: usize) -> InputError {
    flaw.and(format_args!(", while line {number_line} of this column has a number{OF_LABELS}"))
}

/// Whether a text begins with a date, the year first, or is a month or a time of day.
fn is_date(text: &str) -> bool {
    let begins = |form: &str| {
        let is_right = |(byte, form): (u8, u8)| match form {
            b'0' => byte.is_ascii_digit(),
            b'-' => matches!(byte, b'-' | b'/' | b'.'),
            b' ' => matches!(byte, b' ' | b'T' | b't' | b'-' | b'_'),
            form => byte == form,
        };
        text.len() >= form.len() && text.bytes().zip(form.bytes()).all(is_right)
    };
    // With a point it is a number.
    let is_month = text.len() == 7 && text.as_bytes()[4] != b'.' && begins("0000-00");
    let is_time = text.len() == 5 && begins("00:00") || text.len() == 8 && begins("00:00:00");
    // Eight digits alone are a number; after them stands the time of day.
    begins("0000-00-00") || begins("00000000 00") || is_month || is_time
}

/// Whether a text is a date of which the order of day and month is not known, such as 01/02/2020.
fn is_date_in_any_order(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['/', '.', '-']).collect();
    let is_part =
        |part: &&str| matches!(part.len(), 1 | 2 | 4) && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(is_part)
}

fn is_name_of_index(name: &str) -> bool {
    let name: String = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
    INDEX_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether a text is neither a number, however formatted, nor missing.
fn is_text(text: &str) -> bool {
    !is_missing(text) && text.trim_ascii().parse::<f64>().is_err() && !is_formatted(text)
}

/// Whether people and spreadsheets write this for a value that they do not have, such as `-` and `#N/A`.
fn is_placeholder(text: &str) -> bool {
    text.starts_with('#') || !text.contains(char::is_alphanumeric)
}

fn is_missing(text: &str) -> bool {
    let text = text.trim_ascii();
    text.is_empty() || MISSING.iter().any(|word| text.eq_ignore_ascii_case(word))
}

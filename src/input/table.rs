//! Whole tables: CSV files in which every column is a series.

use super::csv::{fields, refuse_other_separator, unquote};
use super::lines::{Line, Lines, quote};
use super::{InputError, Source};

/// The most series of a table.
pub(crate) const SERIES_MAX: usize = 4096;

/// What stands for a value that is missing, in any case, beside nothing at all.
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
/// The first column is the index when it has no name, or when none of its values is a number. One that has both
/// numbers and texts is refused: a single cell decides nothing.
pub(crate) fn table(input: &Source, gaps: Gaps) -> Result<Table, InputError> {
    let mut lines = Lines::open(input)?;
    let Some(header) = lines.next()? else {
        return Err(InputError::whole(input, "is empty, expected a CSV header"));
    };
    let names = names(&header)?;
    refuse_other_separator(input, &names)?;
    let mut table = Reading::new(&names);
    while let Some(line) = lines.next()? {
        let kept = table.row(&line, gaps)?;
        lines.keep(kept)?;
    }
    table.finish(input, names)
}

/// The names in the header: each once, and only the first may be empty.
fn names(header: &Line<'_>) -> Result<Vec<String>, InputError> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (offset, field) in fields(header)? {
        let name = unquote(field).into_owned();
        if name.is_empty() && !names.is_empty() {
            return Err(header.error(offset, "expected the name of a column, found nothing"));
        }
        if !seen.insert(name.clone()) {
            return Err(header.error(offset, format!("two columns are called {}", quote(&name))));
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
    /// The first value of the first column that it may not have, should it be a series.
    flaw: Option<InputError>,
}

impl Reading {
    fn new(names: &[String]) -> Self {
        let first = if names[0].is_empty() { First::Index } else { First::Unknown };
        Self { first, index: Vec::new(), series: vec![Vec::new(); names.len()], flaw: None }
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
                self.series[column].push(value(line, offset, &text, gaps)?);
                kept += size_of::<f64>();
            } else {
                kept += size_of::<String>() + text.len() + size_of::<f64>();
                self.first_column(line, offset, &text, gaps)?;
            }
        }
        if count == self.series.len() {
            Ok(kept)
        } else {
            let message = format!("expected {} fields, found {count}", self.series.len());
            Err(line.error(line.text.len(), message))
        }
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
        let is_text = !is_missing(text) && text.trim_ascii().parse::<f64>().is_err();
        if self.first == First::Index || (self.first == First::Texts && is_text) {
            return Ok(());
        }
        match value(line, offset, text, gaps) {
            Ok(value) if value.is_nan() => self.series[0].push(value),
            Ok(value) => {
                self.flaw.take().map_or(Ok(()), |flaw| Err(flaw.beside_number(line.number)))?;
                self.first = First::Series;
                self.index = Vec::new();
                self.series[0].push(value);
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
        let index = is_index.then_some(self.index);
        if is_index {
            labels.remove(0);
            self.series.remove(0);
        } else {
            self.flaw.map_or(Ok(()), Err)?;
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
        Ok(Table { index, labels, series: self.series })
    }
}

/// The value of a field; a missing one is NaN.
fn value(line: &Line<'_>, offset: usize, text: &str, gaps: Gaps) -> Result<f64, InputError> {
    match (is_missing(text), gaps) {
        (false, _) => line.value(offset, text),
        (true, Gaps::Allowed) => Ok(f64::NAN),
        (true, Gaps::Refused) => {
            Err(line.error(offset, "a value is missing here, and this method takes none"))
        }
    }
}

fn is_missing(text: &str) -> bool {
    let text = text.trim_ascii();
    text.is_empty() || MISSING.iter().any(|word| text.eq_ignore_ascii_case(word))
}

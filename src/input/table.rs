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
/// The first column is the index when it has no name, or when its first value that is not missing is no number.
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
    /// All its values so far are missing.
    Unknown,
    Index,
    Series,
}

struct Reading {
    first: First,
    /// The text of the first column, until it is known to be a series.
    index: Vec<String>,
    series: Vec<Vec<f64>>,
    /// The first missing value of the first column, should it be a series that may have none.
    gap: Option<InputError>,
}

impl Reading {
    fn new(names: &[String]) -> Self {
        let first = if names[0].is_empty() { First::Index } else { First::Unknown };
        Self { first, index: Vec::new(), series: vec![Vec::new(); names.len()], gap: None }
    }

    /// Takes a row and says how many bytes of it are kept.
    fn row(&mut self, line: &Line<'_>, gaps: Gaps) -> Result<usize, InputError> {
        let mut count = 0;
        let mut kept = 0;
        for (column, (offset, field)) in fields(line)?.enumerate() {
            count += 1;
            let text = unquote(field);
            let Some(values) = self.series.get_mut(column) else { continue };
            let is_missing = is_missing(&text);
            if column == 0 && self.first == First::Unknown && !is_missing {
                let is_number = text.trim_ascii().parse::<f64>().is_ok();
                let gap = self.gap.take();
                if is_number {
                    self.first = First::Series;
                    self.index = Vec::new();
                    gap.map_or(Ok(()), Err)?;
                } else {
                    self.first = First::Index;
                }
            }
            if column == 0 && self.first != First::Series {
                kept += size_of::<String>() + text.len();
                self.index.push(text.clone().into_owned());
                if self.first == First::Index {
                    continue;
                }
            }
            let value = match (is_missing, gaps) {
                (false, _) => line.value(offset, &text)?,
                (true, Gaps::Allowed) => f64::NAN,
                (true, Gaps::Refused) => {
                    let error = line.error(offset, "a value is missing here, and this method takes none");
                    if column > 0 || self.first == First::Series {
                        return Err(error);
                    }
                    self.gap.get_or_insert(error);
                    f64::NAN
                }
            };
            values.push(value);
            kept += size_of::<f64>();
        }
        if count == self.series.len() {
            Ok(kept)
        } else {
            let message = format!("expected {} fields, found {count}", self.series.len());
            Err(line.error(line.text.len(), message))
        }
    }

    fn finish(mut self, input: &Source, mut labels: Vec<String>) -> Result<Table, InputError> {
        self.gap.map_or(Ok(()), Err)?;
        let index = (self.first == First::Index).then_some(self.index);
        if index.is_some() {
            labels.remove(0);
            self.series.remove(0);
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

fn is_missing(text: &str) -> bool {
    let text = text.trim_ascii();
    text.is_empty() || MISSING.iter().any(|word| text.eq_ignore_ascii_case(word))
}

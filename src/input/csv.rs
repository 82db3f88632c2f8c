//! Columns of CSV files with a header. Quoted fields are read; one that runs over the end of its
//! line is refused, since rows are counted by lines.
//!
//! Not with `csv`: it tells no column of a field, skips blank lines, which are missing values here, and takes rows of
//! any length; around `csv-core` this code is longer, and takes three times as long to split a line.

use std::borrow::Cow;

use super::lines::{Line, Lines, other_separator, quote};
use super::{InputError, Source};

const NAMES_SHOWN_MAX: usize = 50;

/// Reads a column by the name its header gives it; entry `i` is row `i`, the header is not a row.
pub(crate) fn column(input: &Source, name: &str) -> Result<Vec<f64>, InputError> {
    let mut lines = Lines::open(input)?;
    let names = header(input, &mut lines)?;
    let wanted = position(input, &names, name)?;

    let mut values = Vec::new();
    while let Some(line) = lines.next()? {
        let mut count = 0;
        let mut value = None;
        for (offset, field) in fields(&line)? {
            if count == wanted {
                value = Some((offset, field));
            }
            count += 1;
        }
        match value {
            Some((offset, field)) if count == names.len() => {
                values.push(line.value(offset, &unquote(field))?);
                lines.keep(size_of::<f64>())?;
            }
            _ => {
                let message = format!("expected {} fields, found {count}", names.len());
                return Err(line.error(line.text.len(), message));
            }
        }
    }
    if values.is_empty() {
        return Err(InputError::whole(input, "has a header and no rows"));
    }
    Ok(values)
}

/// The names of the columns.
pub(super) fn header(input: &Source, lines: &mut Lines<'_>) -> Result<Vec<String>, InputError> {
    let Some(line) = lines.next()? else {
        return Err(InputError::whole(input, "is empty, expected a CSV header"));
    };
    Ok(fields(&line)?.map(|(_, field)| unquote(field).into_owned()).collect())
}

/// The place of the column of this name.
pub(super) fn position(input: &Source, names: &[String], name: &str) -> Result<usize, InputError> {
    let mut found = (0..names.len()).filter(|&i| names[i] == name);
    let message = match (found.next(), found.next()) {
        (Some(position), None) => return Ok(position),
        (Some(_), Some(_)) => format!("two columns are called {}", quote(name)),
        (None, _) => {
            refuse_other_separator(input, names)?;
            let mut there: Vec<_> = names.iter().take(NAMES_SHOWN_MAX).map(|name| quote(name)).collect();
            if names.len() > NAMES_SHOWN_MAX {
                there.push(format!("… ({} in all)", names.len()));
            }
            format!("has no column {}, the columns are {}", quote(name), there.join(", "))
        }
    };
    Err(InputError::whole(input, message))
}

/// Refuses a header that is one column only because its columns are separated by something else.
pub(super) fn refuse_other_separator(input: &Source, names: &[String]) -> Result<(), InputError> {
    let [header] = names else { return Ok(()) };
    let Some((offset, separators)) = other_separator(header, ',') else { return Ok(()) };
    let message = format!("the columns seem to be separated by {separators}, expected commas");
    Err(InputError::at(input, 1, header[..offset].chars().count() + 1, message))
}

/// The fields of a line, still quoted, each with its byte offset.
pub(super) fn fields<'a>(line: &Line<'a>) -> Result<impl Iterator<Item = (usize, &'a str)>, InputError> {
    let text = line.text;
    let bytes = text.as_bytes();
    if bytes.contains(&b'"') && bytes.iter().filter(|&&byte| byte == b'"').count() % 2 == 1 {
        return Err(line.error(text.len(), "a quoted field does not end on its line"));
    }
    let mut start = Some(0);
    Ok(std::iter::from_fn(move || {
        let from = start?;
        let mut quoted = false;
        // Doubled quotes inside a field toggle twice, so a comma separates where the count is even.
        let length = bytes[from..].iter().position(|&byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        });
        start = length.map(|length| from + length + 1);
        Some((from, &text[from..length.map_or(text.len(), |length| from + length)]))
    }))
}

pub(super) fn unquote(field: &str) -> Cow<'_, str> {
    let field = field.trim_ascii();
    match field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if inner.contains('"') => inner.replace("\"\"", "\"").into(),
        Some(inner) => inner.into(),
        None => field.into(),
    }
}

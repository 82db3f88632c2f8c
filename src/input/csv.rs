//! Columns of CSV files with a header. Quoted fields are read; one that runs over the end of its
//! line is refused, since rows are counted by lines.
//!
//! Not with `csv`: it tells no column of a field, skips blank lines, which are missing values here, and takes rows of
//! any length; around `csv-core` this code is longer, and takes three times as long to split a line.

use std::borrow::Cow;

use super::lines::{Line, Lines, other_separator, quote};
use super::{InputError, Source, note};

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
        expect_fields(&line, names.len(), count)?;
        let (offset, field) = value.expect("a row of as many fields as names has the field of each name");
        values.push(line.value(offset, &unquote(field))?);
        lines.keep(size_of::<f64>())?;
    }
    if values.is_empty() {
        return Err(InputError::whole(input, "has a header and no rows"));
    }
    Ok(values)
}

/// Refuses a row that has more or fewer fields than the header.
pub(super) fn expect_fields(line: &Line<'_>, expected: usize, found: usize) -> Result<(), InputError> {
    if found == expected {
        return Ok(());
    }
    Err(line.error(line.text.len(), format!("expected {expected} fields, found {found}")))
}

/// The names of the columns.
pub(super) fn header(input: &Source, lines: &mut Lines<'_>) -> Result<Vec<String>, InputError> {
    let Some(line) = lines.next()? else {
        return Err(InputError::whole(input, "is empty, expected a CSV header"));
    };
    refuse_other_format(&line)?;
    let names: Vec<String> = fields(&line)?.map(|(_, field)| unquote(field).into_owned()).collect();
    note_numbers(&line, &names);
    Ok(names)
}

/// Refuses a first line of another format.
pub(super) fn refuse_other_format(line: &Line<'_>) -> Result<(), InputError> {
    let text = line.text.trim_ascii().to_ascii_lowercase();
    let begins = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    let what = if begins(&["<!", "<?", "<html", "<head", "<body", "<table"]) {
        "looks like HTML or XML"
    } else if begins(&["{", "["]) {
        "looks like JSON"
    } else if begins(&["sep=", "\"sep="]) {
        "tells Excel the separator: remove it"
    } else if begins(&["# "]) && !text.contains(',') {
        "looks like a comment: remove it"
    } else {
        return Ok(());
    };
    Err(line.error(0, format!("the first line {what}, expected names of columns, separated by commas")))
}

/// Says where names of columns are numbers: the line may be no header but a row, which is lost.
pub(super) fn note_numbers(line: &Line<'_>, names: &[String]) {
    let is_number = |name: &&String| name.parse::<f64>().is_ok();
    let (first, others) = names.split_first().expect("a line has a field");
    let example = others.first().unwrap_or(first);
    if !first.is_empty() && is_number(&example) && others.iter().all(|name| is_number(&name)) {
        let example = quote(example);
        note(line.error(
            0,
            format!(
                "the first line is taken for the names of the columns, but they are numbers, such as {example}; where it \
                 is a row, write the names above it"
            ),
        ));
    }
}

/// The place of the column of this name.
pub(super) fn position(input: &Source, names: &[String], name: &str) -> Result<usize, InputError> {
    let mut found = (0..names.len()).filter(|&i| names[i] == name);
    let message = match (found.next(), found.next()) {
        (Some(position), None) => return Ok(position),
        (Some(_), Some(_)) => format!("two columns are called {}", quote(name)),
        (None, _) => {
            refuse_other_separator(input, &names.join(","))?;
            let mut there: Vec<_> = names.iter().take(NAMES_SHOWN_MAX).map(|name| quote(name)).collect();
            if names.len() > NAMES_SHOWN_MAX {
                there.push(format!("… ({} in all)", names.len()));
            }
            format!("has no column {}, the columns are {}", quote(name), there.join(", "))
        }
    };
    Err(InputError::whole(input, message))
}

/// Refuses a header with more of another separator than commas; blanks are one where there is no comma.
pub(super) fn refuse_other_separator(input: &Source, header: &str) -> Result<(), InputError> {
    let mut quoted = false;
    // What is quoted separates nothing.
    let bare: String = header
        .chars()
        .map(|c| {
            quoted ^= c == '"';
            if quoted { '"' } else { c }
        })
        .collect();
    let Some((place, separators)) = other_separator(&bare, ',') else { return Ok(()) };
    let separator = bare[place..].chars().next().unwrap_or_default();
    let (others, commas) = (bare.matches(separator).count(), bare.matches(',').count());
    if others < commas || (separator == ' ' && commas > 0) {
        return Ok(());
    }
    let title = if separator == ' ' { "; where this line is a title, remove it" } else { "" };
    let message = format!("the columns seem to be separated by {separators}, expected commas{title}");
    Err(InputError::at(input, 1, bare[..place].chars().count() + 1, message))
}

/// The fields of a line, still quoted, each with its byte offset.
pub(super) fn fields<'a>(line: &Line<'a>) -> Result<impl Iterator<Item = (usize, &'a str)>, InputError> {
    let text = line.text;
    let bytes = text.as_bytes();
    if let Some(place) = unended_quote(text) {
        let message = "a quoted field does not end on its line: end it there, without line ends in it";
        return Err(line.error(place, message));
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

/// Where the field begins that is quoted up to the end of the line.
fn unended_quote(text: &str) -> Option<usize> {
    let mut opened = None;
    let mut is_quoted = false;
    for (place, _) in text.match_indices('"') {
        // A quote right after one that closed is a doubled one inside the field.
        if !is_quoted && !text[..place].ends_with('"') {
            opened = Some(place);
        }
        is_quoted = !is_quoted;
    }
    opened.filter(|_| is_quoted)
}

pub(super) fn unquote(field: &str) -> Cow<'_, str> {
    let field = field.trim_ascii();
    match field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if inner.contains('"') => inner.replace("\"\"", "\"").into(),
        Some(inner) => inner.into(),
        None => field.into(),
    }
}

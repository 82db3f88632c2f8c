//! Labelled series as the UCR archive has them: label TAB values, one series a row, no header.

use super::lines::{Lines, other_separator};
use super::{InputError, Source};

/// What a row takes beside the text of its label and its values: a place in a list that grows by doubling,
/// and what the allocator adds to two small pieces.
const ROW_BYTES: usize = 2 * size_of::<LabelledSeries>() + 2 * 32;

/// A series and its class. Labels are text: `1` and `1.0` are two classes.
#[derive(Debug)]
pub(crate) struct LabelledSeries {
    pub(crate) label: String,
    pub(crate) values: Vec<f64>,
}

/// Reads every row; lengths may differ between rows.
pub(crate) fn ucr(input: &Source) -> Result<Vec<LabelledSeries>, InputError> {
    let mut lines = Lines::open(input)?;
    let mut rows = Vec::new();
    while let Some(line) = lines.next()? {
        let Some((label, series)) = line.text.split_once('\t') else {
            let message = "expected a TAB and values after the label, found";
            return Err(match other_separator(line.text.trim_ascii_end(), '\t') {
                Some((offset, separators)) => line.error(offset, format!("{message} {separators}")),
                None => line.error(line.text.len(), format!("{message} the end of the line")),
            });
        };
        let mut offset = label.len() + 1;
        let label = label.trim_ascii().to_owned();
        if label.is_empty() {
            return Err(line.error(0, "expected a label before the first TAB, found nothing"));
        }
        let mut values = Vec::with_capacity(series.split('\t').count());
        for part in series.split('\t') {
            values.push(line.value(offset, part)?);
            offset += part.len() + 1;
        }
        lines.keep(ROW_BYTES + label.len() + size_of_val(values.as_slice()))?;
        rows.push(LabelledSeries { label, values });
    }
    if rows.is_empty() {
        return Err(InputError::whole(input, "is empty, expected rows of label TAB values"));
    }
    Ok(rows)
}

//! Rows of CSV files whose fields are more than numbers, one by one.

use super::csv::{expect_fields, fields, header, position, refuse_other_separator, unquote};
use super::lines::{Line, Lines, quote};
use super::{InputError, Source};

/// The longest row, in bytes: such a table has few columns.
const ROW_BYTES_MAX: usize = 4 << 10;

/// The rows of a CSV file in their order.
pub(crate) struct Rows<'a> {
    input: &'a Source,
    lines: Lines<'a>,
    /// How many fields a row has, where a header says so.
    width: Option<usize>,
}

/// One row; its fields are counted from 0.
pub(crate) struct Row<'a> {
    line: Line<'a>,
    fields: Vec<(usize, &'a str)>,
}

impl<'a> Rows<'a> {
    pub(crate) fn open(input: &'a Source) -> Result<Self, InputError> {
        Ok(Self { input, lines: Lines::open(input)?, width: None })
    }

    /// For formats in which a blank line is nothing.
    pub(crate) fn skipping_blank(input: &'a Source) -> Result<Self, InputError> {
        Ok(Self { input, lines: Lines::open(input)?.skipping_blank(), width: None })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>, InputError> {
        let Some(line) = self.lines.next()? else { return Ok(None) };
        if line.text.len() > ROW_BYTES_MAX {
            return Err(line.error(0, format!("the row is longer than {ROW_BYTES_MAX} bytes")));
        }
        let fields: Vec<_> = fields(&line)?.collect();
        match self.width {
            Some(width) => expect_fields(&line, width, fields.len())?,
            None if line.number == 1 => refuse_other_separator(self.input, line.text)?,
            None => {}
        }
        Ok(Some(Row { line, fields }))
    }

    /// Reads the header: which fields the columns of these names are.
    pub(crate) fn header<const N: usize>(&mut self, wanted: [&str; N]) -> Result<[usize; N], InputError> {
        let names = header(self.input, &mut self.lines)?;
        self.width = Some(names.len());
        let mut columns = [0; N];
        for (column, name) in columns.iter_mut().zip(wanted) {
            *column = position(self.input, &names, name)?;
        }
        Ok(columns)
    }
}

impl Row<'_> {
    /// The whole of it.
    pub(crate) fn text(&self) -> &str {
        self.line.text
    }

    /// The field of a column, as `parse` reads it; `expected` says what that takes.
    pub(crate) fn field<T>(
        &self,
        column: usize,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, InputError> {
        let field = self.fields.get(column).and_then(|(_, field)| parse(&unquote(field)));
        field.ok_or_else(|| self.unexpected(column, expected))
    }

    /// That the field of a column is something else than was expected.
    pub(crate) fn unexpected(&self, column: usize, expected: &str) -> InputError {
        let (offset, found) = match self.fields.get(column) {
            Some((offset, field)) => (*offset, quote(&unquote(field))),
            None => (self.line.text.len(), "the end of the line".to_owned()),
        };
        self.line.error(offset, format!("expected {expected}, found {found}"))
    }
}

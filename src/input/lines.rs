//! Lines of text with their numbers, of bounded length, from any source.

use std::io::{BufRead, Read};

use swarm_kernels::MAGNITUDE_MAX;

use super::open::{open, unreadable};
use super::{InputError, Source};

const LINE_BYTES_MAX: u64 = 16 << 20;
const KEPT_BYTES_MAX: usize = 512 << 20;

/// How many blank lines may come last, and how many bytes they may have.
const BLANK_LINES_MAX: usize = 1024;
const BLANK_BYTES_MAX: usize = 64 << 10;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Signs that people write beside the digits of a number.
const NUMBER_SIGNS: &str = "$€£¥₹¢%‰()[]'’_+\"\u{200e}\u{200f}\u{feff}";

/// A reader of lines that may end in LF or CRLF and start with a byte order mark.
///
/// Blank lines may only come last: anywhere else they are a missing value that would shift rows, unless told to skip them.
pub(super) struct Lines<'a> {
    input: &'a Source,
    reader: Box<dyn BufRead>,
    buffer: Vec<u8>,
    number: usize,
    kept_bytes_left: usize,
    skips_blank: bool,
}

/// One line, without its end.
pub(super) struct Line<'a> {
    pub(super) input: &'a Source,
    pub(super) number: usize,
    pub(super) text: &'a str,
}

impl<'a> Lines<'a> {
    pub(super) fn open(input: &'a Source) -> Result<Self, InputError> {
        let reader = open(input)?;
        let buffer = Vec::new();
        Ok(Self { input, reader, buffer, number: 0, kept_bytes_left: KEPT_BYTES_MAX, skips_blank: false })
    }

    /// Leaves out blank lines, for formats that count no rows.
    pub(super) fn skipping_blank(self) -> Self {
        Self { skips_blank: true, ..self }
    }

    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, InputError> {
        let mut blank_at = None;
        let mut blank_bytes = 0;
        while self.read()? {
            if self.text().trim_ascii().is_empty() {
                let first = *blank_at.get_or_insert(self.number);
                blank_bytes += self.buffer.len();
                // The rest is not read: a small gzip file may unfold into any number of them.
                if self.number - first >= BLANK_LINES_MAX || blank_bytes > BLANK_BYTES_MAX {
                    let message = format!("more than {BLANK_LINES_MAX} blank lines or 64 KiB of them");
                    return Err(InputError::at(self.input, first, 1, message));
                }
                continue;
            }
            if let Some(number) = blank_at.filter(|_| !self.skips_blank) {
                let message = "the line is blank, expected a row: rows are counted by lines, so remove it, or \
                               write the value that is missing";
                return Err(InputError::at(self.input, number, 1, message));
            }
            return self.line().map(Some);
        }
        Ok(None)
    }

    /// Counts what a reader keeps of the input, and ends an input that would fill the memory.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), InputError> {
        let left = self.kept_bytes_left.checked_sub(bytes);
        self.kept_bytes_left =
            left.ok_or_else(|| InputError::whole(self.input, "holds more than fits in 512 MiB"))?;
        Ok(())
    }

    /// Fills the buffer with the next line; false at the end.
    fn read(&mut self) -> Result<bool, InputError> {
        self.buffer.clear();
        self.number += 1;
        let length = (&mut self.reader)
            .take(LINE_BYTES_MAX + 1)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|cause| unreadable(self.input, cause))? as u64;
        if length > LINE_BYTES_MAX {
            return Err(InputError::at(
                self.input,
                self.number,
                1,
                "the line is longer than 16 MiB: shorten it, or write numbers with fewer digits",
            ));
        }
        Ok(length > 0)
    }

    /// What was read, without a byte order mark.
    fn text(&self) -> &[u8] {
        let mut bytes = self.buffer.as_slice();
        // Joined files have several.
        while let Some(rest) = bytes.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.number == 1) {
            bytes = rest;
        }
        bytes
    }

    fn line(&self) -> Result<Line<'_>, InputError> {
        let mut bytes = self.text();
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) if text.trim_ascii_end().contains('\r') => {
                let before = text.split('\r').next().unwrap_or_default();
                let message = "a carriage return without a line feed, expected lines that end in LF or CRLF";
                Err(InputError::at(self.input, self.number, before.chars().count() + 1, message))
            }
            Ok(text) => Ok(Line { input: self.input, number: self.number, text }),
            Err(error) => {
                let column = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).chars().count() + 1;
                Err(InputError::at(
                    self.input,
                    self.number,
                    column,
                    "the text is not valid UTF-8, save it in that encoding",
                ))
            }
        }
    }
}

impl Line<'_> {
    /// An error at a byte offset into the line.
    pub(super) fn error(&self, offset: usize, message: impl Into<String>) -> InputError {
        InputError::at(self.input, self.number, self.text[..offset].chars().count() + 1, message)
    }

    /// Parses text that stands at a byte offset of this line as a finite number.
    pub(super) fn value(&self, offset: usize, text: &str) -> Result<f64, InputError> {
        let number = text.trim_ascii();
        let message = match number.parse::<f64>() {
            Ok(value) if value.abs() <= MAGNITUDE_MAX => return Ok(value),
            Ok(value) if value.is_nan() => "expected a number, found NaN".to_owned(),
            Ok(_) => {
                format!("expected a number of at most {MAGNITUDE_MAX:e} in size, found {}", quote(number))
            }
            Err(_) => no_number(number),
        };
        let indent = text.len() - text.trim_ascii_start().len();
        Err(self.error(if number.is_empty() { offset } else { offset + indent }, message))
    }
}

/// What is wrong with a text that is no number here, and what to write where people read numbers in it.
fn no_number(text: &str) -> String {
    let found = quote(text);
    if text.is_empty() {
        return "expected a number, found nothing".to_owned();
    }
    if let Some((whole, decimals)) =
        text.split_once(',').filter(|_| text.replacen(',', ".", 1).parse::<f64>().is_ok())
    {
        let whole = whole.trim_start_matches(['-', '+']);
        let may_be_thousands = (1..=3).contains(&whole.len()) && decimals.len() == 3 && whole != "0";
        if !may_be_thousands {
            return format!("expected a number with a decimal point, found {found}");
        }
        let (point, none) = (text.replace(',', "."), text.replace(',', ""));
        return format!("expected a number, found {found}: write {point} or {none}, whichever is meant");
    }
    let are_numbers = |separator: char| {
        let mut parts = text.split(separator);
        text.contains(separator)
            && parts.all(|part| part.replace(',', ".").trim_ascii().parse::<f64>().is_ok())
    };
    // Groups of three digits are one number with its thousands apart.
    let is_thousands = |part: &str| part.split(['.', ',']).next().is_some_and(|whole| whole.len() == 3);
    let are_blanks_between = are_numbers(' ') && !text.split(' ').skip(1).all(is_thousands);
    if is_formatted(text) && !are_blanks_between {
        return format!(
            "expected a number such as -1234.5, found {found}: write it without signs of currency, percent, brackets, \
             quotes, blanks or thousands"
        );
    }
    match SEPARATORS.into_iter().find(|(separator, _)| are_numbers(*separator)) {
        Some((_, name)) => {
            format!("expected one number, found {found}: several seem to be separated by {name}")
        }
        None => format!("expected a number, found {found}"),
    }
}

/// Whether people read one number in a text that is none here: one with signs of currency, percent, brackets or thousands,
/// with a decimal comma, another minus or wide digits.
pub(super) fn is_formatted(text: &str) -> bool {
    let plain = |c| match c {
        '\u{2212}' | '\u{2013}' | '\u{fe63}' | '\u{ff0d}' => '-',
        '０'..='９' => char::from_digit(c as u32 - '０' as u32, 10).unwrap_or(c),
        c => c,
    };
    // Blanks are thousands inside of a number; beside a comma they make a list.
    let is_sign = |c: &char| (c.is_whitespace() && *c != '\t') || NUMBER_SIGNS.contains(*c);
    let is_list = text.contains(", ");
    let text: String = text.chars().filter(|c| !is_sign(c)).map(plain).collect();
    let text = text.strip_prefix('-').or(text.strip_suffix('-')).unwrap_or(&text);
    let groups: Vec<&str> = text.split(['.', ',']).collect();
    let separators: Vec<&str> = text.matches(['.', ',']).collect();
    let has_digits_only = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit()));
    // Dates in digits and points have groups of other lengths than thousands.
    let are_thousands = match groups[..] {
        [_, ref inner @ .., last] if separators.len() > 1 => {
            inner.iter().all(|group| group.len() == 3)
                && (last.len() == 3 || separators.first() != separators.last())
        }
        _ => true,
    };
    !is_list && has_digits_only && groups.iter().any(|group| !group.is_empty()) && are_thousands
}

/// What separates fields.
const SEPARATORS: [(char, &str); 5] =
    [(';', "semicolons"), ('\t', "TABs"), ('|', "vertical bars"), (',', "commas"), (' ', "blanks")];

/// Text of an input as it may stand in a message: escaped and not too long.
pub(crate) fn quote(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    if text.chars().nth(CHARS_MAX).is_none() {
        format!("{text:?}")
    } else {
        format!("{:?}…", text.chars().take(CHARS_MAX).collect::<String>())
    }
}

/// What the fields of a line seem to be separated by when it is not what was expected, and the byte offset of the first.
pub(super) fn other_separator(text: &str, expected: char) -> Option<(usize, &'static str)> {
    SEPARATORS
        .into_iter()
        .filter(|(separator, _)| *separator != expected)
        .find_map(|(separator, name)| Some((text.find(separator)?, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_would_fill_the_memory_ends_in_an_error() {
        let input = Source::File(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
        let mut lines = Lines::open(&input).unwrap();
        lines.keep(KEPT_BYTES_MAX - 8).unwrap();
        lines.keep(8).unwrap();
        let error = lines.keep(1).unwrap_err().to_string();
        assert_eq!(error, format!("{input}: holds more than fits in 512 MiB"));
    }
}

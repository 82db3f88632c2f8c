//! Lines of text with their numbers, of bounded length, from any source.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use swarm_kernels::MAGNITUDE_MAX;

use super::{InputError, Source};

const LINE_BYTES_MAX: u64 = 16 << 20;
const KEPT_BYTES_MAX: usize = 512 << 20;

/// How many blank lines may come last, and how many bytes they may have.
const BLANK_LINES_MAX: usize = 1024;
const BLANK_BYTES_MAX: usize = 64 << 10;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

const READ_BUFFER_BYTES: usize = 128 << 10;

/// A reader of lines that may end in LF or CRLF and start with a byte order mark.
///
/// Blank lines may only come last: anywhere else they are a missing value that would shift rows.
pub(super) struct Lines<'a> {
    input: &'a Source,
    reader: Box<dyn BufRead>,
    buffer: Vec<u8>,
    number: usize,
    kept_bytes_left: usize,
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
        Ok(Self { input, reader, buffer, number: 0, kept_bytes_left: KEPT_BYTES_MAX })
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
            if let Some(number) = blank_at {
                let message = "a blank line between rows is a missing value";
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
            return Err(InputError::at(self.input, self.number, 1, "the line is longer than 16 MiB"));
        }
        Ok(length > 0)
    }

    /// What was read, without a byte order mark.
    fn text(&self) -> &[u8] {
        let bytes = self.buffer.as_slice();
        if self.number == 1 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) } else { bytes }
    }

    fn line(&self) -> Result<Line<'_>, InputError> {
        let mut bytes = self.text();
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Line { input: self.input, number: self.number, text }),
            Err(error) => {
                let column = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).chars().count() + 1;
                Err(InputError::at(self.input, self.number, column, "the text is not valid UTF-8"))
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
            Err(_) if number.is_empty() => "expected a number, found nothing".to_owned(),
            Err(_) => format!("expected a number, found {}", quote(number)),
        };
        let indent = text.len() - text.trim_ascii_start().len();
        Err(self.error(if number.is_empty() { offset } else { offset + indent }, message))
    }
}

/// Text of an input as it may stand in a message: escaped and not too long.
pub(super) fn quote(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    if text.chars().nth(CHARS_MAX).is_none() {
        format!("{text:?}")
    } else {
        format!("{:?}…", text.chars().take(CHARS_MAX).collect::<String>())
    }
}

/// Opens an input, and unpacks it where it is packed.
fn open(input: &Source) -> Result<Box<dyn BufRead>, InputError> {
    Ok(match input {
        Source::Stdin => Box::new(io::stdin().lock()),
        Source::File(path) => {
            let file =
                File::open(path).map_err(|cause| InputError::Unreadable { input: input.clone(), cause })?;
            if is_gzip(input) {
                let text = MultiGzDecoder::new(file);
                Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, text))
            } else {
                Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, file))
            }
        }
    })
}

/// The whole of a small input.
pub(super) fn text(input: &Source, bytes_max: u64) -> Result<String, InputError> {
    let mut text = Vec::new();
    let read = open(input)?.take(bytes_max + 1).read_to_end(&mut text);
    let length = read.map_err(|cause| unreadable(input, cause))? as u64;
    if length > bytes_max {
        return Err(InputError::whole(input, format!("is longer than {bytes_max} bytes")));
    }
    String::from_utf8(text).map_err(|_| InputError::whole(input, "is no valid UTF-8"))
}

fn is_gzip(input: &Source) -> bool {
    matches!(input, Source::File(path) if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz")))
}

fn unreadable(input: &Source, cause: io::Error) -> InputError {
    let damaged = matches!(
        cause.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    );
    if damaged && is_gzip(input) {
        InputError::whole(input, format!("is not a complete gzip file: {cause}"))
    } else {
        InputError::Unreadable { input: input.clone(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_would_fill_the_memory_ends_in_an_error() {
        let mut lines = Lines::open(&Source::Stdin).unwrap();
        lines.keep(KEPT_BYTES_MAX - 8).unwrap();
        lines.keep(8).unwrap();
        let error = lines.keep(1).unwrap_err().to_string();
        assert_eq!(error, "standard input: holds more than fits in 512 MiB");
    }
}

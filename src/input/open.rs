//! Opening inputs: what is packed with gzip is unpacked, and what is no text is named.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;

use super::{InputError, Source};

const READ_BUFFER_BYTES: usize = 128 << 10;

/// What a gzip member begins with.
const GZIP_MARK: [u8; 2] = [0x1f, 0x8b];

/// What the longest mark of a format takes.
const START_BYTES: usize = 6;

/// Opens an input, and unpacks it where it is packed: by the end of its name, or by its first bytes.
pub(super) fn open(input: &Source) -> Result<Box<dyn BufRead>, InputError> {
    let failed = |cause| InputError::Unreadable { input: input.clone(), cause };
    let mut bytes: Box<dyn Read> = match input {
        Source::Stdin => Box::new(io::stdin().lock()),
        Source::File(path) => Box::new(File::open(path).map_err(failed)?),
    };
    let mut start = Vec::with_capacity(START_BYTES);
    bytes.by_ref().take(START_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    let is_packed = start.starts_with(&GZIP_MARK) || is_called_gzip(input);
    if let Some(format) = format_of(&start).filter(|_| !is_packed) {
        return Err(InputError::whole(input, format!("looks like {format}, expected text in UTF-8")));
    }
    let bytes = BufReader::with_capacity(READ_BUFFER_BYTES, Cursor::new(start).chain(bytes));
    Ok(if is_packed {
        let member = Some(GzDecoder::new(bytes));
        Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, Members { member }))
    } else {
        Box::new(bytes)
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
    let text = String::from_utf8(text).map_err(|_| InputError::whole(input, "is not valid UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}

/// Why an open input gave no more bytes.
pub(super) fn unreadable(input: &Source, cause: io::Error) -> InputError {
    // An error of the system has a number, one of the decoder has none.
    if cause.raw_os_error().is_some() {
        InputError::Unreadable { input: input.clone(), cause }
    } else {
        InputError::whole(input, format!("is not a complete gzip file: {cause}"))
    }
}

fn is_called_gzip(input: &Source) -> bool {
    matches!(input, Source::File(path) if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz")))
}

/// What is no UTF-8 text, by its first bytes.
fn format_of(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [0, 1..=u8::MAX, ..] | [1..=u8::MAX, 0, ..] => Some("UTF-16 without its mark"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive or a spreadsheet"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("a Zstandard file"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("an xz file"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Some("a bzip2 file"),
        _ => None,
    }
}

/// What is in all members of a gzip file. Zeros after a member are padding, as they are for gzip itself.
struct Members<R> {
    /// None after the last one.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let length = member.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let rest = member.get_mut();
            let is_last = is_nothing_but_zeros(rest)?;
            if !is_last && rest.fill_buf()?.first() != Some(&GZIP_MARK[0]) {
                return Err(io::Error::other("after its end come bytes that are no gzip, remove them"));
            }
            self.member = self.member.take().filter(|_| !is_last).map(|it| GzDecoder::new(it.into_inner()));
        }
        Ok(0)
    }
}

/// Reads zeros up to the end, or up to another byte.
fn is_nothing_but_zeros(bytes: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let next = bytes.fill_buf()?;
        let (zeros, count) = (next.iter().take_while(|byte| **byte == 0).count(), next.len());
        bytes.consume(zeros);
        if zeros < count || count == 0 {
            return Ok(count == 0);
        }
    }
}

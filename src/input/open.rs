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

/// Opens an input, and unpacks it where its first bytes say that it is packed, whatever its name. A name that promises
/// what they do not say is refused: such a file is often a damaged one.
pub(super) fn open(input: &Source) -> Result<Box<dyn BufRead>, InputError> {
    let failed = |cause| InputError::Unreadable { input: input.clone(), cause };
    let bytes: Box<dyn Read> = match input {
        Source::Stdin => Box::new(io::stdin().lock()),
        Source::File(path) => Box::new(File::open(path).map_err(failed)?),
    };
    let (start, bytes) = begin(bytes).map_err(failed)?;
    if !start.starts_with(&GZIP_MARK) {
        refuse_other_format(input, &start)?;
        if is_called_gzip(input) {
            return Err(InputError::whole(
                input,
                "is called .gz and is no gzip file, rename it if it is text",
            ));
        }
        return Ok(Box::new(bytes));
    }
    let members = Members { member: Some(GzDecoder::new(bytes)) };
    let (start, text) = begin(members).map_err(|cause| unreadable(input, cause))?;
    refuse_other_format(input, &start)?;
    Ok(Box::new(text))
}

/// The first bytes, and a reader of all.
fn begin<R: Read>(mut bytes: R) -> io::Result<(Vec<u8>, impl BufRead + use<R>)> {
    let mut start = Vec::with_capacity(START_BYTES);
    bytes.by_ref().take(START_BYTES as u64).read_to_end(&mut start)?;
    let all = Cursor::new(start.clone()).chain(bytes);
    Ok((start, BufReader::with_capacity(READ_BUFFER_BYTES, all)))
}

fn refuse_other_format(input: &Source, start: &[u8]) -> Result<(), InputError> {
    format_of(start).map_or(Ok(()), |format| {
        Err(InputError::whole(input, format!("looks like {format}, expected text in UTF-8")))
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
    let text = String::from_utf8(text)
        .map_err(|_| InputError::whole(input, "is not valid UTF-8, save it in that encoding"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
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

/// What is no UTF-8 text, by its first bytes; the longer marks first.
fn format_of(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0, 0, 0, 1..=u8::MAX, ..] | [1..=u8::MAX, 0, 0, 0, ..] => Some("UTF-32 without its mark"),
        [0x5d, 0, 0, ..] => Some("an LZMA file"),
        [0, 0, ..] => Some("binary data"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [0, 1..=u8::MAX, ..] | [1..=u8::MAX, 0, ..] => Some("UTF-16 without its mark"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive or a spreadsheet"),
        [b'P', b'K', 5, 6, ..] => Some("an empty ZIP archive"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Some("a spreadsheet of the old kind"),
        [b'%', b'P', b'D', b'F', ..] => Some("a PDF file"),
        [b'P', b'A', b'R', b'1', ..] => Some("a Parquet file"),
        [0x7f, b'E', b'L', b'F', ..] => Some("a program"),
        [0x1f, 0x8b, ..] => Some("a gzip file within another, unpack it once"),
        [0x1f, 0x9d, ..] | [0x78, 0x01 | 0x9c | 0xda, ..] => Some("a file packed by compress or zlib"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("a Zstandard file"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("an xz file"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Some("a bzip2 file"),
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

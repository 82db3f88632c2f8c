//! Variable-length integers of QUIC (RFC 9000, section 16): the first two bits say whether 1, 2,
//! 4 or 8 bytes carry the value, most significant byte first.

/// The largest value: 2^62 - 1.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// The shortest form of `value`, which must not exceed [`VARINT_MAX`]: its width, and as many of these bytes.
#[inline]
pub(crate) fn shortest(value: u64) -> ([u8; 8], usize) {
    debug_assert!(value <= VARINT_MAX);
    let width = width(value);
    let tag = u64::from(width.trailing_zeros()) << 62;
    ((value << (64 - 8 * width) | tag).to_be_bytes(), width)
}

/// Appends `value`, which must not exceed [`VARINT_MAX`], in the shortest form.
#[inline]
pub fn put(value: u64, out: &mut Vec<u8>) {
    let (bytes, width) = shortest(value);
    out.extend_from_slice(&bytes[..width]);
}

/// How many bytes [`put`] appends for `value`.
#[inline]
pub fn width(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// The integer at the beginning of `bytes` and its width; `None` where they end too early.
#[inline]
pub fn get(bytes: &[u8]) -> Option<(u64, usize)> {
    let width = 1 << (*bytes.first()? >> 6);
    let whole = match bytes.first_chunk() {
        Some(chunk) => *chunk,
        None => {
            let mut chunk = [0; 8];
            chunk[..width].copy_from_slice(bytes.get(..width)?);
            chunk
        }
    };
    Some(((u64::from_be_bytes(whole) & VARINT_MAX) >> (64 - 8 * width), width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 9000, appendix A.1.
        let examples: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (bytes, value) in examples {
            assert_eq!(get(bytes), Some((value, bytes.len())));
            let mut out = Vec::new();
            put(value, &mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn every_width_comes_back_and_short_input_is_seen() {
        for value in [0, 63, 64, 16_383, 16_384, 1_073_741_823, 1_073_741_824, VARINT_MAX] {
            let mut out = Vec::new();
            put(value, &mut out);
            assert_eq!(out.len(), width(value));
            assert_eq!(get(&out), Some((value, out.len())));
            assert_eq!(get(&out[..out.len() - 1]), None);
        }
    }
}

use super::*;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Z]{0,5}", "\\PC{0,12}"]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let values =
        prop::collection::vec(prop_oneof![-1e9..1e9_f64, Just(-0.0), Just(f64::MIN_POSITIVE / 8.0)], 1..40);
    let attributes = prop::collection::btree_map(text(), text(), 0..4);
    (text(), any::<i64>(), any::<i64>(), text(), attributes, values).prop_map(
        |(name, a, b, label, attributes, values)| {
            let metadata = Metadata { name, start: a.min(b), end: a.max(b), label, attributes };
            Pattern { metadata, values }
        },
    )
}

/// What the bytes hold, values as their bits, or why they hold nothing.
fn read(file: &[u8]) -> Result<Vec<(Metadata, Vec<u64>)>, FormatError> {
    let catalogue = Catalogue::read(file)?;
    let content = |entry: &Entry| {
        let values: Vec<u64> = entry.values(file).iter().map(|value| value.to_bits()).collect();
        assert_eq!((entry.len(), entry.is_empty()), (values.len(), false));
        (entry.metadata.clone(), values)
    };
    Ok(catalogue.entries().iter().map(content).collect())
}

fn content(patterns: &[Pattern]) -> Vec<(Metadata, Vec<u64>)> {
    let bits = |pattern: &Pattern| pattern.values.iter().map(|value| value.to_bits()).collect();
    patterns.iter().map(|pattern| (pattern.metadata.clone(), bits(pattern))).collect()
}

/// Gives header, index and metadata the checksums of what they hold now.
fn with_checksums(mut file: Vec<u8>) -> Vec<u8> {
    let at = |file: &[u8], at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    for (range_at, hash_at) in [(32, INDEX_HASH_AT), (48, METADATA_HASH_AT)] {
        let (offset, bytes) = (at(&file, range_at), at(&file, range_at + 8));
        if let Some(section) = offset.checked_add(bytes).and_then(|end| file.get(offset..end)) {
            let hash = ContentHash::of(section);
            file[hash_at..hash_at + 32].copy_from_slice(hash.as_bytes());
        }
    }
    let hash = ContentHash::of(&file[..HEADER_HASHED_BYTES]);
    file[HEADER_HASHED_BYTES..HEADER_BYTES].copy_from_slice(hash.as_bytes());
    file
}

proptest! {
    #[test]
    fn what_was_written_is_read(patterns in prop::collection::vec(pattern(), 0..6), shift in 0_usize..9) {
        let file = encode(&patterns).unwrap();
        prop_assert_eq!(read(&file).unwrap(), content(&patterns));
        let catalogue = Catalogue::read(&file).unwrap();
        for (entry, pattern) in catalogue.entries().iter().zip(&patterns) {
            prop_assert_eq!(entry.values.start % ALIGNMENT, 0);
            let part = SeriesGroup::of_one(pattern.values.clone()).unwrap();
            prop_assert_eq!(entry.part, ContentHash::of(&part.encode()));
        }
        // Wherever in memory the bytes lie.
        let shifted = [vec![0; shift], file.clone()].concat();
        prop_assert_eq!(read(&shifted[shift..]).unwrap(), content(&patterns));
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed(
        patterns in prop::collection::vec(pattern(), 0..4), place in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let mut file = encode(&patterns).unwrap();
        let place = place.index(file.len());
        file[place] ^= 1 << bit;
        prop_assert!(read(&file).is_err(), "byte {}", place);
    }

    #[test]
    fn no_missing_or_added_byte_goes_unnoticed(
        patterns in prop::collection::vec(pattern(), 0..4), place in any::<prop::sample::Index>(), added in 1_usize..200,
    ) {
        let mut file = encode(&patterns).unwrap();
        prop_assert!(read(&file[..place.index(file.len())]).is_err());
        file.resize(file.len() + added, 0);
        let is_noticed = matches!(read(&file), Err(FormatError::Length { .. }));
        prop_assert!(is_noticed);
    }

    /// With checksums that hold only the checks of the content itself stand between the bytes and a panic.
    #[test]
    fn forged_bytes_give_an_error_or_patterns_that_can_be_read(
        patterns in prop::collection::vec(pattern(), 0..4),
        forgeries in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
    ) {
        let mut file = encode(&patterns).unwrap();
        for (place, byte, section) in forgeries {
            // The header and the index more often than they are long.
            let end = [file.len(), 80, (HEADER_BYTES + patterns.len() * ENTRY_BYTES).min(file.len())];
            file[place.index(end[usize::from(section)])] = byte;
        }
        let file = with_checksums(file);
        if let Ok(found) = read(&file) {
            // Nothing is left to the writer, so what can be read is what would be written.
            let patterns: Vec<Pattern> = found
                .into_iter()
                .map(|(metadata, bits)| Pattern { metadata, values: bits.into_iter().map(f64::from_bits).collect() })
                .collect();
            prop_assert_eq!(encode(&patterns).unwrap(), file);
        }
    }
}

fn example() -> Vec<Pattern> {
    let metadata = Metadata {
        name: "SPY".into(),
        start: -5,
        end: 7,
        label: "flag".into(),
        attributes: [("source".into(), "lean".into())].into(),
    };
    vec![Pattern { metadata, values: vec![1.0, 2.5] }]
}

#[test]
fn the_layout_is_the_documented_one() {
    let file = encode(&example()).unwrap();
    let at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    assert_eq!(&file[..16], b"SWARMPAT\x01\0\0\0\xc0\0\0\0");
    let metadata = b"\x03\0SPY\x04\0flag\x01\0\x06\0source\x04\0lean";
    assert_eq!(
        [16, 24, 32, 40, 48, 56, 64, 72].map(at),
        [336, 1, 192, 80, 272, metadata.len() as u64, 320, 16]
    );
    assert_eq!([192, 200, 208, 216].map(at), [320, 2, 272, metadata.len() as u64]);
    assert_eq!([224, 232].map(at), [(-5_i64) as u64, 7]);
    assert_eq!(&file[272..272 + metadata.len()], metadata);
    // The mark of a group, one series, 16 bytes.
    let part = [&[0, 1, 16], &file[320..336]].concat();
    assert_eq!(file[240..272], ContentHash::of(&part).as_bytes()[..]);
    assert_eq!(&file[320..], [1.0_f64.to_le_bytes(), 2.5_f64.to_le_bytes()].concat());
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    let file = encode(&example()).unwrap();
    let changed = |place: usize, byte: u8| {
        let mut file = file.clone();
        file[place] = byte;
        file
    };
    let error = |file: &[u8]| read(file).unwrap_err().to_string();
    assert_eq!(error(b"SWARMPA"), "it has 7 bytes, fewer than the 192 of a header");
    assert_eq!(error(&[b'x'; 500]), "it does not begin with SWARMPAT, so it is no file of patterns");
    assert_eq!(error(&changed(8, 2)), "it has version 2 of the format; this program reads 1");
    assert_eq!(error(&file[..335]), "its header speaks of 336 bytes, but it has 335");
    let checksum = |what| format!("the checksum of {what} is wrong");
    assert_eq!(error(&changed(20, 9)), checksum("the header at byte 0"));
    assert_eq!(error(&changed(200, 9)), checksum("the index at byte 192"));
    assert_eq!(error(&changed(275, 9)), checksum("the metadata at byte 272"));
    assert_eq!(error(&changed(330, 9)), checksum("the values of pattern 0 at byte 320"));
    assert_eq!(error(&changed(319, 1)), "at byte 319 is not a 0 of the padding");
    assert_eq!(
        error(&with_checksums(changed(200, 3))),
        "at byte 200 is not a number of values that fits into the file"
    );
}

#[test]
fn what_cannot_be_written_is_named() {
    let refused = |change: &dyn Fn(&mut Pattern)| {
        let mut patterns = [example(), example()].concat();
        change(&mut patterns[1]);
        encode(&patterns).unwrap_err()
    };
    assert_eq!(refused(&|p| p.values.clear()), EncodeError::NoValues { pattern: 1 });
    assert_eq!(refused(&|p| p.values.push(f64::NAN)), EncodeError::NotFinite { pattern: 1, index: 2 });
    assert_eq!(
        refused(&|p| p.metadata.end = -6),
        EncodeError::EndsBeforeStart { pattern: 1, start: -5, end: -6 }
    );
    assert_eq!(
        refused(&|p| p.metadata.label = "x".repeat(70_000)),
        EncodeError::TextTooLong { pattern: 1, what: "label", bytes: 70_000 }
    );
    let many = (0..70_000).map(|key| (key.to_string(), String::new()));
    assert_eq!(
        refused(&|p| p.metadata.attributes.extend(many.clone())),
        EncodeError::TooManyAttributes { pattern: 1, count: 70_001 }
    );
}

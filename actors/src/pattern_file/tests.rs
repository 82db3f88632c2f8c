use super::*;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;

use crate::{content_store::Contents, temp_folder::TempFolder};
use proptest::prelude::*;
use swarm_kernels::{compared, dtw, z_normalize};

struct Folder(TempFolder);

impl Folder {
    fn new() -> Self {
        Self(TempFolder::new())
    }

    fn file(&self) -> PathBuf {
        self.0.join("some.patterns")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&*self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn pattern(name: &str, values: &[f64]) -> Pattern {
    let metadata = Metadata { name: name.into(), start: 1, end: 2, ..Metadata::default() };
    Pattern { metadata, values: values.to_vec() }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn contents(file: &PatternFile) -> Vec<Pattern> {
    let pattern = |(index, entry): (usize, &Entry)| Pattern {
        metadata: entry.metadata.clone(),
        values: file.values(index).into_owned(),
    };
    file.entries().iter().enumerate().map(pattern).collect()
}

#[test]
fn a_mapped_file_and_one_that_was_read_hold_the_same() {
    let folder = Folder::new();
    let patterns = [pattern("A", &[1.0, -2.5]), pattern("B", &[0.25; 100]), pattern("", &[f64::MAX])];
    PatternFile::write(&folder.file(), &patterns).unwrap();
    let mapped = PatternFile::open(&folder.file()).unwrap();
    assert!(mapped.is_mapped());
    for index in 0..3 {
        let values = mapped.values(index);
        assert!(matches!(values, Cow::Borrowed(_)));
        assert_eq!(values.as_ptr() as usize % 64, 0);
    }
    // Someone might change it.
    set_mode(&folder.file(), 0o464);
    let read = PatternFile::open(&folder.file()).unwrap();
    assert!(!read.is_mapped());
    assert_eq!(contents(&mapped), patterns);
    assert_eq!(contents(&read), patterns);
}

#[test]
fn a_file_is_replaced_whole_and_who_has_it_open_keeps_the_old_one() {
    let folder = Folder::new();
    let old = [pattern("old", &[1.0, 2.0])];
    PatternFile::write(&folder.file(), &old).unwrap();
    let opened = PatternFile::open(&folder.file()).unwrap();
    let bad = PatternFile::write(&folder.file(), &[pattern("bad", &[])]).unwrap_err();
    assert!(matches!(bad, PatternFileError::Encode(EncodeError::NoValues { pattern: 0 })));
    assert_eq!(contents(&PatternFile::open(&folder.file()).unwrap()), old);

    PatternFile::write(&folder.file(), &[pattern("new", &[3.0])]).unwrap();
    assert_eq!(contents(&opened), old);
    assert_eq!(PatternFile::open(&folder.file()).unwrap().entries()[0].metadata.name, "new");
    assert_eq!(folder.names(), ["some.patterns"], "nothing is left behind");
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o222, 0);
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = Folder::new();
    let error = |path: &Path| PatternFile::open(path).unwrap_err().to_string();
    let path = folder.file();
    let absent = error(&path);
    assert!(absent.starts_with(&format!("cannot open {}: ", path.display())), "{absent}");
    assert!(absent.contains("(os error 2)"), "{absent}");
    assert_eq!(error(&folder.0), format!("cannot open {}: it is no file", folder.0.display()));
    fs::write(&path, "").unwrap();
    let short = "cannot be read: it has 0 bytes, fewer than the 192 of a header";
    assert_eq!(error(&path), format!("{} {short}", path.display()));
    // Nobody may write it, and a map of nothing is refused by some systems.
    set_mode(&path, 0o444);
    assert_eq!(error(&path), format!("{} {short}", path.display()));
    let nowhere = PatternFile::write(&folder.0.join("absent/some"), &[]).unwrap_err();
    assert!(matches!(nowhere, PatternFileError::Io { doing: "write", .. }));
    assert!(
        nowhere.to_string().contains("some: ") && nowhere.to_string().contains("(os error 2)"),
        "{nowhere}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_damage_gets_past_a_map(place in any::<prop::sample::Index>(), bit in 0_u8..8, is_cut: bool) {
        let folder = Folder::new();
        PatternFile::write(&folder.file(), &[pattern("A", &[1.0, 2.0]), pattern("B", &[4.0; 9])]).unwrap();
        let mut bytes = fs::read(folder.file()).unwrap();
        let place = place.index(bytes.len());
        if is_cut {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << bit;
        }
        let damaged = folder.0.join("damaged");
        fs::write(&damaged, bytes).unwrap();
        set_mode(&damaged, 0o444);
        let error = PatternFile::open(&damaged).unwrap_err();
        prop_assert!(matches!(error, PatternFileError::Format { .. }), "{}", error);
    }

    #[test]
    fn the_nearest_patterns_are_those_of_comparing_with_all(
        values in prop::collection::vec(prop::collection::vec((-6_i8..6).prop_map(f64::from), 1..24), 1..20),
        query in prop::collection::vec((-6_i8..6).prop_map(f64::from), 1..24),
        half_width in 0_usize..8, count in 1_usize..25,
    ) {
        let folder = Folder::new();
        let patterns: Vec<Pattern> = values.iter().map(|values| pattern("A", values)).collect();
        PatternFile::write(&folder.file(), &patterns).unwrap();
        let file = PatternFile::open(&folder.file()).unwrap();
        let band = Band::Points(half_width);
        let found = file.nearest_neighbour(band).unwrap().nearest(&query, count).unwrap();

        let distance = |values: &Vec<f64>| {
            let distance = dtw::distance_squared(&z_normalize(&query), &z_normalize(values), band).unwrap();
            compared(distance, query.len().max(values.len()))
        };
        let mut expected: Vec<(usize, f64)> = values.iter().map(distance).enumerate().collect();
        expected.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        expected.truncate(count);
        let found: Vec<(usize, f64)> = found.iter().map(|near| (near.index, near.distance_squared)).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn an_agent_holds_a_pattern_under_the_name_that_is_in_the_file() {
    let folder = Folder::new();
    PatternFile::write(&folder.file(), &[pattern("A", &[1.0, 3.0]), pattern("B", &[0.5; 300])]).unwrap();
    let file = PatternFile::open(&folder.file()).unwrap();
    let contents = Contents::new(1 << 20);
    for (index, entry) in file.entries().iter().enumerate() {
        assert_eq!(contents.insert(file.part(index).unwrap()), Ok(entry.part));
    }
}

//! What agents keep under the name of its content.

use crate::{
    series_group::{GROUP_MARK, InvalidGroup, SeriesGroup},
    similar_windows::{InvalidPart, SeriesPart},
};

/// Content that can be stored with [`StorePart`](crate::similar_windows::StorePart). The first byte of an
/// encoding says which kind it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// A part of a pattern library.
    Series(SeriesPart),
    /// Series that units of work are computed on.
    Group(SeriesGroup),
}

/// Why bytes are no [`Part`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UnknownPart {
    /// They begin like a part of a pattern library, and are none.
    #[error(transparent)]
    Series(#[from] InvalidPart),
    /// They begin like a group of series, and are none.
    #[error(transparent)]
    Group(#[from] InvalidGroup),
}

/// What an entry of a list of series takes in memory beside its values.
const ENTRY_BYTES: usize = 48;

impl Part {
    /// The part that `bytes` encode; they come from a peer and are checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnknownPart> {
        Ok(match bytes.first() {
            Some(&GROUP_MARK) => Part::Group(SeriesGroup::decode(bytes)?),
            _ => Part::Series(SeriesPart::decode(bytes)?),
        })
    }

    /// How many values each of its series has.
    pub fn lengths(&self) -> Vec<u32> {
        match self {
            Part::Series(part) => vec![u32::try_from(part.closes().len()).expect("at most BARS_MAX bars")],
            Part::Group(group) => group.lengths(),
        }
    }

    /// What the part counts against the bound of a store when its encoding has so many bytes: short series
    /// take more memory than their encoding is long.
    pub fn weight(&self, encoded_bytes: usize) -> usize {
        match self {
            Part::Series(_) => encoded_bytes,
            Part::Group(group) => encoded_bytes + ENTRY_BYTES * group.series().len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similar_windows::Day;

    #[test]
    fn the_first_byte_says_what_a_part_is() {
        let day = Day::from_epoch_days(3).unwrap();
        let series = SeriesPart::new("A".parse().unwrap(), vec![day], vec![1.0]).unwrap();
        assert_eq!(Part::decode(&series.encode()), Ok(Part::Series(series)));
        let group = SeriesGroup::of_one(vec![1.0, 2.0]).unwrap();
        assert_eq!(Part::decode(&group.encode()), Ok(Part::Group(group)));
        assert!(matches!(Part::decode(&[0, 0]), Err(UnknownPart::Group(InvalidGroup::Count { series: 0 }))));
        assert!(matches!(Part::decode(&[]), Err(UnknownPart::Series(_))));
    }
}

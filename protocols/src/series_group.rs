//! Groups of plain numeric series: what units of work are computed on.

use crate::{
    Blob, ContentHash, Floats,
    wire::codec::{self, DecodeError},
};
use serde::{Deserialize, Serialize};

/// The most series in a group.
pub const SERIES_MAX: usize = 1 << 16;

/// The most values in a group, over all its series: half of what a message may hold.
pub const VALUES_MAX: usize = 1 << 22;

/// The longest encoding of a group, in bytes: its mark and its count, then at most five bytes for the length
/// of a series and eight for a value.
pub const GROUP_BYTES_MAX: usize = 16 + SERIES_MAX * 5 + VALUES_MAX * 8;

/// The largest magnitude of a value, that of the kernels: no sum of squares overflows.
pub const MAGNITUDE_MAX: f64 = 1e100;

/// The first byte of an encoded group. A [`SeriesPart`](crate::similar_windows::SeriesPart) begins with the
/// length of its symbol, which is never zero.
pub const GROUP_MARK: u8 = 0;

/// Some series of any lengths.
///
/// A group that exists is valid: at least one series, none of them empty, no more than [`SERIES_MAX`] series
/// and [`VALUES_MAX`] values, each of them NaN, which is a missing one, or within [`MAGNITUDE_MAX`].
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesGroup {
    series: Vec<Floats>,
}

/// Why something is no group of series.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidGroup {
    /// It holds no series, or more than [`SERIES_MAX`].
    #[error("{series} series, expected are 1 to {SERIES_MAX}")]
    Count {
        /// How many there are.
        series: usize,
    },
    /// A series has no value.
    #[error("series {series} is empty")]
    Empty {
        /// Its position, from 0.
        series: usize,
    },
    /// There are more than [`VALUES_MAX`] values.
    #[error("{values} values, expected are at most {VALUES_MAX}")]
    Values {
        /// How many there are.
        values: usize,
    },
    /// A value is infinite or beyond [`MAGNITUDE_MAX`].
    #[error("series {series} holds {value:e} at index {index}; magnitudes end at {MAGNITUDE_MAX:e}")]
    Magnitude {
        /// The position of the series, from 0.
        series: usize,
        /// The position of the value in it, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
    /// There are more bytes than any group has, so they were not looked at.
    #[error("{bytes} bytes are more than the {GROUP_BYTES_MAX} that a group has at the most")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes are no group at all.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
}

#[derive(Serialize, Deserialize)]
struct Encoded<S> {
    mark: u8,
    series: S,
}

impl SeriesGroup {
    /// A group of these series.
    pub fn new(series: Vec<Floats>) -> Result<Self, InvalidGroup> {
        if series.is_empty() || series.len() > SERIES_MAX {
            return Err(InvalidGroup::Count { series: series.len() });
        }
        if let Some(empty) = series.iter().position(|values| values.is_empty()) {
            return Err(InvalidGroup::Empty { series: empty });
        }
        let values: usize = series.iter().map(|values| values.len()).sum();
        if values > VALUES_MAX {
            return Err(InvalidGroup::Values { values });
        }
        // A comparison with NaN is false, so NaN is not beyond any limit.
        let is_beyond = |value: &f64| value.abs() > MAGNITUDE_MAX;
        for (at, values) in series.iter().enumerate() {
            if let Some(index) = values.iter().position(is_beyond) {
                return Err(InvalidGroup::Magnitude { series: at, index, value: values[index] });
            }
        }
        Ok(Self { series })
    }

    /// A group of one series.
    pub fn of_one(values: Vec<f64>) -> Result<Self, InvalidGroup> {
        Self::new(vec![values.into()])
    }

    /// The name of a group of one series, whose values are these as little-endian bytes: the hash of what
    /// [`encode`](Self::encode) makes of it, without a copy of the values.
    pub(crate) fn name_of_one(values: &[u8]) -> ContentHash {
        // The bytes of a sequence follow their length, and a tuple is nothing but its fields.
        let before = codec::encode(&(GROUP_MARK, 1_usize, values.len())).expect("three numbers are short");
        ContentHash::of_pieces([before.as_slice(), values])
    }

    /// The bytes that make up the group wherever it lies; its name is their
    /// [`ContentHash`].
    pub fn encode(&self) -> Blob {
        let encoded = Encoded { mark: GROUP_MARK, series: &self.series };
        codec::encode(&encoded).expect("a valid group is shorter than a message").into()
    }

    /// The group that `bytes` encode; they come from a peer and are checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidGroup> {
        if bytes.len() > GROUP_BYTES_MAX {
            return Err(InvalidGroup::TooLong { bytes: bytes.len() });
        }
        let Encoded { mark, series } = codec::decode::<Encoded<Vec<Floats>>>(bytes)?;
        if mark != GROUP_MARK {
            let reason = format!("it begins with {mark}, a group with {GROUP_MARK}");
            return Err(DecodeError::Malformed { wanted: "SeriesGroup", reason }.into());
        }
        Self::new(series)
    }

    /// The series, in their order.
    pub fn series(&self) -> &[Floats] {
        &self.series
    }

    /// How many values each series has.
    pub fn lengths(&self) -> Vec<u32> {
        let length = |values: &Floats| u32::try_from(values.len()).expect("at most VALUES_MAX values");
        self.series.iter().map(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similar_windows::{Day, SeriesPart};

    fn group(series: &[&[f64]]) -> Result<SeriesGroup, InvalidGroup> {
        SeriesGroup::new(series.iter().map(|values| values.to_vec().into()).collect())
    }

    #[test]
    fn a_group_survives_the_wire_and_nothing_else_does() {
        let whole = group(&[&[1.5, -2.0], &[f64::MIN_POSITIVE]]).unwrap();
        let bytes = whole.encode();
        assert_eq!(bytes[..3], [GROUP_MARK, 2, 16], "a mark, a count, the bytes of the first series");
        assert_eq!(SeriesGroup::decode(&bytes), Ok(whole.clone()));
        assert_eq!(whole.lengths(), [2, 1]);
        for length in 0..bytes.len() {
            assert!(matches!(SeriesGroup::decode(&bytes[..length]), Err(InvalidGroup::Undecodable(_))));
        }
        let mut marked = bytes.to_vec();
        marked[0] = 3;
        assert!(SeriesGroup::decode(&marked).unwrap_err().to_string().contains("begins with 3"));
        let missing = group(&[&[f64::NAN]]).unwrap();
        assert!(SeriesGroup::decode(&missing.encode()).unwrap().series()[0][0].is_nan());
    }

    #[test]
    fn what_a_peer_sends_is_checked() {
        assert_eq!(group(&[]), Err(InvalidGroup::Count { series: 0 }));
        assert_eq!(group(&[&[1.0], &[]]), Err(InvalidGroup::Empty { series: 1 }));
        let reason = group(&[&[1.0], &[0.0, f64::INFINITY]]).unwrap_err().to_string();
        assert_eq!(reason, "series 1 holds inf at index 1; magnitudes end at 1e100");
        assert!(group(&[&[-1e100]]).is_ok());
        assert_eq!(
            SeriesGroup::new(vec![vec![0.0].into(); SERIES_MAX + 1]),
            Err(InvalidGroup::Count { series: SERIES_MAX + 1 })
        );
        assert_eq!(
            SeriesGroup::of_one(vec![0.0; VALUES_MAX + 1]),
            Err(InvalidGroup::Values { values: VALUES_MAX + 1 })
        );
        let longer = vec![0; GROUP_BYTES_MAX + 1];
        assert_eq!(SeriesGroup::decode(&longer), Err(InvalidGroup::TooLong { bytes: GROUP_BYTES_MAX + 1 }));
    }

    #[test]
    fn the_largest_group_is_no_longer_than_said_and_fits_a_message() {
        let series = (0..SERIES_MAX).map(|_| vec![1.5; VALUES_MAX / SERIES_MAX].into()).collect();
        let bytes = SeriesGroup::new(series).unwrap().encode();
        assert!(bytes.len() <= GROUP_BYTES_MAX);
        const { assert!(GROUP_BYTES_MAX + 1_024 < codec::MESSAGE_BYTES_MAX) };
        assert!(SeriesGroup::decode(&bytes).is_ok());
    }

    #[test]
    fn a_part_of_a_pattern_library_is_no_group() {
        let day = Day::from_epoch_days(3).unwrap();
        let part = SeriesPart::new("A".parse().unwrap(), vec![day], vec![1.0]).unwrap().encode();
        assert_ne!(part[0], GROUP_MARK);
        assert!(SeriesGroup::decode(&part).is_err());
        assert!(SeriesPart::decode(&group(&[&[1.0]]).unwrap().encode()).is_err());
    }
}

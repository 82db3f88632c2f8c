//! The layout, byte by byte. `SPEC.md` quotes these vectors; a change of any of them is a new codec.

use super::{decode, encode};
use crate::Floats;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(u16);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i64,
    y: u16,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(u16),
    Tuple(u8, bool),
    Struct { x: i64, y: String },
}

#[track_caller]
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, expected: &str) {
    let bytes = encode(&value).unwrap();
    let text: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text.join(" "), expected, "{value:?}");
    assert_eq!(decode(&bytes), Ok(value));
}

#[test]
#[rustfmt::skip]
fn one_byte_values_are_that_byte() {
    check(0u8,                  "00");
    check(250u8,                "fa");
    check(251u8,                "fb");
    check(255u8,                "ff");
    check(1i8,                  "01");
    check(-1i8,                 "ff");
    check(i8::MIN,              "80");
    check(false,                "00");
    check(true,                 "01");
}

#[test]
#[rustfmt::skip]
fn unsigned_integers_take_the_shortest_form_whatever_their_type() {
    check(0u16,                 "00");
    check(250u16,               "fa");
    check(251u16,               "fb fb 00");
    check(u16::MAX,             "fb ff ff");
    check(250u32,               "fa");
    check(251u32,               "fb fb 00");
    check(65_535u32,            "fb ff ff");
    check(65_536u32,            "fc 00 00 01 00");
    check(u32::MAX,             "fc ff ff ff ff");
    check(250u64,               "fa");
    check(251u64,               "fb fb 00");
    check(65_535u64,            "fb ff ff");
    check(65_536u64,            "fc 00 00 01 00");
    check(1u64 << 32,           "fd 00 00 00 00 01 00 00 00");
    check(u64::MAX,             "fd ff ff ff ff ff ff ff ff");
    check(250usize,             "fa");
    check(251u128,              "fb fb 00");
    check(1u128 << 64,          "fe 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00");
}

#[test]
#[rustfmt::skip]
fn signed_integers_are_zigzag() {
    check(0i64,                 "00");
    check(-1i64,                "01");
    check(1i64,                 "02");
    check(-2i64,                "03");
    check(125i64,               "fa");
    check(-125i64,              "f9");
    check(-126i64,              "fb fb 00");
    check(126i64,               "fb fc 00");
    check(-300i16,              "fb 57 02");
    check(i32::MIN,             "fc ff ff ff ff");
    check(i64::MAX,             "fd fe ff ff ff ff ff ff ff");
    check(i64::MIN,             "fd ff ff ff ff ff ff ff ff");
}

#[test]
#[rustfmt::skip]
fn floats_are_little_endian_ieee_754() {
    check(1.5f32,               "00 00 c0 3f");
    check(1.5f64,               "00 00 00 00 00 00 f8 3f");
    check(-0.0f64,              "00 00 00 00 00 00 00 80");
    check(f64::INFINITY,        "00 00 00 00 00 00 f0 7f");
}

#[test]
#[rustfmt::skip]
fn text_is_utf_8() {
    check('a',                  "61");
    check('é',                  "c3 a9");
    check(String::new(),        "00");
    check("aé€".to_owned(),     "06 61 c3 a9 e2 82 ac");
}

#[test]
#[rustfmt::skip]
fn sequences_and_maps_are_preceded_by_their_length() {
    check(Vec::<u16>::new(),                    "00");
    check(vec![1u16, 250, 251],                 "03 01 fa fb fb 00");
    check(vec![1u8, 2, 255],                    "03 01 02 ff");
    check(vec![vec![1u16], vec![]],             "02 01 01 00");
    check(vec![(); 3],                          "03");
    check(BTreeMap::from([(1u8, true)]),        "01 01 01");
    check(Floats::from(vec![1.5]),              "08 00 00 00 00 00 00 f8 3f");
}

#[test]
#[rustfmt::skip]
fn options_have_a_tag() {
    check(None::<u16>,          "00");
    check(Some(7u16),           "01 07");
    check(Some(None::<u16>),    "01 00");
}

#[test]
#[rustfmt::skip]
fn products_are_their_fields_and_nothing_else() {
    check((),                       "");
    check(Unit,                     "");
    check(Newtype(7),               "07");
    check((1u8, true),              "01 01");
    check([1u16, 2, 300],           "01 02 fb 2c 01");
    check(Point { x: -1, y: 300 },  "01 fb 2c 01");
}

#[test]
#[rustfmt::skip]
fn enums_are_the_index_of_the_variant_and_its_fields() {
    check(Shape::Unit,                              "00");
    check(Shape::Newtype(300),                      "01 fb 2c 01");
    check(Shape::Tuple(9, true),                    "02 09 01");
    check(Shape::Struct { x: -1, y: "a".into() },   "03 01 01 61");
    check(Ok::<u8, String>(7),                      "00 07");
    check(Err::<u8, _>("a".to_owned()),             "01 01 61");
}

/// A receiver is more liberal than a sender: the layout fixes what is written.
#[test]
fn a_longer_form_of_an_integer_is_accepted_if_the_type_has_it() {
    assert_eq!(decode(&[0xfb, 7, 0]), Ok(7u64));
    assert_eq!(decode(&[0xfd, 7, 0, 0, 0, 0, 0, 0, 0]), Ok(7u64));
    assert!(decode::<u16>(&[0xfc, 7, 0, 0, 0]).is_err());
    assert!(decode::<u64>(&[0xff]).is_err());
}

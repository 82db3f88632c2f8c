//! The layout where the values that `SPEC.md` shows leave it open: at the ends of the ranges, and in the types that it
//! does not show. A change of any of these bytes is a new codec.

use super::{decode, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Debug;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(u16);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Tuple(u8, bool),
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
fn what_the_specification_does_not_show_has_its_layout_too() {
    check(false,                    "00");
    check(251u8,                    "fb");
    check(i8::MIN,                  "80");
    check(u16::MAX,                 "fb ff ff");
    check(u32::MAX,                 "fc ff ff ff ff");
    check(250u64,                   "fa");
    check(251u64,                   "fb fb 00");
    check(65_536u64,                "fc 00 00 01 00");
    check(u64::MAX,                 "fd ff ff ff ff ff ff ff ff");
    check(250usize,                 "fa");
    check(251u128,                  "fb fb 00");
    check(0i64,                     "00");
    check(-2i64,                    "03");
    check(125i64,                   "fa");
    check(-125i64,                  "f9");
    check(-126i64,                  "fb fb 00");
    check(126i64,                   "fb fc 00");
    check(i32::MIN,                 "fc ff ff ff ff");
    check(i64::MAX,                 "fd fe ff ff ff ff ff ff ff");
    check(-0.0f64,                  "00 00 00 00 00 00 00 80");
    check(f64::INFINITY,            "00 00 00 00 00 00 f0 7f");
    check(String::new(),            "00");
    check(vec![1u8, 2, 255],        "03 01 02 ff");
    check(vec![vec![1u16], vec![]], "02 01 01 00");
    check(vec![(); 3],              "03");
    check(Some(None::<u16>),        "01 00");
    check(Unit,                     "");
    check(Newtype(7),               "07");
    check((Shape::Unit, Shape::Tuple(9, true)), "00 01 09 01");
}

/// A receiver is more liberal than a sender: the layout fixes what is written.
#[test]
fn a_longer_form_of_an_integer_is_accepted_if_the_type_has_it() {
    assert_eq!(decode(&[0xfb, 7, 0]), Ok(7u64));
    assert_eq!(decode(&[0xfd, 7, 0, 0, 0, 0, 0, 0, 0]), Ok(7u64));
    assert!(decode::<u16>(&[0xfc, 7, 0, 0, 0]).is_err());
    assert!(decode::<u64>(&[0xff]).is_err());
}

use super::*;
use crate::{Floats, NoError};
use proptest::{collection, option, prelude::*};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(i64),
    Tuple(u8, String),
    Struct { wide: u128, narrow: Option<char> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Varied {
    shapes: Vec<Shape>,
    maybe: Option<Option<bool>>,
    rows: Vec<Vec<u16>>,
    by_name: BTreeMap<String, i32>,
    ratio: f32,
    pair: (f64, i8),
    signal: Floats,
    unit: (),
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Unit),
        any::<i64>().prop_map(Shape::Newtype),
        (any::<u8>(), ".{0,8}").prop_map(|(number, text)| Shape::Tuple(number, text)),
        (any::<u128>(), option::of(any::<char>())).prop_map(|(wide, narrow)| Shape::Struct { wide, narrow }),
    ]
}

fn varied() -> impl Strategy<Value = Varied> {
    (
        collection::vec(shape(), 0..6),
        option::of(option::of(any::<bool>())),
        collection::vec(collection::vec(any::<u16>(), 0..5), 0..5),
        collection::btree_map(".{0,6}", any::<i32>(), 0..5),
        any::<f32>(),
        (any::<f64>(), any::<i8>()),
        collection::vec(any::<f64>(), 0..5),
    )
        .prop_map(|(shapes, maybe, rows, by_name, ratio, pair, signal)| Varied {
            shapes,
            maybe,
            rows,
            by_name,
            ratio,
            pair,
            signal: signal.into(),
            unit: (),
        })
}

/// What bincode alone makes of `bytes`: the reference for everything the bounds do not concern.
fn decode_unbounded(bytes: &[u8]) -> Option<Varied> {
    let limited = bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>();
    match bincode::serde::borrow_decode_from_slice(bytes, limited) {
        Ok((value, used)) if used == bytes.len() => Some(value),
        _ => None,
    }
}

/// Not `assert_eq` on the values: damaged bytes may hold a NaN.
fn same_as_unbounded(bytes: &[u8]) -> Result<(), TestCaseError> {
    let text = |value: Option<Varied>| format!("{value:?}");
    prop_assert_eq!(text(decode::<Varied>(bytes).ok()), text(decode_unbounded(bytes)));
    Ok(())
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(value in varied()) {
        let bytes = encode(&value).unwrap();
        prop_assert_eq!(decode::<Varied>(&bytes), Ok(value));
    }

    #[test]
    fn random_bytes_are_judged_as_bincode_judges_them(bytes in collection::vec(any::<u8>(), 0..200)) {
        same_as_unbounded(&bytes)?;
        let _ = decode::<BTreeMap<String, Vec<Shape>>>(&bytes);
        let _ = decode::<Vec<()>>(&bytes);
        let _ = decode::<Chain>(&bytes);
        let _ = decode::<Tree>(&bytes);
        let _ = decode::<Result<Shape, NoError>>(&bytes);
    }

    #[test]
    fn a_truncated_message_is_refused(value in varied(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&value).unwrap();
        let kept = cut.index(bytes.len());
        let refused = matches!(decode::<Varied>(&bytes[..kept]), Err(DecodeError::Malformed { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn a_damaged_message_is_judged_as_bincode_judges_it(
        value in varied(),
        place in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = encode(&value).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        same_as_unbounded(&bytes)?;
    }

    #[test]
    fn bytes_after_the_value_are_refused(value in varied(), rest in collection::vec(any::<u8>(), 1..9)) {
        let mut bytes = encode(&value).unwrap();
        bytes.extend(&rest);
        let wanted = std::any::type_name::<Varied>();
        prop_assert_eq!(
            decode::<Varied>(&bytes),
            Err(DecodeError::TrailingBytes { wanted, count: rest.len() })
        );
    }
}

/// 16 bytes: a length of 2^40, then seven that might be content. Whoever believes it asks for at
/// least a terabyte, or loops for as many elements without bytes.
fn long_claim() -> Vec<u8> {
    let mut bytes = vec![253];
    bytes.extend((1u64 << 40).to_le_bytes());
    bytes.extend([0; 7]);
    bytes
}

#[test]
fn a_length_that_the_message_cannot_hold_is_refused_before_it_is_allocated() {
    fn too_many<T: DeserializeOwned + std::fmt::Debug>() {
        let error = decode::<T>(&long_claim()).unwrap_err();
        assert_eq!(error, DecodeError::TooManyElements { wanted: std::any::type_name::<T>() });
    }
    fn ends_early<T: DeserializeOwned + std::fmt::Debug>() {
        match decode::<T>(&long_claim()).unwrap_err() {
            DecodeError::Malformed { reason, .. } => assert!(reason.contains("UnexpectedEnd"), "{reason}"),
            other => panic!("{other}"),
        }
    }

    too_many::<Vec<u64>>();
    too_many::<Vec<[u64; 32]>>();
    too_many::<Vec<()>>();
    too_many::<BTreeMap<u64, u64>>();
    too_many::<BTreeMap<(), ()>>();
    ends_early::<String>();
    ends_early::<Box<str>>();
    ends_early::<Floats>();
    ends_early::<ByteBuf>();
}

/// What `serde_bytes::ByteBuf` asks of a deserializer.
#[derive(Debug, PartialEq)]
struct ByteBuf(Vec<u8>);

impl<'de> Deserialize<'de> for ByteBuf {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Owned;
        impl serde::de::Visitor<'_> for Owned {
            type Value = ByteBuf;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<ByteBuf, E> {
                Ok(ByteBuf(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Owned)
    }
}

#[test]
fn an_owned_byte_string_is_decoded() {
    assert_eq!(decode::<ByteBuf>(&[2, 7, 8]), Ok(ByteBuf(vec![7, 8])));
}

#[test]
fn elements_without_bytes_are_bounded_over_the_whole_message() {
    let within = encode(&vec![(); ELEMENTS_FREE]).unwrap();
    assert_eq!(decode::<Vec<()>>(&within).map(|units| units.len()), Ok(ELEMENTS_FREE));

    let beyond = encode(&vec![vec![(); ELEMENTS_FREE]; 16]).unwrap();
    let wanted = std::any::type_name::<Vec<Vec<()>>>();
    assert_eq!(decode::<Vec<Vec<()>>>(&beyond), Err(DecodeError::TooManyElements { wanted }));
}

#[test]
fn a_message_is_not_refused_for_the_size_of_its_elements_in_memory() {
    let value = vec![0u64; 10 << 20];
    assert!(decode::<Vec<u64>>(&encode(&value).unwrap()).unwrap() == value);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "makes the stack frames of every level large")]
enum Chain {
    End,
    Link(Box<Chain>),
    Wide([u64; 32], Box<Chain>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, Serialize, Deserialize)]
struct Linked {
    next: Option<Box<Linked>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Map(BTreeMap<u8, Map>);

/// A type without a value, whose decoding never reads a byte.
#[derive(Debug, Serialize, Deserialize)]
struct Endless(Box<Endless>);

/// Runs on the stack that a thread has by default.
fn on_a_common_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn recursion_is_refused_before_the_stack_ends() {
    fn too_deep<T: DeserializeOwned + std::fmt::Debug>(bytes: &[u8]) {
        let error = decode::<T>(bytes).unwrap_err();
        assert_eq!(error, DecodeError::TooDeep { wanted: std::any::type_name::<T>() });
    }

    on_a_common_stack(|| {
        let bomb = vec![1; 1 << 20];
        too_deep::<Chain>(&bomb);
        too_deep::<Tree>(&bomb);
        too_deep::<Linked>(&bomb);
        too_deep::<Map>(&bomb);
        too_deep::<Endless>(&bomb);
    });
}

#[test]
fn values_may_nest_to_the_limit_and_no_deeper() {
    fn chain(levels: usize, link: impl Fn(Box<Chain>) -> Chain) -> Chain {
        (1..levels).fold(Chain::End, |rest, _| link(Box::new(rest)))
    }
    fn check(link: impl Fn(Box<Chain>) -> Chain) {
        let legal = chain(DEPTH_MAX, &link);
        assert_eq!(decode::<Chain>(&encode(&legal).unwrap()), Ok(legal));

        let deeper = chain(DEPTH_MAX + 1, &link);
        let wanted = std::any::type_name::<Chain>();
        assert_eq!(decode::<Chain>(&encode(&deeper).unwrap()), Err(DecodeError::TooDeep { wanted }));
    }

    on_a_common_stack(|| {
        check(Chain::Link);
        // The array in the last link lies as deep as the end.
        check(|rest| Chain::Wide([7; 32], rest));
    });
}

#[test]
fn depth_is_counted_along_one_path() {
    let flat = Tree((0..1000).map(|_| Tree(vec![Tree(vec![])])).collect());
    assert_eq!(decode::<Tree>(&encode(&flat).unwrap()), Ok(flat));
}

#[test]
fn an_encoding_may_reach_the_limit_and_no_further() {
    let mut out = vec![9];
    // A length of this size takes five bytes.
    let largest = "x".repeat(MESSAGE_BYTES_MAX - 5);
    encode_into(&largest, &mut out).unwrap();
    assert_eq!(out.len(), 1 + MESSAGE_BYTES_MAX);
    assert!(decode::<String>(&out[1..]).is_ok_and(|text| text == largest));

    assert_eq!(
        decode::<String>(&out),
        Err(DecodeError::TooLarge { wanted: "alloc::string::String", count: MESSAGE_BYTES_MAX + 1 })
    );
    assert_eq!(encode(&(largest, 0u8)), Err(EncodeError::TooLarge));
}

/// A sequence that would go on: only a refusal ends its encoding.
struct Unending;

impl Serialize for Unending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut elements = serializer.serialize_seq(Some(usize::MAX))?;
        loop {
            elements.serialize_element(&"x".repeat(1 << 20))?;
        }
    }
}

struct UnknownLength;

impl Serialize for UnknownLength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_seq(None)?.end()
    }
}

#[test]
fn a_failed_encoding_leaves_nothing_behind() {
    let mut out = vec![1, 2, 3];
    assert_eq!(encode_into(&Unending, &mut out), Err(EncodeError::TooLarge));
    assert_eq!(out, [1, 2, 3]);

    let error = encode_into(&(7u8, UnknownLength), &mut out).unwrap_err();
    assert!(matches!(error, EncodeError::Unencodable { .. }), "{error}");
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn a_refusal_says_what_was_wanted_and_why() {
    let check = |bytes: &[u8], expected: &str| {
        assert_eq!(decode::<Option<bool>>(bytes).unwrap_err().to_string(), expected);
    };
    check(&[], "not decodable as Option<bool>: UnexpectedEnd { additional: 1 }");
    check(
        &[2],
        "not decodable as Option<bool>: invalid value: integer `2`, expected 0 or 1 before an \
         optional value",
    );
    check(&[1, 2], "not decodable as Option<bool>: InvalidBooleanValue(2)");
    check(&[0, 0, 0], "2 bytes follow the end of the Option<bool>");
}

#[test]
fn a_field_that_was_left_out_or_added_is_an_error_and_not_its_default() {
    #[derive(Debug, Serialize, Deserialize)]
    struct LeftOut {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        count: u64,
    }
    #[derive(Debug, Deserialize)]
    struct Added {
        #[expect(dead_code, reason = "never decoded")]
        count: u64,
        #[serde(default)]
        #[expect(dead_code, reason = "never decoded")]
        more: u64,
    }
    let error = decode::<LeftOut>(&encode(&LeftOut { name: None, count: 7 }).unwrap()).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
    let error = decode::<Added>(&encode(&7_u64).unwrap()).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
}

#[test]
fn types_that_need_a_self_describing_format_are_refused() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        #[expect(dead_code, reason = "never decoded")]
        Number(u8),
    }
    let error = decode::<Untagged>(&[0]).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
}

#[test]
fn a10_an_error_that_peers_read_holds_no_path_of_a_module() {
    for (name, short) in [
        ("u8", "u8"),
        ("swarm_protocols::coordinator::requests::SubmitTask", "SubmitTask"),
        ("alloc::vec::Vec<(core::option::Option<a_b::C9>, [u8; 32])>", "Vec<(Option<C9>, [u8; 32])>"),
        ("&a::b::C", "&C"),
    ] {
        assert_eq!(without_paths(name), short);
    }
    type Wanted = Vec<(crate::coordinator::Part, String)>;
    let mut beyond = encode(&Wanted::new()).unwrap();
    beyond.push(0);
    for bytes in [&[1][..], &beyond, &vec![0; MESSAGE_BYTES_MAX + 1], &[0xfd, 0, 0, 0, 0, 0, 0, 0, 1]] {
        let error = decode::<Wanted>(bytes).unwrap_err().to_string();
        assert!(error.contains("Vec<(Part, String)>") && !error.contains("::"), "{error}");
    }
}

//! Holds `SPEC.md` against the code: its test vectors in both directions, its tables of frame kinds,
//! codes and limits.

use super::{
    NO_ROOM,
    codec::{self, BINCODE_2, DEPTH_MAX, ELEMENTS_FREE, MESSAGE_BYTES_MAX},
    control::{
        ALPN, CAPABILITIES_MAX, Control, Hello, Limits, ROUTES_MAX, Refuse, RefuseCause, Route, RouteChange,
        WIRE_VERSIONS, Welcome,
    },
    frame::{
        self, Answered, CONTROL_BYTES_MAX, Frame, FrameError, FrameReader, Intent, LANE_ANSWER_BYTES_MAX,
        OVERHEAD_BYTES_MAX, RequestHead,
    },
};
use crate::{
    Caller, Delivery, DeliveryError, Floats, NAME_BYTES_MAX, Protocol, Request, Role,
    certificates::{
        CertificateAuthority, ENROL_BYTES_MAX, ENROLLED_BYTES_MAX, ENROLMENT_ALPN, Enrol, Enrolled,
        EnrolmentOutcome, EnrolmentRefusal, FAILURES_MAX, PEM_BYTES_MAX, RenewCertificate, RenewalRefusal,
        Renewed, RevocationList, WINDOW,
    },
    peers::{HANDSHAKES_MAX, HANDSHAKES_OF_NODE_MAX},
    session::{CloseCode, Timing},
};
use bytes::Bytes;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use uuid::Uuid;

pub(crate) const SPEC: &str = include_str!("../../SPEC.md");

/// A frame of either kind of stream.
#[derive(Debug, Clone, PartialEq)]
enum Message {
    Control(Control),
    Frame(Frame),
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Message::Control(control) => control.encode(&mut out).unwrap(),
            Message::Frame(Frame::Request { head, payload }) => frame::put_request(head, payload, &mut out),
            Message::Frame(Frame::Cancel { correlation }) => frame::put_cancel(*correlation, &mut out),
            Message::Frame(Frame::Part { correlation, payload }) => {
                frame::put_part(*correlation, payload, &mut out);
            }
            Message::Frame(Frame::Answer { correlation, answer }) => match answer {
                Answered::Reply(payload) => frame::put_outcome(*correlation, false, payload, &mut out),
                Answered::Failed(payload) => frame::put_outcome(*correlation, true, payload, &mut out),
                Answered::Accepted => frame::put_accepted(*correlation, &mut out),
                Answered::Undelivered(error) => frame::put_undelivered(*correlation, error, &mut out),
            },
        }
        out
    }

    /// Decodes `bytes` as the stream of `self` would.
    fn decode_alike(&self, bytes: &[u8]) -> Result<Message, FrameError> {
        let mut reader = FrameReader::new(CONTROL_BYTES_MAX);
        reader.feed(Bytes::copy_from_slice(bytes));
        let frame = reader.next_frame()?.ok_or(FrameError::Truncated)?;
        reader.finish()?;
        match self {
            Message::Control(_) => Control::decode(frame).map(Message::Control),
            Message::Frame(_) => Frame::decode(frame).map(Message::Frame),
        }
    }
}

fn hello(node: &str) -> Hello {
    Hello {
        node: node.parse().unwrap(),
        incarnation: 1_767_225_600_000,
        wire_versions: (1, 1),
        codecs: vec![1],
        agent_type: String::new(),
        capabilities: vec![],
        limits: Limits { message_bytes: 67_108_864, in_flight: 4096 },
        routes: vec![],
    }
}

fn route(id: u32, request: &str) -> Route {
    Route {
        id,
        mailbox: "calculator".parse().unwrap(),
        protocol: "calculator".into(),
        request: request.into(),
        version: 1,
    }
}

/// Names and values of the frames that the specification shows.
fn frames() -> BTreeMap<&'static str, Message> {
    let controls = [
        (
            "hello",
            Control::Hello(Hello {
                agent_type: "calculator".into(),
                capabilities: vec!["add".into(), "gpu".into()],
                routes: vec![route(0, "add")],
                ..hello("agent-1")
            }),
        ),
        (
            "welcome",
            Control::Welcome(Welcome {
                session: Uuid::from_u128(0x0123_4567_89ab_7cde_8f01_2345_6789_abcd),
                wire_version: 1,
                codec: 1,
                hello: hello("coordinator-1"),
            }),
        ),
        ("refuse-wrong-identity", refuse(RefuseCause::WrongIdentity, "not you")),
        ("refuse-incompatible", refuse(RefuseCause::Incompatible, "version 1 only")),
        ("refuse-already-connected", refuse(RefuseCause::AlreadyConnected, "")),
        ("refuse-malformed", refuse(RefuseCause::Malformed, "a limit of zero")),
        ("refuse-unavailable", refuse(RefuseCause::Unavailable, "stopping")),
        ("routes", Control::Routes(RouteChange { added: vec![route(300, "add")], removed: vec![0, 7] })),
        ("routes-removed", Control::Routes(RouteChange { added: vec![], removed: vec![300] })),
        ("ping", Control::Ping(1)),
        ("ping-long", Control::Ping(16_384)),
        ("pong", Control::Pong(1)),
        ("drain", Control::Drain),
    ];
    let desk = Caller { node: "desk".parse().unwrap(), role: Role::Operator };
    let others = [
        ("request", request(5, 70, 5000, Intent::Ask, &[0x04, 0x05])),
        ("request-no-deadline", request(0, 0, 0, Intent::Ask, &[])),
        ("request-wide", request(64, u32::MAX, 1 << 40, Intent::Ask, &[0xff])),
        ("tell", request(6, 70, 30_000, Intent::Tell, &[0x04, 0x05])),
        ("delegated", request(7, 70, 5000, Intent::AskFor(desk), &[0x04, 0x05])),
        ("post", request(0, 70, 0, Intent::Post, &[0x04, 0x05])),
        ("cancel", Frame::Cancel { correlation: 5 }),
        ("reply", answer(5, Answered::Reply(Bytes::from_static(&[0x01])))),
        ("reply-empty", answer(300, Answered::Reply(Bytes::new()))),
        ("failed", answer(5, Answered::Failed(Bytes::from_static(&[0x01, 0x01, b'x'])))),
        ("accepted", answer(6, Answered::Accepted)),
        ("part", Frame::Part { correlation: 5, payload: Bytes::from_static(&[0x01]) }),
    ];
    let undelivered = [
        ("undelivered-1", DeliveryError::NotExposed { what: "route 70".into() }),
        ("undelivered-2", DeliveryError::NotPermitted { reason: "not an agent".into() }),
        ("undelivered-3", DeliveryError::Overloaded { retry_after: Duration::from_millis(10) }),
        ("undelivered-4", DeliveryError::TooLarge { bytes: 1_048_577, limit: 1_048_576 }),
        ("undelivered-5", DeliveryError::Codec { reason: "add: é".into(), delivery: Delivery::NotSent }),
        ("undelivered-6", DeliveryError::Codec { reason: "add".into(), delivery: Delivery::Delivered }),
        ("undelivered-7", DeliveryError::Draining),
        ("undelivered-8", DeliveryError::Stopped),
        ("undelivered-9", DeliveryError::Panicked),
        ("undelivered-10", DeliveryError::Cancelled),
        (
            "undelivered-11",
            DeliveryError::TimedOut { after: Duration::from_secs(5), delivery: Delivery::Unknown },
        ),
        (
            "undelivered-12",
            DeliveryError::SessionLost { reason: "silent".into(), delivery: Delivery::Unknown },
        ),
        (
            "undelivered-13",
            DeliveryError::Incompatible { request: "add".into(), wanted: 3, offered: Some(2) },
        ),
    ];
    let undelivered = undelivered.map(|(name, error)| (name, answer(5, Answered::Undelivered(error))));
    let controls = controls.into_iter().map(|(name, control)| (name, Message::Control(control)));
    let others = others.into_iter().chain(undelivered);
    controls.chain(others.map(|(name, frame)| (name, Message::Frame(frame)))).collect()
}

fn refuse(cause: RefuseCause, reason: &str) -> Control {
    Control::Refuse(Refuse { cause, reason: reason.to_owned() })
}

fn request(correlation: u64, route: u32, deadline_ms: u64, intent: Intent, payload: &'static [u8]) -> Frame {
    let head = RequestHead { correlation, route, deadline_ms, intent };
    Frame::Request { head, payload: Bytes::from_static(payload) }
}

fn answer(correlation: u64, answer: Answered) -> Frame {
    Frame::Answer { correlation, answer }
}

/// Notations and encodings of the values that the specification shows.
fn values() -> BTreeMap<&'static str, Vec<u8>> {
    fn bytes<T: Serialize>(value: T) -> Vec<u8> {
        codec::encode(&value).unwrap()
    }
    #[derive(Serialize)]
    struct Point {
        x: i64,
        y: u16,
    }
    #[derive(Serialize)]
    enum Shape {
        Nothing,
        Width(u16),
        Box { x: i64, name: String },
    }
    BTreeMap::from([
        ("bool true", bytes(true)),
        ("u8 255", bytes(255_u8)),
        ("i8 -1", bytes(-1_i8)),
        ("u16 250", bytes(250_u16)),
        ("u16 251", bytes(251_u16)),
        ("u32 65536", bytes(65_536_u32)),
        ("u64 65535", bytes(65_535_u64)),
        ("u64 2^32", bytes(1_u64 << 32)),
        ("u128 2^64", bytes(1_u128 << 64)),
        ("i64 -1", bytes(-1_i64)),
        ("i64 1", bytes(1_i64)),
        ("i16 -300", bytes(-300_i16)),
        ("i64 min", bytes(i64::MIN)),
        ("f32 1.5", bytes(1.5_f32)),
        ("f64 1.5", bytes(1.5_f64)),
        ("char 'é'", bytes('é')),
        ("string \"aé€\"", bytes("aé€")),
        ("option<u16> none", bytes(None::<u16>)),
        ("option<u16> 7", bytes(Some(7_u16))),
        ("unit", bytes(())),
        ("(u8, bool) (1, true)", bytes((1_u8, true))),
        ("[u16; 3] [1, 2, 300]", bytes([1_u16, 2, 300])),
        ("sequence<u16> [1, 250, 251]", bytes(vec![1_u16, 250, 251])),
        ("map<u8, bool> {1: true}", bytes(BTreeMap::from([(1_u8, true)]))),
        ("Floats [1.5]", bytes(Floats::from(vec![1.5]))),
        ("Point {x: -1, y: 300}", bytes(Point { x: -1, y: 300 })),
        ("Shape::Nothing", bytes(Shape::Nothing)),
        ("Shape::Width(300)", bytes(Shape::Width(300))),
        ("Shape::Box {x: -1, name: \"a\"}", bytes(Shape::Box { x: -1, name: "a".into() })),
        ("result<u8, string> ok 7", bytes(Ok::<u8, String>(7))),
        ("result<u8, string> error \"a\"", bytes(Err::<u8, _>("a".to_owned()))),
        (
            "RenewCertificate {certificate: \"c\", request: \"r\"}",
            bytes(RenewCertificate { certificate: "c".into(), request: "r".into() }),
        ),
        (
            "Renewed {certificate: \"c\", revoked: \"l\"}",
            bytes(Renewed { certificate: "c".into(), revoked: "l".into() }),
        ),
        (
            "RenewalRefusal::NotPermitted {reason: \"no\"}",
            bytes(RenewalRefusal::NotPermitted { reason: "no".into() }),
        ),
        ("RenewalRefusal::Revoked", bytes(RenewalRefusal::Revoked)),
        (
            "RenewalRefusal::NotDue {from: 300 s}",
            bytes(RenewalRefusal::NotDue { from: Duration::from_secs(300) }),
        ),
        ("RevocationList {known: none}", bytes(RevocationList { known: None })),
        ("Enrol {token: \"t\", request: \"r\"}", bytes(Enrol { token: "t".into(), request: "r".into() })),
        (
            "EnrolmentOutcome ok {certificate: \"c\", authority: \"a\", revoked: \"l\"}",
            bytes(EnrolmentOutcome::Ok(Enrolled {
                certificate: "c".into(),
                authority: "a".into(),
                revoked: "l".into(),
            })),
        ),
        (
            "EnrolmentOutcome error Token {reason: \"no\"}",
            bytes(EnrolmentOutcome::Err(EnrolmentRefusal::Token { reason: "no".into() })),
        ),
        (
            "EnrolmentOutcome error NameInUse \"agent-1\"",
            bytes(EnrolmentOutcome::Err(EnrolmentRefusal::NameInUse("agent-1".parse().unwrap()))),
        ),
        (
            "EnrolmentOutcome error Busy {retry_after: 5 s}",
            bytes(EnrolmentOutcome::Err(EnrolmentRefusal::Busy { retry_after: Duration::from_secs(5) })),
        ),
        ("uuid 00112233-4455-6677-8899-aabbccddeeff", {
            bytes(Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff))
        }),
    ])
}

/// The text between ```` ```language ```` and ```` ``` ````.
pub(crate) fn block<'a>(spec: &'a str, language: &str) -> &'a str {
    let (_, rest) = spec.split_once(&format!("\n```{language}\n")).unwrap();
    rest.split_once("\n```\n").unwrap().0
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|pair| {
            assert_eq!(pair.len(), 2, "{pair:?} in {text:?} is no byte");
            u8::from_str_radix(pair, 16).unwrap()
        })
        .collect()
}

/// Name and bytes of every frame vector: a line for the name, one for the description, the rest hex.
fn frame_vectors(spec: &str) -> Vec<(String, Vec<u8>)> {
    let records = block(spec, "frames").split("\n\n");
    let vector = |record: &str| {
        let mut lines = record.trim_matches('\n').splitn(3, '\n');
        let (name, description) = (lines.next().unwrap(), lines.next().unwrap());
        assert!(!description.trim().is_empty(), "{name} is not described");
        (name.to_owned(), hex(lines.next().unwrap()))
    };
    records.map(vector).collect()
}

fn check_frame(name: &str, bytes: &[u8]) -> Result<(), String> {
    let frames = frames();
    let message = frames.get(name).ok_or_else(|| format!("{name} is an unknown vector"))?;
    let encoded = message.encode();
    if encoded != bytes {
        return Err(format!("{name} is encoded as {encoded:02x?}"));
    }
    match message.decode_alike(bytes) {
        Ok(decoded) if decoded == *message => Ok(()),
        other => Err(format!("{name} is decoded as {other:?}")),
    }
}

fn check_frames(spec: &str) -> Result<(), String> {
    let vectors = frame_vectors(spec);
    vectors.iter().try_for_each(|(name, bytes)| check_frame(name, bytes))?;
    let names: BTreeSet<&str> = vectors.iter().map(|(name, _)| name.as_str()).collect();
    if names.len() < vectors.len() {
        return Err("two vectors have one name".to_owned());
    }
    match frames().keys().find(|name| !names.contains(*name)) {
        Some(name) => Err(format!("{name} has no vector")),
        None => Ok(()),
    }
}

/// The cells of the table rows that come after `heading`, until the next heading.
fn rows<'a>(spec: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, rest) = spec.split_once(&format!("\n{heading}\n")).unwrap();
    let section = rest.split("\n#").next().unwrap();
    let cells = |row: &'a str| row.trim_matches('|').split('|').map(str::trim).collect();
    let rows: Vec<Vec<&str>> = section.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    rows[2..].to_vec()
}

/// Number and status of every frame kind in the specification.
fn kinds(spec: &str) -> BTreeMap<u8, bool> {
    let row = |cells: Vec<&str>| {
        let kind = u8::from_str_radix(cells[0].strip_prefix("0x").unwrap(), 16).unwrap();
        match cells[4] {
            "implemented" => (kind, true),
            "RESERVED" => (kind, false),
            other => panic!("{other:?} is no status"),
        }
    };
    rows(spec, "### Frame kinds").into_iter().map(row).collect()
}

fn is_known(kind: u8) -> bool {
    let frame = Bytes::from(vec![kind]);
    let unexpected = FrameError::UnexpectedKind(kind);
    Frame::decode(frame.clone()).err().as_ref() != Some(&unexpected)
        || Control::decode(frame).err().as_ref() != Some(&unexpected)
}

#[test]
fn every_frame_vector_holds_in_both_directions() {
    check_frames(SPEC).unwrap();
}

#[test]
fn a_frame_vector_with_any_bit_changed_is_noticed() {
    for (name, bytes) in frame_vectors(SPEC) {
        for bit in 0..bytes.len() * 8 {
            let mut mutated = bytes.clone();
            mutated[bit / 8] ^= 1 << (bit % 8);
            assert!(check_frame(&name, &mutated).is_err(), "bit {bit} of {name}");
        }
        assert!(check_frame(&name, &bytes[..bytes.len() - 1]).is_err(), "{name} cut short");
    }
}

#[test]
fn a_vector_that_is_unknown_missing_or_changed_in_the_text_is_noticed() {
    let ping = "\nping\n";
    assert_eq!(check_frames(&SPEC.replace(ping, "\npinge\n")), Err("pinge is an unknown vector".to_owned()));
    let (before, after) = SPEC.split_once(ping).unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    assert_eq!(check_frames(&format!("{before}\n{after}")), Err("ping has no vector".to_owned()));
    let changed = SPEC.replace("\n  02 05 01\n", "\n  02 05 02\n");
    assert_ne!(changed, SPEC);
    assert_eq!(check_frames(&changed), Err("ping is encoded as [02, 05, 01]".to_owned()));
}

#[test]
fn the_table_of_kinds_is_that_of_the_code_and_each_has_a_vector() {
    let kinds = kinds(SPEC);
    for kind in 0..=u8::MAX {
        assert_eq!(is_known(kind), kinds.get(&kind) == Some(&true), "kind {kind:#04x}");
    }
    let shown: BTreeSet<u8> = frames()
        .values()
        .map(|message| {
            let bytes = message.encode();
            let (_, width) = super::varint::get(&bytes).unwrap();
            bytes[width]
        })
        .collect();
    let implemented: BTreeSet<u8> =
        kinds.into_iter().filter(|(_, known)| *known).map(|(kind, _)| kind).collect();
    assert_eq!(shown, implemented);
}

#[test]
fn every_value_vector_is_what_the_codec_writes() {
    let values = values();
    let mut shown = BTreeSet::new();
    for line in block(SPEC, "values").lines() {
        let (name, bytes) = line.split_once(" = ").unwrap_or_else(|| (line.strip_suffix(" =").unwrap(), ""));
        assert_eq!(values.get(name.trim()), Some(&hex(bytes)), "{line}");
        assert!(shown.insert(name.trim()), "{name} is shown twice");
    }
    assert_eq!(shown, values.keys().copied().collect());
}

#[test]
fn close_codes_and_delivery_are_those_of_the_code() {
    let closes = rows(SPEC, "### Close codes");
    for (number, cells) in closes.iter().enumerate() {
        assert_eq!(cells[0].parse(), Ok(number));
        let code = CloseCode::from_number(number as u64).unwrap();
        assert_eq!(cells[1].replace('_', ""), format!("{code:?}").to_uppercase());
    }
    assert_eq!(CloseCode::from_number(closes.len() as u64), None);

    let codes = rows(SPEC, "### Undelivered");
    for cells in &codes {
        let Message::Frame(Frame::Answer { answer: Answered::Undelivered(error), .. }) =
            &frames()[format!("undelivered-{}", cells[0]).as_str()]
        else {
            panic!("{cells:?}")
        };
        let known = match error.delivery() {
            Delivery::NotSent => "not sent",
            Delivery::Unknown => "unknown",
            Delivery::Delivered => "delivered",
        };
        assert_eq!(cells[4], known, "{cells:?}");
    }
    assert_eq!(codes.len(), frames().keys().filter(|name| name.starts_with("undelivered-")).count());
}

#[test]
fn the_limits_are_those_of_the_code() {
    let timing = Timing::default();
    let seconds = |duration: Duration| format!("{} s", duration.as_secs());
    let limits = Limits::default();
    let expected = [
        ("encoded message", format!("{MESSAGE_BYTES_MAX} bytes")),
        ("nesting of values", format!("{DEPTH_MAX} levels")),
        ("elements beyond the bytes of a message", ELEMENTS_FREE.to_string()),
        ("frame on the control stream", format!("{CONTROL_BYTES_MAX} bytes")),
        ("payload of a REPLY, FAILED or PART on a lane", format!("{LANE_ANSWER_BYTES_MAX} bytes")),
        ("frame on other streams", format!("`message_bytes` + {OVERHEAD_BYTES_MAX} bytes")),
        ("node id, mailbox name", format!("{NAME_BYTES_MAX} bytes")),
        ("capabilities", CAPABILITIES_MAX.0.to_string()),
        ("capability, agent type, protocol name, request name", format!("{} bytes", CAPABILITIES_MAX.1)),
        ("routes of one side", ROUTES_MAX.to_string()),
        ("`message_bytes`, default", format!("{} bytes", limits.message_bytes)),
        ("`in_flight`, default", limits.in_flight.to_string()),
        ("handshake of the session", seconds(timing.handshake)),
        ("pause between two PINGs", seconds(timing.heartbeat)),
        ("silence of a peer", seconds(timing.silence)),
        ("TLS handshakes at once", HANDSHAKES_MAX.to_string()),
        ("connections of one node without an open session, at once", HANDSHAKES_OF_NODE_MAX.to_string()),
        ("Enrol", format!("{ENROL_BYTES_MAX} bytes")),
        ("EnrolmentOutcome", format!("{ENROLLED_BYTES_MAX} bytes")),
        (
            "PEM text of a certificate or signing request, sent to the authority",
            format!("{PEM_BYTES_MAX} bytes"),
        ),
        ("failed enrolments of one address", format!("{FAILURES_MAX} in {}", seconds(WINDOW))),
    ];
    let rows = rows(SPEC, "## Limits");
    for (what, limit) in expected {
        let row = rows.iter().find(|cells| cells[0] == what).unwrap_or_else(|| panic!("{what} is missing"));
        assert_eq!(row[1].replace('\u{a0}', ""), limit, "{what}");
    }
}

#[test]
fn the_names_in_the_handshake_are_those_of_the_code() {
    for alpn in [ALPN, ENROLMENT_ALPN] {
        assert!(SPEC.contains(&format!("`{}`", std::str::from_utf8(alpn).unwrap())));
    }
    let authority = [CertificateAuthority::NAME, RenewCertificate::NAME, RevocationList::NAME];
    assert!(authority.iter().all(|name| SPEC.contains(&format!("`{name}`"))));
    assert!(SPEC.contains(&format!("whose text begins with `{NO_ROOM}`")));
    assert_eq!((WIRE_VERSIONS, BINCODE_2), ((1, 1), 1), "the text speaks of version 1 and codec 1");
}

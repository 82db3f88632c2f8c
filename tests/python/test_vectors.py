"""The test vectors of protocols/SPEC.md, read from that file and held against the Python code."""

from __future__ import annotations

import os
import re
import unittest
import uuid
from pathlib import Path
from typing import Any

import certificates as certs
import codec1 as c1
import frames
import messages as m
from codec1 import Err, Ok, Variant
from frames import Code, Hello, Limits, Route, Undelivered

SPEC = Path(os.environ.get("ACTIX_SWARM_SPEC", Path(__file__).parents[2] / "protocols/SPEC.md"))


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and vars(self) == vars(other)


POINT = c1.Struct(Point, x=c1.I64, y=c1.U16)
SHAPE = c1.Enum(Nothing=(), Width=(c1.U16,), Box=(c1.I64, c1.STRING))
RESULT = c1.Result(c1.U8, c1.STRING)

# The text of a vector before `=`, its type and its value.
VALUES: dict[str, tuple[c1.Codec[Any], Any]] = {
    "bool true": (c1.BOOL, True),
    "u8 255": (c1.U8, 255),
    "i8 -1": (c1.I8, -1),
    "u16 250": (c1.U16, 250),
    "u16 251": (c1.U16, 251),
    "u32 65536": (c1.U32, 65536),
    "u64 65535": (c1.U64, 65535),
    "u64 2^32": (c1.U64, 2**32),
    "u128 2^64": (c1.U128, 2**64),
    "i64 -1": (c1.I64, -1),
    "i64 1": (c1.I64, 1),
    "i16 -300": (c1.I16, -300),
    "i64 min": (c1.I64, -(2**63)),
    "f32 1.5": (c1.F32, 1.5),
    "f64 1.5": (c1.F64, 1.5),
    "char 'é'": (c1.CHAR, "é"),
    'string "aé€"': (c1.STRING, "aé€"),
    "option<u16> none": (c1.Option(c1.U16), None),
    "option<u16> 7": (c1.Option(c1.U16), 7),
    "unit": (c1.UNIT, None),
    "(u8, bool) (1, true)": (c1.Tuple(c1.U8, c1.BOOL), (1, True)),
    "[u16; 3] [1, 2, 300]": (c1.Tuple(c1.U16, c1.U16, c1.U16), (1, 2, 300)),
    "sequence<u16> [1, 250, 251]": (c1.List(c1.U16), [1, 250, 251]),
    "map<u8, bool> {1: true}": (c1.Map(c1.U8, c1.BOOL), {1: True}),
    "uuid 00112233-4455-6677-8899-aabbccddeeff": (
        c1.UUID,
        uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"),
    ),
    "Floats [1.5]": (c1.FLOATS, [1.5]),
    "Point {x: -1, y: 300}": (POINT, Point(-1, 300)),
    "Shape::Nothing": (SHAPE, Variant("Nothing")),
    "Shape::Width(300)": (SHAPE, Variant("Width", (300,))),
    'Shape::Box {x: -1, name: "a"}': (SHAPE, Variant("Box", (-1, "a"))),
    "result<u8, string> ok 7": (RESULT, Ok(7)),
    'result<u8, string> error "a"': (RESULT, Err("a")),
    'RenewCertificate {certificate: "c", request: "r"}': (
        certs.RENEW_CERTIFICATE,
        certs.RenewCertificate("c", "r"),
    ),
    'Renewed {certificate: "c", revoked: "l"}': (certs.RENEWED, certs.Renewed("c", "l")),
    'RenewalRefusal::NotPermitted {reason: "no"}': (
        certs.RENEWAL_REFUSAL,
        Variant("NotPermitted", ("no",)),
    ),
    "RenewalRefusal::Revoked": (certs.RENEWAL_REFUSAL, Variant("Revoked")),
    "RenewalRefusal::NotDue {from: 300 s}": (
        certs.RENEWAL_REFUSAL,
        Variant("NotDue", (m.Duration(300, 0),)),
    ),
    "RevocationList {known: none}": (certs.REVOCATION_LIST, certs.RevocationList(None)),
    'Enrol {token: "t", request: "r"}': (certs.ENROL, certs.Enrol("t", "r")),
    'EnrolmentOutcome ok {certificate: "c", authority: "a", revoked: "l"}': (
        certs.ENROLMENT_OUTCOME,
        Ok(certs.Enrolled("c", "a", "l")),
    ),
    'EnrolmentOutcome error Token {reason: "no"}': (
        certs.ENROLMENT_OUTCOME,
        Err(Variant("Token", ("no",))),
    ),
    'EnrolmentOutcome error NameInUse "agent-1"': (
        certs.ENROLMENT_OUTCOME,
        Err(Variant("NameInUse", ("agent-1",))),
    ),
    "EnrolmentOutcome error Busy {retry_after: 5 s}": (
        certs.ENROLMENT_OUTCOME,
        Err(Variant("Busy", (m.Duration(5, 0),))),
    ),
}

ADD = Route(0, "calculator", "calculator", "add", 1)
CAUSES = ["WrongIdentity", "Incompatible", "AlreadyConnected", "Malformed", "Unavailable"]


def refuse(cause: str, reason: str) -> frames.Refuse:
    return frames.Refuse(Variant(cause), reason)


def undelivered(code: Code, number: int = 0, reason: str = "") -> Undelivered:
    return Undelivered(5, code, number, reason)


FRAMES: dict[str, frames.Frame] = {
    "hello": Hello(
        "agent-1",
        1767225600000,
        agent_type="calculator",
        capabilities=["add", "gpu"],
        limits=Limits(67108864, 4096),
        routes=[ADD],
    ),
    "welcome": frames.Welcome(
        uuid.UUID("01234567-89ab-7cde-8f01-23456789abcd"), 1, 1, Hello("coordinator-1", 1767225600000)
    ),
    "refuse-wrong-identity": refuse("WrongIdentity", "not you"),
    "refuse-incompatible": refuse("Incompatible", "version 1 only"),
    "refuse-already-connected": refuse("AlreadyConnected", ""),
    "refuse-malformed": refuse("Malformed", "a limit of zero"),
    "refuse-unavailable": refuse("Unavailable", "stopping"),
    "routes": frames.RouteChange([Route(300, "calculator", "calculator", "add", 1)], [0, 7]),
    "routes-removed": frames.RouteChange([], [300]),
    "ping": frames.Ping(1),
    "ping-long": frames.Ping(16384),
    "pong": frames.Pong(1),
    "drain": frames.Drain(),
    "request": frames.Request(5, 70, 5000, b"\x04\x05"),
    "request-no-deadline": frames.Request(0, 0, 0, b""),
    "request-wide": frames.Request(64, 4294967295, 2**40, b"\xff"),
    "tell": frames.Tell(6, 70, 30000, b"\x04\x05"),
    "delegated": frames.Delegated(7, 70, 5000, 2, "desk", b"\x04\x05"),
    "post": frames.Post(0, 70, 0, b"\x04\x05"),
    "cancel": frames.Cancel(5),
    "reply": frames.Reply(5, b"\x01"),
    "reply-empty": frames.Reply(300, b""),
    "failed": frames.Failed(5, b"\x01\x01\x78"),
    "undelivered-1": undelivered(Code.NOT_EXPOSED, reason="route 70"),
    "undelivered-2": undelivered(Code.NOT_PERMITTED, reason="not an agent"),
    "undelivered-3": undelivered(Code.OVERLOADED, number=10),
    "undelivered-4": undelivered(Code.TOO_LARGE, number=1048576),
    "undelivered-5": undelivered(Code.UNDECODABLE, reason="add: é"),
    "undelivered-6": undelivered(Code.UNENCODABLE, reason="add"),
    "undelivered-7": undelivered(Code.DRAINING),
    "undelivered-8": undelivered(Code.STOPPED),
    "undelivered-9": undelivered(Code.PANICKED),
    "undelivered-10": undelivered(Code.CANCELLED),
    "undelivered-11": undelivered(Code.TIMED_OUT, number=5000),
    "undelivered-12": undelivered(Code.SESSION_LOST, reason="silent"),
    "undelivered-13": undelivered(Code.INCOMPATIBLE, number=3 + 65536 * 3, reason="add"),
    "accepted": frames.Accepted(6),
    "part": frames.Part(5, b"\x01"),
}

ZEROS = (0,) * 32
# Parts of a pattern library, and what an agent is asked about them.
PARTS: dict[str, tuple[c1.Codec[Any], Any]] = {
    "SeriesPart A, day 1: 1.5, day 300: 2": (m.SERIES_PART, m.SeriesPart("A", [1, 300], [1.5, 2.0])),
    "FindSimilar z32 2 3 4 1 5 6, A from day 1 to 2: 1, 1": (
        m.FIND_SIMILAR,
        m.FindSimilar(ZEROS, m.WindowRule(2, 3, 4, 1, 5, 6), [m.WindowQuery("A", 1, 2, [1.0, 1.0])]),
    ),
    "SimilarInPart 1 candidate, hit 0, days 1 to 2, 0, 0.5": (
        m.SIMILAR_IN_PART,
        m.SimilarInPart([m.QueryMatches(1, [m.Hit(0, 1, 2, 0.0, 0.5)])], [0.5]),
    ),
    "MissingInputs [z32]": (m.PART_ERROR, Variant("MissingInputs", ([ZEROS],))),
    "Cancelled": (m.PART_ERROR, Variant("Cancelled")),
}


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", SPEC.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{len(found)} blocks of {language} in {SPEC}"
    return str(found[0])


class Vectors(unittest.TestCase):
    def test_values(self) -> None:
        seen = set()
        for line in block("values").splitlines():
            text, _, data = (part.strip() for part in line.rpartition("="))
            with self.subTest(text):
                codec, value = VALUES[text]
                self.assertEqual(c1.encoded(codec, value), bytes.fromhex(data))
                self.assertEqual(c1.decoded(codec, bytes.fromhex(data)), value)
            seen.add(text)
        self.assertEqual(seen, set(VALUES))

    def test_frames(self) -> None:
        seen = set()
        for record in block("frames").strip().split("\n\n"):
            name, _, *lines = record.splitlines()
            data = bytes.fromhex("".join(lines))
            with self.subTest(name):
                self.assertEqual(frames.encode_frame(FRAMES[name]), data)
                self.assertEqual(
                    list(frames.FrameReader(frames.CONTROL_FRAME_MAX).feed(data)), [FRAMES[name]]
                )
            seen.add(name)
        self.assertEqual(seen, set(FRAMES))

    def test_parts(self) -> None:
        lines = block("parts").replace("z32", "00 " * 32).splitlines()
        shown = dict(line.rsplit(" = ", 1) for line in lines)
        for text, (codec, value) in PARTS.items():
            with self.subTest(text):
                data = bytes.fromhex(shown[text.replace("z32", "00 " * 32)])
                self.assertEqual(c1.encoded(codec, value), data)
                self.assertEqual(c1.decoded(codec, data), value)

    def test_causes_have_the_numbers_of_the_text(self) -> None:
        for number, cause in enumerate(CAUSES):
            self.assertEqual(c1.encoded(frames.CAUSE, Variant(cause)), bytes([number]))


class Refused(unittest.TestCase):
    """What the text says is refused."""

    def test_values(self) -> None:
        deep: c1.Codec[Any] = c1.U8
        for _ in range(65):
            deep = c1.Option(deep)
        cases: list[tuple[c1.Codec[Any], str]] = [
            (c1.BOOL, "02"),
            (c1.U16, "fc 00 00 01 00"),
            (c1.U16, "ff"),
            (c1.U32, "fb 01"),
            (c1.STRING, "02 61"),
            (c1.STRING, "01 ff"),
            (c1.UUID, "01 00"),
            (c1.FLOATS, "07 00 00 00 00 00 00 00"),
            (c1.U8, "01 01"),
            (SHAPE, "03"),
            (RESULT, "02"),
            (c1.List(c1.UNIT), "fb 04 04"),  # 1028 elements in 3 bytes
            (deep, "01 " * 65 + "07"),
        ]
        for codec, data in cases:
            with self.subTest(data), self.assertRaises(c1.CodecError):
                c1.decoded(codec, bytes.fromhex(data))
        self.assertEqual(c1.decoded(c1.U64, bytes.fromhex("fb 07 00")), 7)

    def test_frames(self) -> None:
        for data in [
            "00",  # empty
            "01 08",  # reserved
            "01 42",  # unknown
            "02 07 00",  # goes on after its end
            "01 05",  # ends early
            "80 20 00 01",  # too long, which its length alone says
            "09 10 00 c0 00 00 01 00 00 00 00",  # ends early
            "0c 10 00 c0 00 00 01 00 00 00 00 00 00",  # a route over 2^32 - 1
            "04 22 05 0e 00",  # an unknown code
            "05 22 05 05 00 ff",  # no UTF-8
        ]:
            with self.subTest(data), self.assertRaises(frames.Violation):
                list(frames.FrameReader(frames.CONTROL_FRAME_MAX).feed(bytes.fromhex(data)))

    def test_a_frame_that_is_cut_is_waited_for(self) -> None:
        data = b"".join(frames.encode_frame(frame) for frame in FRAMES.values())
        reader = frames.FrameReader(frames.CONTROL_FRAME_MAX)
        read = [frame for byte in data for frame in reader.feed(bytes([byte]))]
        self.assertEqual(read, list(FRAMES.values()))
        reader.end()
        self.assertEqual(list(reader.feed(data[:1])), [])
        with self.assertRaises(frames.Violation):
            reader.end()

    def test_varints_are_read_in_every_form(self) -> None:
        for data in ["25", "40 25", "80 00 00 25", "c0 00 00 00 00 00 00 25"]:
            self.assertEqual(frames.read_varint(bytes.fromhex(data)), (37, len(bytes.fromhex(data))))


if __name__ == "__main__":
    unittest.main()

"""Varints, frames and their bodies: sections "Conventions", "Framing" and "Requests" of
protocols/SPEC.md."""

from __future__ import annotations

import enum
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import codec1 as c1
from codec1 import CodecError

VARINT_MAX = (1 << 62) - 1
CONTROL_FRAME_MAX = 1_048_576
# What a frame on another stream may be longer than the longest payload.
FRAME_OVERHEAD = 128


class Violation(Exception):
    """The peer broke a rule of the wire: the connection ends with PROTOCOL_VIOLATION."""


def varint(value: int) -> bytes:
    """RFC 9000, section 16, in the shortest form."""
    for exponent, width in enumerate((1, 2, 4, 8)):
        if value < 1 << 8 * width - 2:
            return (value | exponent << 8 * width - 2).to_bytes(width, "big")
    raise ValueError(f"{value} is over 2^62 - 1")


def read_varint(data: bytes, at: int = 0) -> tuple[int, int] | None:
    """A varint of any form and the position behind it; ``None`` where bytes are missing."""
    if at >= len(data):
        return None
    width = 1 << (data[at] >> 6)
    if at + width > len(data):
        return None
    value = int.from_bytes(data[at : at + width], "big") & (1 << 8 * width - 2) - 1
    return value, at + width


# --- bodies of the control stream -----------------------------------------------------------------


def _label(text: str) -> str | None:
    valid = len(text) <= 63 and re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", text)
    return None if valid else f"{text[:70]!r} is no node id or mailbox name"


LABEL = c1.Checked(c1.STRING, _label)


@dataclass(frozen=True)
class Limits:
    message_bytes: int = 67_108_864
    in_flight: int = 4096


@dataclass(frozen=True)
class Route:
    id: int
    mailbox: str
    protocol: str
    request: str
    version: int


@dataclass(frozen=True)
class Hello:
    node: str
    incarnation: int
    wire_versions: tuple[int, int] = (1, 1)
    codecs: list[int] = field(default_factory=lambda: [1])
    agent_type: str = ""
    capabilities: list[str] = field(default_factory=list)
    limits: Limits = Limits()
    routes: list[Route] = field(default_factory=list)

    def fault(self) -> str | None:
        """What is beyond the limits of the table "Limits": the second check of the handshake."""
        texts = [self.agent_type, *self.capabilities]
        texts += [text for route in self.routes for text in (route.protocol, route.request)]
        if len(self.capabilities) > 64:
            return "more than 64 capabilities"
        if any(len(text.encode()) > 128 for text in texts):
            return "a text of more than 128 bytes"
        if len(self.routes) > 2048:
            return "more than 2048 routes"
        if self.limits.message_bytes < 1 or self.limits.in_flight < 1:
            return "a limit of zero"
        if len({route.id for route in self.routes}) < len(self.routes):
            return "two routes with one id"
        return None


@dataclass(frozen=True)
class Welcome:
    session: uuid.UUID
    wire_version: int
    codec: int
    hello: Hello


@dataclass(frozen=True)
class Refuse:
    cause: c1.Variant
    reason: str


@dataclass(frozen=True)
class RouteChange:
    added: list[Route]
    removed: list[int]


LIMITS = c1.Struct(Limits, message_bytes=c1.U64, in_flight=c1.U32)
ROUTE = c1.Struct(Route, id=c1.U32, mailbox=LABEL, protocol=c1.STRING, request=c1.STRING, version=c1.U16)
HELLO = c1.Struct(
    Hello,
    node=LABEL,
    incarnation=c1.U64,
    wire_versions=c1.Tuple(c1.U16, c1.U16),
    codecs=c1.List(c1.U8),
    agent_type=c1.STRING,
    capabilities=c1.List(c1.STRING),
    limits=LIMITS,
    routes=c1.List(ROUTE),
)
WELCOME = c1.Struct(Welcome, session=c1.UUID, wire_version=c1.U16, codec=c1.U8, hello=HELLO)
CAUSE = c1.Enum(WrongIdentity=(), Incompatible=(), AlreadyConnected=(), Malformed=(), Unavailable=())
REFUSE = c1.Struct(Refuse, cause=CAUSE, reason=c1.STRING)
ROUTE_CHANGE = c1.Struct(RouteChange, added=c1.List(ROUTE), removed=c1.List(c1.U32))


@dataclass(frozen=True)
class Ping:
    number: int


@dataclass(frozen=True)
class Pong:
    number: int


@dataclass(frozen=True)
class Drain:
    pass


# --- bodies of lanes and request streams ----------------------------------------------------------


@dataclass(frozen=True)
class Request:
    correlation: int
    route: int
    deadline: int
    payload: bytes


@dataclass(frozen=True)
class Delegated:
    """A request on behalf of another node: its role, 0 to 2, and its id."""

    correlation: int
    route: int
    deadline: int
    role: int
    node: str
    payload: bytes


@dataclass(frozen=True)
class Tell:
    correlation: int
    route: int
    deadline: int
    payload: bytes


@dataclass(frozen=True)
class Post:
    """A told message without an answer: correlation and deadline are 0."""

    correlation: int
    route: int
    deadline: int
    payload: bytes


@dataclass(frozen=True)
class Cancel:
    correlation: int


@dataclass(frozen=True)
class Reply:
    correlation: int
    payload: bytes


@dataclass(frozen=True)
class Failed:
    correlation: int
    payload: bytes


class Code(enum.IntEnum):
    """Why there is no answer of a handler."""

    NOT_EXPOSED = 1
    NOT_PERMITTED = 2
    OVERLOADED = 3
    TOO_LARGE = 4
    UNDECODABLE = 5
    UNENCODABLE = 6
    DRAINING = 7
    STOPPED = 8
    PANICKED = 9
    CANCELLED = 10
    TIMED_OUT = 11
    SESSION_LOST = 12
    INCOMPATIBLE = 13


@dataclass(frozen=True)
class Undelivered:
    correlation: int
    code: Code
    number: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Accepted:
    correlation: int


@dataclass(frozen=True)
class Part:
    correlation: int
    payload: bytes


ControlFrame = Hello | Welcome | Refuse | RouteChange | Ping | Pong | Drain
CallerFrame = Request | Tell | Delegated | Post | Cancel
Answer = Reply | Failed | Undelivered | Accepted
Frame = ControlFrame | CallerFrame | Answer | Part

_KINDS: dict[type, int] = {
    Hello: 0x01,
    Welcome: 0x02,
    Refuse: 0x03,
    RouteChange: 0x04,
    Ping: 0x05,
    Pong: 0x06,
    Drain: 0x07,
    Request: 0x10,
    Tell: 0x11,
    Cancel: 0x12,
    Delegated: 0x15,
    Post: 0x16,
    Reply: 0x20,
    Failed: 0x21,
    Undelivered: 0x22,
    Accepted: 0x23,
    Part: 0x28,
}
_TYPES = {kind: made for made, kind in _KINDS.items()}


# The longest payload of an answer on a lane; a longer one comes in parts.
LANE_ANSWER_BYTES = 32768


def on_lane(answer: Answer) -> Iterator[bytes]:
    """The frames of an answer on a lane."""
    if isinstance(answer, (Reply, Failed)):
        while len(answer.payload) > LANE_ANSWER_BYTES:
            yield encode_frame(Part(answer.correlation, answer.payload[:LANE_ANSWER_BYTES]))
            answer = replace(answer, payload=answer.payload[LANE_ANSWER_BYTES:])
    yield encode_frame(answer)


def encode_frame(frame: Frame) -> bytes:
    kind = _KINDS[type(frame)]
    if isinstance(frame, Hello):
        body = c1.encoded(HELLO, frame)
    elif isinstance(frame, Welcome):
        body = c1.encoded(WELCOME, frame)
    elif isinstance(frame, Refuse):
        body = c1.encoded(REFUSE, frame)
    elif isinstance(frame, RouteChange):
        body = c1.encoded(ROUTE_CHANGE, frame)
    elif isinstance(frame, (Ping, Pong)):
        body = varint(frame.number)
    elif isinstance(frame, Drain):
        body = b""
    elif isinstance(frame, (Request, Tell, Post)):
        body = varint(frame.correlation) + varint(frame.route) + varint(frame.deadline) + frame.payload
    elif isinstance(frame, Delegated):
        node = frame.node.encode()
        numbers = varint(frame.correlation) + varint(frame.route) + varint(frame.deadline)
        body = numbers + bytes([frame.role, len(node)]) + node + frame.payload
    elif isinstance(frame, (Cancel, Accepted)):
        body = varint(frame.correlation)
    elif isinstance(frame, (Reply, Failed, Part)):
        body = varint(frame.correlation) + frame.payload
    else:
        body = varint(frame.correlation) + varint(frame.code) + varint(frame.number) + frame.reason.encode()
    return varint(1 + len(body)) + bytes([kind]) + body


def decode_body(kind: int, body: bytes) -> Frame:
    """The frame of a kind and a body. A violation where it is malformed."""
    made = _TYPES.get(kind)
    if made is None:
        raise Violation(f"a frame of the unknown or reserved kind {kind:#04x}")
    try:
        if made is Hello:
            return c1.decoded(HELLO, body)
        if made is Welcome:
            return c1.decoded(WELCOME, body)
        if made is Refuse:
            return c1.decoded(REFUSE, body)
        if made is RouteChange:
            return c1.decoded(ROUTE_CHANGE, body)
    except CodecError as error:
        raise Violation(f"{made.__name__}: {error}") from error
    varints, rest = _BODIES[made]
    numbers, at = [], 0
    for _ in range(varints):
        read = read_varint(body, at)
        if read is None:
            raise Violation(f"{made.__name__}: the body ends early")
        number, at = read
        numbers.append(number)
    tail = body[at:]
    if not rest and tail:
        raise Violation(f"{made.__name__}: the body goes on after its end")
    if made in (Request, Tell, Delegated, Post) and numbers[1] >= 1 << 32:
        raise Violation(f"{made.__name__}: the route {numbers[1]}")
    if made is Delegated:
        if len(tail) < 2 or tail[0] > 2 or len(tail) < 2 + tail[1]:
            raise Violation("Delegated: the body ends early, or the role is none")
        node, payload = tail[2 : 2 + tail[1]].decode("ascii", "replace"), tail[2 + tail[1] :]
        if fault := _label(node):
            raise Violation(f"Delegated: {fault}")
        return Delegated(*numbers, tail[0], node, payload)
    if made is Undelivered:
        try:
            return Undelivered(numbers[0], Code(numbers[1]), numbers[2], tail.decode())
        except ValueError as error:  # an unknown code, or no UTF-8
            raise Violation(f"Undelivered: {error}") from error
    frame: Frame = made(*numbers, tail) if rest else made(*numbers)
    return frame


# How many varints a body begins with, and whether bytes follow.
_BODIES: dict[type, tuple[int, bool]] = {
    Ping: (1, False),
    Pong: (1, False),
    Drain: (0, False),
    Request: (3, True),
    Tell: (3, True),
    Post: (3, True),
    Delegated: (3, True),
    Cancel: (1, False),
    Reply: (1, True),
    Failed: (1, True),
    Undelivered: (3, True),
    Accepted: (1, False),
    Part: (1, True),
}


class FrameReader:
    """Cuts what arrives on one direction of a stream into frames."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._buffer += data
        while True:
            # The length is judged as soon as it is there, not when the frame is.
            read = read_varint(bytes(self._buffer[:8]))
            if read is None:
                return
            length, start = read
            if not 1 <= length <= self._longest:
                raise Violation(f"a frame of {length} bytes")
            if len(self._buffer) < start + length:
                return
            kind, body = self._buffer[start], bytes(self._buffer[start + 1 : start + length])
            del self._buffer[: start + length]
            yield decode_body(kind, body)

    def end(self) -> None:
        """The direction ended."""
        if self._buffer:
            raise Violation("a stream ends inside a frame")

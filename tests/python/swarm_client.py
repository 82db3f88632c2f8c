"""A node of a swarm that dials, written from protocols/SPEC.md alone, on aioquic.

``connect`` gives a :class:`Session`: it asks the peer, and serves what was exposed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import frames
from codec1 import CodecError
from frames import Answer, Code, Hello, Route, Undelivered, Violation

ALPN = "actix-swarm/1"
CONTROL_STREAM = 0
HANDSHAKE_SECONDS = 5.0
PING_SECONDS = 2.0
SILENCE_SECONDS = 10.0
IDLE_SECONDS = 15.0
# How long the peer's close may be behind the end of its control stream.
CLOSE_SECONDS = 1.0
# Requests with a longer payload get a stream of their own.
LANE_PAYLOAD_MAX = 16_384
# The error code of RESET_STREAM and STOP_SENDING, which means nothing.
NO_CODE = 0


class Close(enum.IntEnum):
    """Application error codes, section "Close codes"."""

    DONE = 0
    PROTOCOL_VIOLATION = 1
    HANDSHAKE_TIMEOUT = 2
    SILENT = 3
    REFUSED = 4
    SUPERSEDED = 5
    BAD_CERTIFICATE = 6


class Lane(enum.IntEnum):
    """The class of a lane."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


# --- certificates ---------------------------------------------------------------------------------


def node_id(certificate: x509.Certificate) -> str:
    """The only dNSName of a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError("the certificate has no subject alternative name") from error
    ids = names.get_values_for_type(x509.DNSName)
    if len(ids) != 1:
        raise ValueError(f"the certificate has {len(ids)} node ids")
    frames.LABEL.encode(ids[0], bytearray())
    return ids[0]


def role(certificate: x509.Certificate) -> str:
    """The only organizationalUnitName of a certificate."""
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    roles = [unit.value for unit in units]
    if len(roles) != 1 or roles[0] not in ("coordinator", "agent", "operator"):
        raise ValueError(f"the certificate has the roles {roles}")
    return str(roles[0])


@dataclass
class Identity:
    """What a node shows, and what it believes. Without a certificate it shows none."""

    certificate: x509.Certificate | None
    key: Any
    authority: Path
    revoked: x509.CertificateRevocationList | None = None

    @classmethod
    def load(cls, folder: Path) -> Identity:
        """From a folder as ``swarm ca`` makes them."""
        revoked = folder / "revoked.pem"
        return cls(
            certificate=x509.load_pem_x509_certificate((folder / "node.pem").read_bytes()),
            key=load_pem_private_key((folder / "node.key.pem").read_bytes(), password=None),
            authority=folder / "authority.pem",
            revoked=x509.load_pem_x509_crl(revoked.read_bytes()) if revoked.exists() else None,
        )

    @property
    def id(self) -> str:
        if self.certificate is None:
            raise ValueError("there is no certificate")
        return node_id(self.certificate)

    def judge(self, peer: x509.Certificate) -> str:
        """The role of a peer whose chain, dates and id TLS has verified. ``ValueError`` if it must be
        refused: a wrong purpose, no id and role, or revoked."""
        node_id(peer)
        try:
            purposes = peer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound as error:
            raise ValueError("the certificate has no extended key usage") from error
        if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= set(purposes):
            raise ValueError("the certificate has another purpose")
        if self.revoked is not None:
            authorities = x509.load_pem_x509_certificates(self.authority.read_bytes())
            if not any(self.revoked.is_signature_valid(a.public_key()) for a in authorities):  # type: ignore[arg-type]
                raise ValueError("the revocation list is not signed by the authority")
            same = self.revoked.issuer == peer.issuer
            if same and self.revoked.get_revoked_certificate_by_serial_number(peer.serial_number):
                raise ValueError("the certificate was revoked")
        return role(peer)


# --- how a session ends ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Closed:
    """How a connection was closed."""

    code: int
    # Whether the code is one of the application, not of QUIC.
    application: bool
    reason: str
    # Whether this side closed it.
    by_us: bool

    @property
    def alert(self) -> int | None:
        """The TLS alert of a QUIC error, if it is one."""
        return self.code - 0x100 if not self.application and 0x100 <= self.code <= 0x1FF else None

    def __str__(self) -> str:
        kind = "application code" if self.application else "QUIC error"
        return f"closed by {'us' if self.by_us else 'the peer'}, {kind} {self.code:#x}: {self.reason!r}"


class SessionEnded(ConnectionError):
    """There is no session, or no longer. What is known of an unanswered request is *unknown*."""

    def __init__(self, closed: Closed, refuse: frames.Refuse | None) -> None:
        super().__init__(f"{closed}{f', {refuse}' if refuse else ''}")
        self.closed = closed
        self.refuse = refuse


class RequestLost(ConnectionError):
    """The stream of a request ended before its answer: what is known of it is *unknown*."""


class PeerDrains(ConnectionError):
    """The peer takes no new requests: nothing was sent."""


# --- asking ---------------------------------------------------------------------------------------


class Pending:
    """A request that was sent."""

    def __init__(self, calls: Calls, correlation: int, answer: asyncio.Future[Answer]) -> None:
        self._calls = calls
        self.correlation = correlation
        self.stream = calls.stream
        self.answer = answer

    def cancel(self) -> None:
        """Says that the answer is no longer wanted."""
        self._calls.cancel(self.correlation)


class Calls:
    """A lane or a request stream that this side opened."""

    def __init__(self, session: Session, stream: int, lane: Lane | None) -> None:
        self._session = session
        self._lane = lane
        self.stream = stream
        self.lost = False
        # Done when no more answers come: whether the callee ended its direction.
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        # The unanswered ones by their numbers: what they are, and who waits.
        self.open: dict[int, tuple[type, asyncio.Future[Answer]]] = {}
        self._next = 0
        self._longest = session.hello.limits.message_bytes
        longest = self._longest if lane is None else frames.LANE_ANSWER_BYTES
        self._reader = frames.FrameReader(longest + frames.FRAME_OVERHEAD)
        # What has come of long answers.
        self._parts: dict[int, bytes] = {}
        # The first byte goes out with the first request.
        self._first = b"\x02" if lane is None else bytes([0x01, lane])

    def send(
        self, made: type[frames.Request] | type[frames.Tell], route: int, deadline: int, payload: bytes
    ) -> Pending:
        pending = self.expect(self._next, made)
        self._next += 1
        data = self._first + frames.encode_frame(made(pending.correlation, route, deadline, payload))
        self._first = b""
        self._session.write(self.stream, data, end=self._lane is None)
        return pending

    def expect(
        self, correlation: int, made: type[frames.Request] | type[frames.Tell] = frames.Request
    ) -> Pending:
        """Waits for the answer of a request that is about to be written."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.open[correlation] = made, answer
        return Pending(self, correlation, answer)

    def cancel(self, correlation: int) -> None:
        if correlation not in self.open:
            return
        if self._lane is not None:
            self._session.write(self.stream, frames.encode_frame(frames.Cancel(correlation)))
        else:
            self._session.quic.stop_stream(self.stream, NO_CODE)
            self._session.transmit_soon()
            self.lose("the request was cancelled")

    def received(self, data: bytes, end: bool) -> None:
        if self.lost:
            return
        for frame in self._reader.feed(data):
            part = isinstance(frame, frames.Part) and self._lane is not None
            if not part and not isinstance(frame, (frames.Reply, frames.Failed, Undelivered, frames.Accepted)):
                raise Violation(f"{type(frame).__name__} among answers")
            if frame.correlation not in self.open:
                raise Violation(f"an answer to the number {frame.correlation}, which was not asked")
            if part:
                self._parts[frame.correlation] = self._parts.get(frame.correlation, b"") + frame.payload
                if len(self._parts[frame.correlation]) > self._longest:
                    raise Violation(f"too long an answer to the number {frame.correlation}")
                continue
            before = self._parts.pop(frame.correlation, b"")
            if isinstance(frame, (frames.Reply, frames.Failed)):
                frame = replace(frame, payload=before + frame.payload)
            made, answer = self.open.pop(frame.correlation)
            accepted = isinstance(frame, frames.Accepted)
            if not isinstance(frame, Undelivered) and (made is frames.Tell) != accepted:
                raise Violation(f"{type(frame).__name__} answers a {made.__name__}")
            if not answer.done():
                answer.set_result(frame)
        if end:
            self._reader.end()
            self.ended.set_result(True)
            self.lose("the callee ended the stream")

    def stopped(self) -> None:
        """The callee reads no further: usual on a request stream, the end of a lane."""
        if self._lane is not None:
            self.lose("the callee stopped the lane")

    def lose(self, reason: str) -> None:
        self.fail(RequestLost(reason))

    def fail(self, error: Exception) -> None:
        self.lost = True
        if not self.ended.done():
            self.ended.set_result(False)
        for _, answer in self.open.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # whether somebody waits is not for the event loop to complain about
        self.open.clear()


# --- serving --------------------------------------------------------------------------------------


class HandlerFailed(Exception):
    """A handler answers with its error, encoded in codec 1: FAILED."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(f"{len(payload)} bytes")
        self.payload = payload


class Refusal(Exception):
    """A handler gives no answer: UNDELIVERED."""

    def __init__(self, code: Code, reason: str = "", number: int = 0) -> None:
        super().__init__(f"{code.name} {reason}")
        self.undelivered = Undelivered(0, code, number, reason)


# Takes a payload and gives that of the reply.
Handler = Callable[[bytes], Awaitable[bytes]]


# The roles of DELEGATED, by their numbers.
ROLES = ("coordinator", "agent", "operator")


@dataclass(frozen=True)
class _Exposed:
    handler: Handler
    allow: frozenset[str]
    through_coordinator: frozenset[str]


class _Served:
    """A lane or a request stream that the peer opened."""

    def __init__(self, session: Session, stream: int) -> None:
        self._session = session
        self._stream = stream
        self._first = b""
        self._is_lane = False
        self._reader: frames.FrameReader | None = None
        self._running: dict[int, asyncio.Task[Answer]] = {}
        # The peer sends no more requests; nobody waits for answers.
        self._ended = False
        self._abandoned = False

    def received(self, data: bytes, end: bool) -> None:
        if self._ended:
            return
        if self._reader is None:
            data = self._begin(data)
        if self._reader is not None:
            for frame in self._reader.feed(data):
                self._serve(frame)
                if not self._is_lane:
                    # What follows the frame is not read.
                    self._ended = True
                    return
        if end:
            if self._reader is not None:
                self._reader.end()
            # Where nothing was asked there is no answer: this side ends its direction too.
            self._end()

    def _begin(self, data: bytes) -> bytes:
        """Takes the first bytes of the stream; gives what follows them."""
        self._first += data
        if not self._first:
            return b""
        kind, length = self._first[0], 2 if self._first[0] == 0x01 else 1
        if kind not in (0x01, 0x02):
            raise Violation(f"a stream of the kind {kind:#04x}")
        if len(self._first) >= length:
            self._is_lane = kind == 0x01
            longest = self._session.hello.limits.message_bytes + frames.FRAME_OVERHEAD
            self._reader = frames.FrameReader(longest)
        return self._first[length:]

    def _serve(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Cancel) and self._is_lane:
            if task := self._running.get(frame.correlation):
                task.cancel()
        elif isinstance(frame, frames.Post):
            if not self._session.admit(frame):
                self._session.start(frame)
        elif isinstance(frame, (frames.Request, frames.Delegated, frames.Tell)):
            number = frame.correlation
            if number in self._running:
                raise Violation(f"a second request with the number {number}")
            if undelivered := self._session.admit(frame):
                self._answer(replace(undelivered, correlation=number))
            elif isinstance(frame, frames.Tell):
                # What the handler answers goes nowhere.
                self._session.start(frame)
                self._answer(frames.Accepted(number))
            else:
                # Tasks begin in the order in which they are made: that of the lane.
                task = self._session.start(frame)
                self._running[number] = task
                task.add_done_callback(lambda task: self._done(number, task))
        else:
            raise Violation(f"{type(frame).__name__} among requests")

    def _done(self, number: int, task: asyncio.Task[Answer]) -> None:
        del self._running[number]
        self._answer(Undelivered(number, Code.CANCELLED) if task.cancelled() else task.result())

    def _answer(self, answer: Answer) -> None:
        if self._abandoned or self._session.ended:
            return
        last = not self._is_lane or (self._ended and not self._running)
        whole = frames.on_lane(answer) if self._is_lane else [frames.encode_frame(answer)]
        self._session.write(self._stream, b"".join(whole), end=last)

    def _end(self) -> None:
        """The caller ended its direction: those begun are answered, then this side ends its own."""
        self._ended = True
        if not self._running and not self._abandoned:
            self._session.write(self._stream, b"", end=True)

    def reset(self) -> None:
        """The caller reset its direction: as if ended, and a frame begun is dropped."""
        if not self._ended:
            self._end()

    def stopped(self) -> None:
        """The caller wants no more answers."""
        self._abandoned = True
        for task in self._running.values():
            task.cancel()


# --- the session ----------------------------------------------------------------------------------


class Session:
    """A session with a peer: the dialler's side."""

    def __init__(self, identity: Identity, hello: Hello, quic: QuicConnection) -> None:
        loop = asyncio.get_running_loop()
        self._identity = identity
        self.hello = hello
        self.quic = quic
        self.transmit_soon: Callable[[], None] = lambda: None
        self.opened: asyncio.Future[frames.Welcome] = loop.create_future()
        self.closed: asyncio.Future[Closed] = loop.create_future()
        self.refuse: frames.Refuse | None = None
        self.peer_role = ""
        self.peer_drains = False
        # What the peer has announced, by number.
        self.routes: dict[int, Route] = {}
        self._highest_peer_route = -1
        self._exposed: dict[int, _Exposed] = {}
        self._next_route = 0
        self._closing: Closed | None = None
        self._control = frames.FrameReader(frames.CONTROL_FRAME_MAX)
        self._calls: dict[int, Calls] = {}
        self._lanes: dict[Lane, Calls] = {}
        self._served: dict[int, _Served] = {}
        self._handling: set[asyncio.Task[Answer]] = set()
        self._pulse: asyncio.Task[None] | None = None
        self._drains = False
        # Events of the acceptor's streams that came before its WELCOME.
        self._early: list[events.QuicEvent] = []
        self._heard = loop.time()
        self._pings = 0
        # Done with the next PONG.
        self.pong: asyncio.Future[int] = loop.create_future()

    # What a user of the session does.

    def route(self, mailbox: str, protocol: str, request: str, version: int = 1) -> int:
        """The number of a route of the peer; ``KeyError`` where it has announced none."""
        wanted = (mailbox, protocol, request, version)
        for route in self.routes.values():
            if (route.mailbox, route.protocol, route.request, route.version) == wanted:
                return route.id
        raise KeyError(wanted)

    def send(
        self,
        route: int,
        payload: bytes,
        *,
        lane: Lane | None = Lane.NORMAL,
        deadline: float = 0.0,
        tell: bool = False,
    ) -> Pending:
        """Sends a request and does not wait. Without a lane, and where the payload is long, it goes
        over a stream of its own. The deadline is in seconds, 0 for none. How many are in flight is
        the business of who asks."""
        if self.closed.done():
            raise self._end_error()
        welcome = self.opened.result()
        if self.peer_drains:
            raise PeerDrains
        if len(payload) > welcome.hello.limits.message_bytes:
            raise ValueError(f"a payload of {len(payload)} bytes")
        if lane is None or len(payload) > LANE_PAYLOAD_MAX:
            calls = self.open_stream(None)
        else:
            calls = self._lanes.get(lane) or self.open_stream(lane)
            if calls.lost:
                calls = self.open_stream(lane)
            self._lanes[lane] = calls
        milliseconds = math.ceil(deadline * 1000)
        return calls.send(frames.Tell if tell else frames.Request, route, milliseconds, payload)

    async def ask(
        self,
        route: int,
        payload: bytes,
        *,
        lane: Lane | None = Lane.NORMAL,
        timeout: float = 30.0,
        tell: bool = False,
    ) -> Answer:
        """Sends a request and waits for its answer. A caller that gives up tells the callee."""
        pending = self.send(route, payload, lane=lane, deadline=timeout, tell=tell)
        answer = pending.answer
        try:
            return await asyncio.wait_for(asyncio.shield(answer), timeout)
        except (asyncio.TimeoutError, asyncio.CancelledError):
            pending.cancel()
            raise

    def expose(
        self,
        mailbox: str,
        protocol: str,
        handlers: Mapping[str, Handler],
        *,
        version: int = 1,
        allow: Iterable[str] = (),
        through_coordinator: Iterable[str] = (),
    ) -> list[Route]:
        """Serves requests of a mailbox to the given roles, and to others that ask through a coordinator.

        Routes that are there as the session begins go out in HELLO (see ``connect``), later ones in ROUTES."""
        added = []
        for request, handler in handlers.items():
            route = Route(self._next_route, mailbox, protocol, request, version)
            self._next_route += 1
            self._exposed[route.id] = _Exposed(handler, frozenset(allow), frozenset(through_coordinator))
            added.append(route)
        if self.opened.done():
            self.send_control(frames.RouteChange(added, []))
        else:
            self.hello.routes.extend(added)
        return added

    def end_lane(self, lane: Lane) -> asyncio.Future[bool]:
        """Asks no more on a lane. What was asked is answered; then the future is done, with ``True``."""
        calls = self._lanes.pop(lane)
        self.write(calls.stream, b"", end=True)
        return calls.ended

    def withdraw(self, routes: Iterable[Route]) -> None:
        """Takes routes back from an open session."""
        removed = [route.id for route in routes]
        for number in removed:
            del self._exposed[number]
        self.send_control(frames.RouteChange([], removed))

    def close(self, code: Close = Close.DONE, reason: str = "") -> None:
        if self._closing is None and not self.closed.done():
            self._closing = Closed(code, True, reason, by_us=True)
            self.quic.close(error_code=code, reason_phrase=reason)
            self.transmit_soon()

    async def drain(self) -> None:
        """Stops in order: section "Drain"."""
        self._drains = True
        self.send_control(frames.Drain())
        while self._handling:
            await asyncio.wait(self._handling)
        self.write(CONTROL_STREAM, b"", end=True)
        # The peer ends the session when it has read so far, which is behind the last answers.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.closed), 2 * CLOSE_SECONDS)
        self.close()

    # What the streams need.

    def write(self, stream: int, data: bytes, end: bool = False) -> None:
        # A STOP_SENDING has its effect in aioquic before its event is here: then nobody reads this.
        with contextlib.suppress(RuntimeError):
            self.quic.send_stream_data(stream, data, end_stream=end)
        self.transmit_soon()

    @property
    def ended(self) -> bool:
        return self._closing is not None or self.closed.done()

    def start(
        self, request: frames.Request | frames.Delegated | frames.Tell | frames.Post
    ) -> asyncio.Task[Answer]:
        """Begins to handle a request that was admitted."""
        task = asyncio.ensure_future(self._handle(request))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        return task

    def admit(self, request: frames.Request | frames.Delegated | frames.Tell) -> Undelivered | None:
        """Why a request of the peer gets no handler. Nothing is allowed that was not said."""
        if self._drains:
            return Undelivered(0, Code.DRAINING)
        exposed = self._exposed.get(request.route)
        if exposed is None:
            return Undelivered(0, Code.NOT_EXPOSED, 0, f"route {request.route}")
        if isinstance(request, frames.Delegated):
            # Only a coordinator is believed for whom it asks.
            role = ROLES[request.role]
            if self.peer_role != "coordinator" or role not in exposed.through_coordinator:
                return Undelivered(0, Code.NOT_PERMITTED, 0, f"not for the role {role} through {self.peer_role}")
        elif self.peer_role not in exposed.allow:
            return Undelivered(0, Code.NOT_PERMITTED, 0, f"not for the role {self.peer_role}")
        if len(self._handling) >= self.hello.limits.in_flight:
            return Undelivered(0, Code.OVERLOADED, 10)
        return None

    async def _handle(
        self, request: frames.Request | frames.Delegated | frames.Tell | frames.Post
    ) -> Answer:
        number = request.correlation
        try:
            payload = await self._exposed[request.route].handler(request.payload)
        except HandlerFailed as failed:
            return frames.Failed(number, failed.payload)
        except Refusal as refusal:
            return replace(refusal.undelivered, correlation=number)
        except Exception:  # a handler that fails is an answer, and no end of the session
            return Undelivered(number, Code.PANICKED)
        if len(payload) > self.opened.result().hello.limits.message_bytes:
            return Undelivered(number, Code.UNENCODABLE, 0, "the reply is too long")
        return frames.Reply(number, payload)

    def open_stream(self, lane: Lane | None) -> Calls:
        """A further lane, or a request stream. Nothing is written yet."""
        calls = Calls(self, self.quic.get_next_available_stream_id(), lane)
        self._calls[calls.stream] = calls
        return calls

    # What happens on the connection.

    def on_event(self, event: events.QuicEvent) -> None:
        if self.ended:
            return
        try:
            self._on_event(event)
        except Violation as violation:
            self.close(Close.PROTOCOL_VIOLATION, str(violation))

    def _on_event(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.HandshakeCompleted):
            self._on_connected(event)
        elif not isinstance(
            event, (events.StreamDataReceived, events.StreamReset, events.StopSendingReceived)
        ):
            pass
        elif event.stream_id == CONTROL_STREAM:
            self._on_control(event)
        elif event.stream_id in self._calls:
            calls = self._calls[event.stream_id]
            if isinstance(event, events.StreamDataReceived):
                calls.received(event.data, event.end_stream)
            elif isinstance(event, events.StreamReset):
                calls.lose("the callee reset the stream")
            else:
                calls.stopped()
            if not calls.open and calls.lost:
                del self._calls[event.stream_id]
        elif event.stream_id % 4 == 1:  # bidirectional and opened by the acceptor
            if not self.opened.done():
                self._early.append(event)
                return
            served = self._served.setdefault(event.stream_id, _Served(self, event.stream_id))
            if isinstance(event, events.StreamDataReceived):
                served.received(event.data, event.end_stream)
            elif isinstance(event, events.StreamReset):
                served.reset()
            else:
                served.stopped()

    def _on_connected(self, event: events.HandshakeCompleted) -> None:
        """QUIC is connected. No byte of the application goes out before the peer is judged; whether
        it takes our certificate is known only with its WELCOME."""
        if event.alpn_protocol != ALPN:
            return self.close(Close.PROTOCOL_VIOLATION, f"the protocol {event.alpn_protocol}")
        try:
            self.peer_role = self._identity.judge(self.quic.tls._peer_certificate)  # type: ignore[arg-type]
        except (ValueError, CodecError) as error:
            return self.close(Close.BAD_CERTIFICATE, str(error))
        assert self.quic.get_next_available_stream_id() == CONTROL_STREAM
        self.write(CONTROL_STREAM, b"\x00" + frames.encode_frame(self.hello))
        return None

    def _on_control(
        self, event: events.StreamDataReceived | events.StreamReset | events.StopSendingReceived
    ) -> None:
        if isinstance(event, events.StreamReset):
            raise Violation("the control stream was reset")
        if isinstance(event, events.StopSendingReceived):
            return self._on_control_end()
        for frame in self._control.feed(event.data):
            self._heard = asyncio.get_running_loop().time()
            if not self.opened.done():
                self._on_first_frame(frame)
            else:
                self._on_control_frame(frame)
            if self._closing is not None:
                return None
        if event.end_stream:
            self._control.end()
            self._on_control_end()
        return None

    def _on_control_end(self) -> None:
        """The session is over. The peer's close is on its way and says why; ours would hide it."""
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.close)

    def _on_first_frame(self, frame: frames.Frame) -> None:
        """Awaiting the welcome."""
        if isinstance(frame, frames.Refuse):
            self.refuse = frame
            return self.close(Close.REFUSED)
        if not isinstance(frame, frames.Welcome):
            raise Violation(f"{type(frame).__name__} before WELCOME")
        peer = frame.hello
        certified = node_id(self.quic.tls._peer_certificate)  # type: ignore[arg-type]
        if peer.node != certified:
            raise Violation(f"the welcome of {peer.node} with the certificate of {certified}")
        if (frame.wire_version, frame.codec) != (1, 1):
            raise Violation(f"version {frame.wire_version} and codec {frame.codec}")
        if fault := peer.fault():
            raise Violation(fault)
        self.routes = {route.id: route for route in peer.routes}
        self._highest_peer_route = max(self.routes, default=-1)
        self.opened.set_result(frame)
        self._pulse = asyncio.ensure_future(self._heartbeat())
        early, self._early = self._early, []
        for event in early:
            self._on_event(event)
        return None

    def _on_control_frame(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Ping):
            self.send_control(frames.Pong(frame.number))
        elif isinstance(frame, frames.Pong):
            if frame.number > self._pings:
                raise Violation(f"PONG {frame.number}, which was never asked for")
            if not self.pong.done():
                self.pong.set_result(frame.number)
            self.pong = asyncio.get_running_loop().create_future()
        elif isinstance(frame, frames.RouteChange):
            self._on_routes(frame)
        elif isinstance(frame, frames.Drain):
            self.peer_drains = True
        else:
            raise Violation(f"{type(frame).__name__} in an open session")

    def _on_routes(self, change: frames.RouteChange) -> None:
        for route in change.added:
            if route.id <= self._highest_peer_route:
                raise Violation(f"the route {route.id} was announced before")
            self._highest_peer_route = route.id
            self.routes[route.id] = route
        for number in change.removed:
            if self.routes.pop(number, None) is None:
                raise Violation(f"the route {number} was not there")
        if fault := Hello("x", 0, routes=list(self.routes.values())).fault():
            raise Violation(fault)

    async def _heartbeat(self) -> None:
        while True:
            silent = asyncio.get_running_loop().time() - self._heard
            if silent >= SILENCE_SECONDS:
                return self.close(Close.SILENT)
            self._pings += 1
            self.send_control(frames.Ping(self._pings))
            await asyncio.sleep(PING_SECONDS)

    def send_control(self, frame: frames.ControlFrame) -> None:
        self.write(CONTROL_STREAM, frames.encode_frame(frame))

    def on_closed(self, closed: Closed) -> None:
        if self.closed.done():
            return
        self.closed.set_result(self._closing or closed)
        for calls in self._calls.values():
            calls.fail(self._end_error())
        for task in list(self._handling):
            task.cancel()
        if self._pulse is not None:
            self._pulse.cancel()

    def _end_error(self) -> SessionEnded:
        return SessionEnded(self.closed.result(), self.refuse)


# --- the connection -------------------------------------------------------------------------------


class _Connection(QuicConnectionProtocol):
    """Hands what happens on the connection to its session."""

    def __init__(self, quic: QuicConnection, session: Session) -> None:
        super().__init__(quic)
        self._session = session
        self._soon = False
        session.transmit_soon = self._transmit_once

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.ConnectionTerminated):
            # Where nothing was received before: time ran out here.
            self._session.on_closed(_closed(event, by_us=True))
        else:
            self._session.on_event(event)

    def transmit(self) -> None:
        super().transmit()
        # aioquic tells of a close only when its draining period is over. That a close came, or that
        # TLS refused the peer, is known now.
        state, event = self._quic._state, self._quic._close_event
        if event is not None and state in (QuicConnectionState.CLOSING, QuicConnectionState.DRAINING):
            self._session.on_closed(_closed(event, by_us=state is QuicConnectionState.CLOSING))

    def _transmit_once(self) -> None:
        """What is written in one turn of the event loop goes out together."""
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._transmit_now)

    def _transmit_now(self) -> None:
        self._soon = False
        self.transmit()


def _closed(event: events.ConnectionTerminated, by_us: bool) -> Closed:
    return Closed(event.error_code, event.frame_type is None, event.reason_phrase, by_us)


@contextlib.asynccontextmanager
async def connect(
    address: tuple[str, int],
    identity: Identity,
    expected: str,
    *,
    hello: Hello | None = None,
    expose: Callable[[Session], object] = lambda session: None,
    alpn: str = ALPN,
) -> AsyncIterator[Session]:
    """A session with the node ``expected``, closed at the end of the block.

    ``expose`` is called before HELLO goes out, to name what this node serves. ``SessionEnded`` where
    there will be no session, with what the peer said."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[alpn],
        idle_timeout=IDLE_SECONDS,
        # The chain, the dates and, by the name, the id of the node.
        verify_mode=ssl.CERT_REQUIRED,
        cafile=str(identity.authority),
        server_name=expected,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        certificate=identity.certificate,
        private_key=identity.key,
    )
    quic = QuicConnection(configuration=configuration)
    session = Session(identity, hello or greeting(identity.id), quic)
    expose(session)
    loop = asyncio.get_running_loop()
    transport, connection = await loop.create_datagram_endpoint(
        lambda: _Connection(quic, session), local_addr=("0.0.0.0", 0)
    )
    try:
        connection.connect(address)
        # QUIC has as much time again: its handshake is not that of the session.
        either: set[asyncio.Future[Any]] = {session.opened, session.closed}
        await asyncio.wait(either, timeout=2 * HANDSHAKE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not session.opened.done() and not session.closed.done():
            session.close(Close.HANDSHAKE_TIMEOUT)
        if not session.opened.done():
            closed = await asyncio.wait_for(asyncio.shield(session.closed), HANDSHAKE_SECONDS)
            raise SessionEnded(closed, session.refuse)
        yield session
    finally:
        session.close()
        connection.transmit()
        transport.close()


def greeting(node: str, **more: Any) -> Hello:
    """A HELLO of an incarnation that begins now."""
    return Hello(node, 1 + secrets.randbits(62), **more)

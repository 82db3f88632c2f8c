"""What the Python peer does with a coordinator: run as ``scenarios.py NAME --address A --folder F``.

The folder holds identities as ``swarm ca`` makes them, each in a folder of its name, and the authority
in ``ca``. A scenario that ends without an exception has passed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import math
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import codec1 as c1
import frames
import matching
import messages as m
from codec1 import Variant
from content_store import ContentStore, named
from frames import Accepted, Answer, Code, Failed, Limits, Reply, Undelivered
from swarm_client import (
    Close,
    HandlerFailed,
    Identity,
    Lane,
    RequestLost,
    Session,
    SessionEnded,
    connect,
    greeting,
)

# How long anything may take on a machine that is slow and busy.
DEADLINE = 60.0
HUB = "hub"

T = TypeVar("T")


@dataclass
class Place:
    """Where the coordinator is, and what it takes to be let in."""

    address: tuple[str, int]
    folder: Path
    pid: int | None

    def identity(self, name: str) -> Identity:
        return Identity.load(self.folder / name)

    def connect(self, name: str, **more: Any) -> contextlib.AbstractAsyncContextManager[Session]:
        return connect(self.address, self.identity(name), HUB, **more)


def equal(found: object, expected: object) -> None:
    assert found == expected, f"{found!r}, expected is {expected!r}"


async def within(work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, DEADLINE)


def reply(codec: c1.Codec[T], answer: Answer) -> T:
    assert isinstance(answer, Reply), answer
    return c1.decoded(codec, answer.payload)


def failed(codec: c1.Codec[T], answer: Answer) -> T:
    assert isinstance(answer, Failed), answer
    return c1.decoded(codec, answer.payload)


def undelivered(answer: Answer) -> Code:
    assert isinstance(answer, Undelivered), answer
    return answer.code


def coordinator(session: Session, request: str) -> int:
    return session.route("coordinator", "coordinator", request)


async def status(session: Session, lane: Lane | None = Lane.NORMAL) -> m.Status:
    return reply(
        m.STATUS, await within(session.ask(coordinator(session, "coordinator-status"), b"", lane=lane))
    )


# A rule small enough for a naive matcher and a small library.
RULE = m.WindowRule(length=8, following=3, max_gap_days=4, band=2, top=3, apart=8)


def series(symbol: str, bars: int, phase: float) -> m.SeriesPart:
    """A series with a weekend after every fifth day."""
    days = [18_000 + bar // 5 * 7 + bar % 5 for bar in range(bars)]
    wave = [math.sin(0.7 * bar + phase) + 0.4 * math.sin(1.9 * bar * phase) for bar in range(bars)]
    return m.SeriesPart(symbol, days, [100.0 + 5.0 * height for height in wave])


def task(name: uuid.UUID, queries: list[m.WindowQuery], parts: list[bytes]) -> bytes:
    """Asks of every part of a library what is most like the queries."""

    def find(part: bytes) -> m.Part:
        request = c1.encoded(m.FIND_SIMILAR, m.FindSimilar(named(part), RULE, queries))
        return m.Part("find-similar", 1, request, [named(part)])

    each = [find(part) for part in parts]
    submit = m.SubmitTask(
        name, "windows", 5, m.Duration(30, 0), "pattern-matcher", each, Variant("ForHome"), []
    )
    return c1.encoded(m.SUBMIT_TASK, submit)


async def store(session: Session, content: bytes) -> None:
    asked = coordinator(session, "store-content"), c1.encoded(m.STORE_CONTENT, m.StoreContent(content))
    equal(reply(m.CONTENT_HASH, await within(session.ask(*asked))), named(content))


def last_window(part: m.SeriesPart) -> m.WindowQuery:
    days, closes = part.days[-RULE.length :], part.closes[-RULE.length :]
    return m.WindowQuery(part.symbol, days[0], days[-1], closes)


# --- an operator ----------------------------------------------------------------------------------


async def operator(place: Place) -> None:
    async with place.connect("operator") as session:
        welcome = session.opened.result()
        equal((welcome.hello.node, session.peer_role), (HUB, "coordinator"))
        equal((welcome.wire_version, welcome.codec), (1, 1))
        equal({route.mailbox for route in session.routes.values()}, {"coordinator"})

        before = await status(session)
        equal(before.agents, [])
        for lane in (Lane.HIGH, Lane.NORMAL, Lane.LOW, None):
            after = await status(session, lane)
            assert after.received > before.received, (before, after)
            before = after

        await pipelined(session)
        await refused_requests(session)
        await cancelled(session)
        await ended_lane(session)
        # A PING of ours was answered, and meanwhile the peer's by us: the session is still open.
        await within(asyncio.shield(session.pong))
        await status(session)


async def pipelined(session: Session) -> None:
    """Many requests at once, over all lanes and request streams: more of these than may be open."""
    route = coordinator(session, "task-progress")
    lanes = [Lane.HIGH, Lane.NORMAL, Lane.LOW, None]
    sent = [
        session.send(route, c1.encoded(m.TASK_PROGRESS, uuid.uuid4()), lane=lanes[number % 4])
        for number in range(1_000)
    ]
    for answer in await within(asyncio.gather(*(pending.answer for pending in sent))):
        equal(reply(c1.Option(c1.UNIT), answer), None)


async def refused_requests(session: Session) -> None:
    for lane in (Lane.NORMAL, None):
        unknown = await within(session.ask(999_999, b"", lane=lane))
        equal(undelivered(unknown), Code.NOT_EXPOSED)
        malformed = coordinator(session, "submit-task"), b"\x10\x00"
        equal(undelivered(await within(session.ask(*malformed, lane=lane))), Code.UNDECODABLE)
        trailing = coordinator(session, "coordinator-status"), b"\x00"
        equal(undelivered(await within(session.ask(*trailing, lane=lane))), Code.UNDECODABLE)
        told = await within(
            session.ask(coordinator(session, "coordinator-status"), b"", lane=lane, tell=True)
        )
        assert isinstance(told, Accepted), told

    # Content that is in the store is not missing; a long payload goes over a stream of its own.
    for content in (b"\xff", bytes(20_000)):
        await store(session, content)
    missing = c1.encoded(m.MISSING_CONTENT, m.MissingContent([named(b"\xff"), named(b"nowhere")]))
    answer = await within(session.ask(coordinator(session, "missing-content"), missing))
    equal(reply(m.HASHES, answer), [named(b"nowhere")])
    # The handler's own errors.
    query, nothing = last_window(series("A", 30, 1.0)), b"not stored"
    submitted = await within(
        session.ask(coordinator(session, "submit-task"), task(uuid.uuid4(), [query], [nothing]))
    )
    equal(failed(m.TASK_ERROR, submitted), Variant("MissingContent", ([named(nothing)],)))


async def cancelled(session: Session) -> None:
    """A task that waits for an agent is cancelled with its request."""
    part = c1.encoded(m.SERIES_PART, series("A", 30, 1.0))
    await store(session, part)
    query = last_window(series("A", 30, 1.0))
    for lane in (Lane.NORMAL, None):
        name = uuid.uuid4()
        pending = session.send(coordinator(session, "submit-task"), task(name, [query], [part]), lane=lane)
        assert (await progress(session, name, there=True)) is not None
        pending.cancel()
        if lane is None:
            # STOP_SENDING: there is no answer.
            with contextlib.suppress(RequestLost):
                raise AssertionError(await within(pending.answer))
        else:
            equal(undelivered(await within(pending.answer)), Code.CANCELLED)
            # Nothing happens when the number is not in use.
            session.write(pending.stream, frames.encode_frame(frames.Cancel(pending.correlation)))
        assert (await progress(session, name, there=False)) is None


async def progress(session: Session, name: uuid.UUID, there: bool) -> Any:
    """What the coordinator says of a task, once there is one, or none."""
    codec = c1.Option(c1.Tuple(c1.U32, c1.U32, c1.U32))

    async def ask() -> Any:
        while True:
            answer = await session.ask(
                coordinator(session, "task-progress"), c1.encoded(m.TASK_PROGRESS, name), lane=Lane.HIGH
            )
            found = reply(codec, answer)
            if (found is not None) == there:
                return found

    return await within(ask())


async def ended_lane(session: Session) -> None:
    """What was asked on a lane that then ends is answered; the next request opens another lane."""
    pending = [
        session.send(coordinator(session, "coordinator-status"), b"", lane=Lane.LOW) for _ in range(10)
    ]
    ended = session.end_lane(Lane.LOW)
    for one in pending:
        reply(m.STATUS, await within(one.answer))
    equal(await within(ended), True)
    await status(session, Lane.LOW)


# --- an agent -------------------------------------------------------------------------------------


class Matcher:
    """A pattern matcher and a content store, as an agent exposes them."""

    def __init__(self) -> None:
        self.store = ContentStore()
        self.searches = 0

    def expose(self, session: Session) -> None:
        self.store.expose(session)
        handlers = {"find-similar": self.find_similar}
        session.expose("any-name", "pattern-matcher", handlers, through_coordinator=["operator"])

    async def find_similar(self, payload: bytes) -> bytes:
        request = c1.decoded(m.FIND_SIMILAR, payload)
        content = self.store.content.get(request.part)
        if content is None:
            raise HandlerFailed(c1.encoded(m.PART_ERROR, Variant("MissingInputs", ([request.part],))))
        self.searches += 1
        part = c1.decoded(m.SERIES_PART, content)
        return c1.encoded(m.SIMILAR_IN_PART, matching.search(part, request.rule, request.queries))


def matcher_hello(identity: Identity) -> frames.Hello:
    return greeting(identity.id, agent_type="pattern-matcher", capabilities=["slots:2"])


async def agents_are(session: Session, expected: list[str]) -> None:
    """Waits until the coordinator sees these agents."""

    async def ask() -> None:
        while (await status(session)).agents != expected:
            pass

    await within(ask())


async def agent(place: Place) -> None:
    """A task of the Python operator is done by the Python agent."""
    matcher, stranger = Matcher(), Matcher()
    identity, other = place.identity("agent-1"), place.identity("operator-2")
    async with place.connect("operator") as client:
        # An agent that can do nothing is listed all the same.
        async with place.connect("agent-1", expose=matcher.store.expose):
            await agents_are(client, ["agent-1"])
        await agents_are(client, [])
    async with (
        place.connect("operator") as client,
        # Offers the same, but its certificate is no agent's.
        place.connect("operator-2", hello=matcher_hello(other), expose=stranger.expose),
        place.connect("agent-1", hello=matcher_hello(identity), expose=matcher.expose) as worker,
    ):
        await agents_are(client, ["agent-1"])
        library = [series("A", 60, 1.0), series("B", 45, 2.0), series("C", 8, 3.0)]
        parts = [c1.encoded(m.SERIES_PART, part) for part in library]
        for part in parts:
            await store(client, part)
        queries = [last_window(part) for part in library[:2]]
        submit = coordinator(client, "submit-task"), task(uuid.uuid4(), queries, parts)
        report = reply(m.TASK_REPORT, await within(client.ask(*submit)))

        equal([answer.agent for answer in report.answers], ["agent-1"] * len(parts))
        equal((len(matcher.store.content), matcher.searches), (len(parts), len(parts)))
        equal((stranger.store.content, stranger.searches), ({}, 0))
        for answer, part in zip(report.answers, library, strict=True):
            found = c1.decoded(m.SIMILAR_IN_PART, answer.reply)
            equal(found, matching.search(part, RULE, queries))

        # What an agent may not do: the coordinator's mailbox is for operators.
        for lane in (Lane.NORMAL, None):
            asked = await within(worker.ask(coordinator(worker, "coordinator-status"), b"", lane=lane))
            equal(undelivered(asked), Code.NOT_PERMITTED)
        # The agent says good-bye, and its session ends in order.
        await within(worker.drain())
        equal((await within(worker.closed)).code, Close.DONE)
        await agents_are(client, [])


# --- who is refused -------------------------------------------------------------------------------


async def refused(place: Place) -> None:
    """No certificate that does not hold gets a reply, and what it gets is what the text says."""
    good = place.identity("agent-1")
    authority = x509.load_pem_x509_certificate((place.folder / "ca/authority.pem").read_bytes())
    key = load_pem_private_key((place.folder / "ca/authority.key.pem").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)

    def minted(**more: Any) -> Identity:
        return mint(good, authority, key, **more)

    now = datetime.now(timezone.utc)
    past, future = now - timedelta(days=2), now + timedelta(days=2)
    foreign = replace(place.identity("foreign"), authority=good.authority, revoked=good.revoked)
    forged = mint(good, authority, ec.generate_private_key(ec.SECP256R1()))
    swapped = replace(good, key=ec.generate_private_key(ec.SECP256R1()))
    for what, identity, alert in [
        ("no certificate", replace(good, certificate=None, key=None), 116),
        ("a foreign authority", foreign, 48),
        ("an expired one", minted(begin=past, end=now - timedelta(days=1)), 45),
        ("one of the future", minted(begin=now + timedelta(days=1), end=future), 45),
        ("a revoked one", place.identity("revoked"), 44),
        ("another purpose", minted(purposes=[ExtendedKeyUsageOID.SERVER_AUTH]), 43),
        ("no purpose", minted(purposes=[]), 43),
        ("two ids", minted(ids=["agent-1", "agent-2"]), 46),
        ("no role", minted(roles=[]), 46),
        ("two roles", minted(roles=["agent", "operator"]), 46),
        ("an unheard-of role", minted(roles=["root"]), 46),
        ("another's key", swapped, 51),
        ("a forged signature of the authority", forged, 51),
    ]:
        ended = await there_is_no_session(place, identity)
        assert not ended.closed.by_us and ended.refuse is None, f"{what}: {ended}"
        equal((what, ended.closed.alert), (what, alert))

    wrong_protocol = await there_is_no_session(place, good, alpn="actix-swarm/0")
    equal((wrong_protocol.closed.alert, wrong_protocol.closed.by_us), (120, False))
    # This side judges, too.
    revoked_hub = replace(good, revoked=no_longer(place, authority, key))
    wrong = await there_is_no_session(place, revoked_hub)
    equal((wrong.closed.by_us, wrong.closed.code), (True, Close.BAD_CERTIFICATE))
    wrong = await there_is_no_session(place, good, expected="hub-2")
    equal((wrong.closed.by_us, wrong.closed.alert), (True, 42))
    wrong = await there_is_no_session(place, replace(good, authority=place.folder / "foreign/authority.pem"))
    equal((wrong.closed.by_us, wrong.closed.alert), (True, 42))

    await refused_hellos(place)
    await session_ends_with_its_certificate(place, minted)
    # All the same the node lets in whom it knows.
    async with place.connect("agent-1"):
        pass


async def there_is_no_session(
    place: Place, identity: Identity, expected: str = HUB, **more: Any
) -> SessionEnded:
    async def attempt() -> SessionEnded:
        try:
            async with connect(
                place.address, identity, expected, **({"hello": greeting("agent-1")} | more)
            ) as session:
                raise AssertionError(f"a session: {session.opened.result()}")
        except SessionEnded as ended:
            return ended

    return await within(attempt())


def mint(
    like: Identity,
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    *,
    ids: list[str] | None = None,
    roles: list[str] | None = None,
    purposes: list[x509.ObjectIdentifier] | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
) -> Identity:
    """An identity such as ``swarm ca`` does not issue."""
    now = datetime.now(timezone.utc)
    own = ec.generate_private_key(ec.SECP256R1())
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role) for role in ("agent",)]
    if roles is not None:
        units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role) for role in roles]
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in ids or ["agent-1"]])
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH] if purposes is None else purposes
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(units))
        .issuer_name(authority.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin or now - timedelta(hours=1))
        .not_valid_after(end or now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(issuer_key, critical=False)
    )
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return replace(like, certificate=builder.sign(key, hashes.SHA256()), key=own)


def no_longer(
    place: Place, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateRevocationList:
    """A revocation list of the authority with the coordinator on it."""
    now = datetime.now(timezone.utc)
    hub = place.identity(HUB).certificate
    assert hub is not None
    entry = x509.RevokedCertificateBuilder().serial_number(hub.serial_number).revocation_date(now).build()
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now)
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(entry)
        .add_extension(x509.CRLNumber(9), critical=False)
        .sign(key, hashes.SHA256())
    )


async def refused_hellos(place: Place) -> None:
    good = place.identity("agent-1")
    for hello, cause in [
        (greeting("agent-2"), "WrongIdentity"),
        (greeting("agent-1", limits=Limits(0, 1)), "Malformed"),
        (greeting("agent-1", agent_type="x" * 129), "Malformed"),
        (greeting("agent-1", wire_versions=(2, 9)), "Incompatible"),
        (greeting("agent-1", codecs=[7]), "Incompatible"),
    ]:
        ended = await there_is_no_session(place, good, hello=hello)
        assert ended.refuse is not None and ended.refuse.cause == Variant(cause), ended
        equal((ended.closed.application, ended.closed.code), (True, Close.REFUSED))

    # One session for one node: while it answers, neither it nor another process with its identity gets a second one.
    hello = greeting("agent-1")
    async with place.connect("agent-1", hello=hello):
        for other in (0, 1, -1):
            second = replace(hello, incarnation=hello.incarnation + other)
            ended = await there_is_no_session(place, good, hello=second)
            assert ended.refuse is not None and ended.refuse.cause == Variant("AlreadyConnected"), ended


async def session_ends_with_its_certificate(place: Place, minted: Callable[..., Identity]) -> None:
    """A session is not longer than the certificate that was shown in it."""
    short = minted(end=datetime.now(timezone.utc) + timedelta(seconds=8))
    async with connect(place.address, short, HUB) as session:
        answer = await within(session.ask(coordinator(session, "coordinator-status"), b""))
        equal(undelivered(answer), Code.NOT_PERMITTED)
        closed = await within(asyncio.shield(session.closed))
        equal((closed.by_us, closed.application, closed.code), (False, True, Close.BAD_CERTIFICATE))


# --- the rules ------------------------------------------------------------------------------------


async def rules(place: Place) -> None:
    """What is unusual and allowed, and what is a violation."""
    async with place.connect("operator") as session:
        await allowed(session)

    unknown = frames.encode_frame(frames.Request(0, 999_999, 0, b""))
    route = frames.Route(7, "matcher", "pattern-matcher", "find-similar", 1)
    hello = frames.encode_frame(greeting("operator"))

    def change(added: list[frames.Route], removed: list[int]) -> bytes:
        return frames.encode_frame(frames.RouteChange(added, removed))

    for what, data in [
        ("an empty frame", b"\x00"),
        ("a reserved kind", b"\x02\x08\x01"),
        ("an unknown kind", b"\x01\x42"),
        ("a frame that is too long, which its length alone says", b"\x80\x10\x00\x01"),
        ("a kind of another stream", unknown),
        ("a body that ends early", b"\x01\x05"),
        ("a body that goes on", b"\x02\x07\x00"),
        ("a second HELLO", hello),
        ("a PONG to no PING", frames.encode_frame(frames.Pong(10_000))),
        ("a route that comes twice", 2 * change([route], [])),
        ("a route that goes twice", change([route], [7, 7])),
        ("a route that goes and never came", change([], [7])),
        ("2049 routes", change([replace(route, id=number) for number in range(2_049)], [])),
        ("a mailbox that has no valid name", change([route], []).replace(b"matcher", b"Matcher", 1)),
    ]:
        await violation(place, what, functools.partial(on_control, data=data))
    for what, data, end in [
        ("an unknown kind of stream", b"\x03", False),
        ("a second control stream", b"\x00" + hello, False),
        ("an answer among requests", b"\x01\x01" + frames.encode_frame(frames.Accepted(0)), False),
        ("a reserved kind on a lane", b"\x01\x01\x02\x13\x00", False),
        ("a CANCEL on a request stream", b"\x02" + frames.encode_frame(frames.Cancel(0)), True),
        ("a lane that ends inside a frame", b"\x01\x01" + unknown[:-1], True),
        ("a request stream that ends inside a frame", b"\x02" + unknown[:-1], True),
        ("a frame over the limit of the callee", b"\x01\x01\xc0\x00\x00\x00\x04\x00\x00\x41", False),
        ("a route that is no u32", b"\x01\x01\x0b\x10\x00\xc0\x00\x00\x01\x00\x00\x00\x00\x00", False),
    ]:
        await violation(place, what, functools.partial(on_new_stream, data=data, end=end))
    await violation(place, "a control stream that is reset", reset_control)
    await violation(place, "a number that is in use", ask_twice)


def on_control(session: Session, data: bytes) -> None:
    session.write(0, data)


def on_new_stream(session: Session, data: bytes, end: bool = False) -> None:
    session.write(session.quic.get_next_available_stream_id(), data, end=end)


def reset_control(session: Session) -> None:
    session.quic.reset_stream(0, 0)
    session.transmit_soon()


def ask_twice(session: Session) -> None:
    """The first request is a task that waits for an agent: it has no answer when the second comes."""
    part = c1.encoded(m.SERIES_PART, series("A", 30, 1.0))
    submit = task(uuid.uuid4(), [last_window(series("A", 30, 1.0))], [part])
    request = frames.encode_frame(frames.Request(0, coordinator(session, "submit-task"), 0, submit))
    on_new_stream(session, b"\x01\x01" + 2 * request)


async def violation(place: Place, what: str, commit: Callable[[Session], None]) -> None:
    async with place.connect("operator") as session:
        commit(session)
        closed = await within(asyncio.shield(session.closed))
        seen = (what, closed.by_us, closed.application, closed.code)
        equal(seen, (what, False, True, Close.PROTOCOL_VIOLATION))


async def unasked(payload: bytes) -> bytes:
    raise AssertionError(f"asked with {payload!r}")


async def allowed(session: Session) -> None:
    """Nothing here ends the session."""
    # Routes come and go.
    added = session.expose("late", "statistics", {"mean": unasked, "median": unasked}, allow=["coordinator"])
    session.withdraw(added[:1])
    session.expose("late", "statistics", {"mean": unasked}, version=2, allow=["coordinator"])
    route = coordinator(session, "coordinator-status")
    # A lane of a class that nobody knows, and varints in forms that are longer than needed.
    lane = session.open_stream(Lane.LOW)
    pending = lane.expect(5)
    zeroes = bytes(6)
    body = b"\x10\xc0" + zeroes + b"\x05\xc0" + zeroes + bytes([route]) + b"\x40\x00"
    session.write(lane.stream, b"\x01\x09" + b"\x80\x00\x00" + bytes([len(body)]) + body)
    reply(m.STATUS, await within(pending.answer))
    # A frame that comes in pieces, each in a packet of its own, among requests on other streams.
    pending = lane.expect(6)
    for byte in frames.encode_frame(frames.Request(6, route, 0, b"")):
        session.write(lane.stream, bytes([byte]))
        await status(session)
    reply(m.STATUS, await within(pending.answer))
    # A number is free again when its answer has arrived.
    pending = lane.expect(6)
    session.write(lane.stream, frames.encode_frame(frames.Request(6, route, 0, b"")))
    reply(m.STATUS, await within(pending.answer))
    # An integer in a form that is longer than needed, in a payload.
    name = b"\xfb\x10\x00" + uuid.uuid4().bytes
    answer = await within(session.ask(coordinator(session, "task-progress"), name))
    equal(reply(c1.Option(c1.UNIT), answer), None)
    # A request stream that is reset before its frame is complete: nothing was asked.
    stream = session.open_stream(None)
    session.write(stream.stream, b"\x02\x08\x10")
    await status(session)
    session.quic.reset_stream(stream.stream, 0)
    # Streams that end before they have asked anything: before their kind, their class, their frame.
    for first in (b"", b"\x01", b"\x01\x01", b"\x02"):
        on_new_stream(session, first, end=True)
        await status(session)
    # A lane that is reset inside a frame ends.
    lane = session.open_stream(Lane.HIGH)
    pending = lane.expect(0)
    request = frames.encode_frame(frames.Request(0, route, 0, b""))
    session.write(lane.stream, b"\x01\x00" + request + request[:2])
    reply(m.STATUS, await within(pending.answer))
    session.quic.reset_stream(lane.stream, 0)
    session.transmit_soon()
    await within(lane.ended)
    # Who stops the answers of a lane loses the lane, and all else goes on.
    pending = session.send(route, b"", lane=Lane.LOW)
    session.quic.stop_stream(pending.stream, 0)
    session.transmit_soon()
    await asyncio.wait({pending.answer}, timeout=DEADLINE)
    with contextlib.suppress(RequestLost):  # unless an answer was under way
        pending.answer.result()
    await status(session)


# --- time -----------------------------------------------------------------------------------------


async def timeouts(place: Place) -> None:
    """The limits in time that a node keeps: 5 s for the handshake of the session, 10 s of silence."""

    def says_nothing(session: Session) -> None:
        """QUIC connects, and there is no HELLO."""
        session.write = lambda stream, data, end=False: None  # type: ignore[method-assign]

    def owes_pongs(session: Session) -> None:
        """After its HELLO the control stream falls silent."""
        session.send_control = lambda frame: None  # type: ignore[method-assign]

    async def outlasted(name: str, code: Close, least: float, silent: Callable[[Session], None]) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with place.connect(name, expose=silent) as session:
                closed = await within(asyncio.shield(session.closed))
        except SessionEnded as ended:
            closed = ended.closed
        equal((closed.by_us, closed.application, closed.code), (False, True, code))
        assert clock() - begun > least - 0.5, f"{code.name} after {clock() - begun} s"

    await asyncio.gather(
        outlasted("operator-2", Close.HANDSHAKE_TIMEOUT, 5.0, says_nothing),
        outlasted("operator", Close.SILENT, 10.0, owes_pongs),
    )


# --- the end of the coordinator -------------------------------------------------------------------


async def drain(place: Place) -> None:
    """The coordinator stops while a session is open: it says so and ends in order."""
    async with place.connect("operator") as session:
        await status(session)
        assert place.pid is not None, "the process of the coordinator is not known"
        os.kill(place.pid, signal.SIGTERM)
        closed = await within(asyncio.shield(session.closed))
        equal((session.peer_drains, closed.application, closed.code), (True, True, Close.DONE))


SCENARIOS = {scenario.__name__: scenario for scenario in (operator, agent, refused, rules, timeouts, drain)}


async def run(scenario: Callable[[Place], Awaitable[None]], place: Place) -> None:
    """A scenario; what fails beside it, in a callback or a task, is a failure as well."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    await scenario(place)
    assert not faults, faults


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--address", required=True, help="of the coordinator")
    parser.add_argument("--folder", required=True, type=Path, help="with the identities and the authority")
    parser.add_argument("--pid", type=int, help="of the coordinator's process")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    # aioquic tells of every refusal, which is what is tested.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    place = Place((host, int(port)), arguments.folder, arguments.pid)
    asyncio.run(run(SCENARIOS[arguments.scenario], place))


if __name__ == "__main__":
    main()

"""Requests of the coordinator, of content stores and of the pattern matcher, and the types in them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import codec1 as c1
from codec1 import Variant

CONTENT_HASH = c1.Tuple(*[c1.U8] * 32)
DAY = c1.I32


@dataclass(frozen=True)
class Duration:
    seconds: int
    nanoseconds: int


DURATION = c1.Struct(Duration, seconds=c1.U64, nanoseconds=c1.U32)


def content_hash(digest: bytes) -> tuple[int, ...]:
    """A SHA-256 as the codec has it: an array of 32 numbers."""
    return tuple(digest)


@dataclass(frozen=True)
class SeriesPart:
    symbol: str
    days: list[int]
    closes: list[float]


@dataclass(frozen=True)
class WindowRule:
    length: int
    following: int
    max_gap_days: int
    band: int
    top: int
    apart: int


@dataclass(frozen=True)
class WindowQuery:
    symbol: str
    start: int
    end: int
    values: list[float]


@dataclass(frozen=True)
class FindSimilar:
    part: tuple[int, ...]
    rule: WindowRule
    queries: list[WindowQuery]


@dataclass(frozen=True)
class Hit:
    start: int
    first: int
    last: int
    distance_squared: float
    following_return: float


@dataclass(frozen=True)
class QueryMatches:
    candidates: int
    matches: list[Hit]


@dataclass(frozen=True)
class SimilarInPart:
    queries: list[QueryMatches]
    following_returns: list[float]


@dataclass(frozen=True)
class StoreContent:
    content: bytes


@dataclass(frozen=True)
class MissingContent:
    hashes: list[tuple[int, ...]]


@dataclass(frozen=True)
class Status:
    uptime: Duration
    agents: list[str]
    queued: int
    running: int
    sent: int
    received: int
    p50: Duration | None
    p99: Duration | None


@dataclass(frozen=True)
class Part:
    request: str
    version: int
    payload: bytes
    inputs: list[tuple[int, ...]]


@dataclass(frozen=True)
class SubmitTask:
    id: uuid.UUID
    kind: str
    priority: int
    deadline: Duration | None
    protocol: str
    parts: list[Part]
    waiting: Variant
    avoid: list[str]


@dataclass(frozen=True)
class PartAnswer:
    agent: str
    reply: bytes


@dataclass(frozen=True)
class TaskReport:
    answers: list[PartAnswer]


SERIES_PART = c1.Struct(SeriesPart, symbol=c1.STRING, days=c1.List(DAY), closes=c1.FLOATS)
STORE_CONTENT = c1.Struct(StoreContent, content=c1.BYTES)
MISSING_CONTENT = c1.Struct(MissingContent, hashes=c1.List(CONTENT_HASH))
HASHES = c1.List(CONTENT_HASH)
STORE_ERROR = c1.Enum(Full=(c1.U64,), TooLong=(c1.U64,))
WINDOW_RULE = c1.Struct(
    WindowRule,
    length=c1.U16,
    following=c1.U16,
    max_gap_days=c1.U16,
    band=c1.U16,
    top=c1.U16,
    apart=c1.U16,
)
WINDOW_QUERY = c1.Struct(WindowQuery, symbol=c1.STRING, start=DAY, end=DAY, values=c1.FLOATS)
FIND_SIMILAR = c1.Struct(FindSimilar, part=CONTENT_HASH, rule=WINDOW_RULE, queries=c1.List(WINDOW_QUERY))
PART_ERROR = c1.Enum(MissingInputs=(HASHES,), Invalid=(c1.STRING,), Cancelled=())
HIT = c1.Struct(Hit, start=c1.U32, first=DAY, last=DAY, distance_squared=c1.F64, following_return=c1.F64)
QUERY_MATCHES = c1.Struct(QueryMatches, candidates=c1.U32, matches=c1.List(HIT))
SIMILAR_IN_PART = c1.Struct(SimilarInPart, queries=c1.List(QUERY_MATCHES), following_returns=c1.FLOATS)
STATUS = c1.Struct(
    Status,
    uptime=DURATION,
    agents=c1.List(c1.STRING),
    queued=c1.U32,
    running=c1.U32,
    sent=c1.U64,
    received=c1.U64,
    p50=c1.Option(DURATION),
    p99=c1.Option(DURATION),
)
PART = c1.Struct(Part, request=c1.STRING, version=c1.U16, payload=c1.BYTES, inputs=HASHES)
SUBMIT_TASK = c1.Struct(
    SubmitTask,
    id=c1.UUID,
    kind=c1.STRING,
    priority=c1.U8,
    deadline=c1.Option(DURATION),
    protocol=c1.STRING,
    parts=c1.List(PART),
    waiting=c1.Enum(ForHome=(), ForAnyone=()),
    avoid=c1.List(c1.STRING),
)
TASK_PROGRESS = c1.UUID
TASK_ERROR = c1.Enum(
    QueueFull=(c1.Enum(Tasks=(c1.U32,), Bytes=(c1.U64,), Inputs=(c1.U64,)),),
    Ended=(c1.UUID,),
    DeadlineExceeded=(),
    NoCapableAgent=(c1.STRING, c1.List(c1.STRING)),
    PartFailed=(c1.U32, c1.U32, c1.STRING, c1.STRING, c1.Option(c1.BYTES)),
    Cancelled=(),
    MissingContent=(HASHES,),
    Invalid=(c1.STRING,),
)
TASK_REPORT = c1.Struct(
    TaskReport, answers=c1.List(c1.Struct(PartAnswer, agent=c1.STRING, reply=c1.BYTES))
)

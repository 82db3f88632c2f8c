"""Requests of the coordinator and of the pattern matcher, and the types in them.

They are no part of the wire: the declarations are in protocols/src/coordinator and
protocols/src/similar_windows.
"""

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
class StorePart:
    part: bytes


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
class SubmitTask:
    id: uuid.UUID
    priority: int
    deadline: Duration | None
    job: Variant


@dataclass(frozen=True)
class Distribution:
    mean: float
    median: float
    p05: float
    p95: float
    share_up: float


@dataclass(frozen=True)
class Match:
    symbol: str
    start: int
    end: int
    distance: float
    following_return: float


@dataclass(frozen=True)
class Span:
    start: int
    end: int


@dataclass(frozen=True)
class SimilarToQuery:
    symbol: str
    query: Span
    candidates: int
    matches: list[Match]
    following: Distribution | None
    unconditional: Distribution | None


@dataclass(frozen=True)
class SimilarWindows:
    symbols: list[SimilarToQuery]


@dataclass(frozen=True)
class TaskReport:
    result: Variant
    agents: list[str]


SERIES_PART = c1.Struct(SeriesPart, symbol=c1.STRING, days=c1.List(DAY), closes=c1.FLOATS)
STORE_PART = c1.Struct(StorePart, part=c1.BYTES)
STORE_ERROR = c1.Enum(Malformed=(c1.STRING,), Full=(c1.U64,))
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
FIND_ERROR = c1.Enum(MissingPart=(CONTENT_HASH,), Invalid=(c1.STRING,), Busy=(), Cancelled=())
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
JOB = c1.Enum(SimilarWindows=(WINDOW_RULE, c1.List(WINDOW_QUERY), c1.List(CONTENT_HASH)))
SUBMIT_TASK = c1.Struct(SubmitTask, id=c1.UUID, priority=c1.U8, deadline=c1.Option(DURATION), job=JOB)
TASK_PROGRESS = c1.UUID
TASK_ERROR = c1.Enum(
    QueueFull=(c1.U32,),
    Duplicate=(c1.UUID,),
    DeadlineExceeded=(),
    NoCapableAgent=(c1.STRING,),
    PartFailed=(c1.U32, c1.U32, c1.STRING),
    Cancelled=(),
    MissingParts=(c1.List(CONTENT_HASH),),
    Invalid=(c1.STRING,),
)
DISTRIBUTION = c1.Struct(Distribution, mean=c1.F64, median=c1.F64, p05=c1.F64, p95=c1.F64, share_up=c1.F64)
MATCH = c1.Struct(Match, symbol=c1.STRING, start=DAY, end=DAY, distance=c1.F64, following_return=c1.F64)
SIMILAR_TO_QUERY = c1.Struct(
    SimilarToQuery,
    symbol=c1.STRING,
    query=c1.Struct(Span, start=DAY, end=DAY),
    candidates=c1.U64,
    matches=c1.List(MATCH),
    following=c1.Option(DISTRIBUTION),
    unconditional=c1.Option(DISTRIBUTION),
)
SIMILAR_WINDOWS = c1.Struct(SimilarWindows, symbols=c1.List(SIMILAR_TO_QUERY))
TASK_REPORT = c1.Struct(
    TaskReport,
    result=c1.Enum(SimilarWindows=(SIMILAR_WINDOWS,)),
    agents=c1.List(c1.STRING),
)

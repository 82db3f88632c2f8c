"""A naive pattern matcher: dynamic time warping of z-normalised windows, without any shortcut."""

from __future__ import annotations

import math

from messages import Hit, QueryMatches, SeriesPart, SimilarInPart, WindowQuery, WindowRule


def z_normalized(series: list[float]) -> list[float]:
    mean = math.fsum(series) / len(series)
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in series) / len(series))
    return [(x - mean) / deviation if deviation > 0 else 0.0 for x in series]


def dtw_squared(a: list[float], b: list[float], band: int) -> float:
    """The least sum of squared differences along a warping path within the band."""
    previous = [0.0] + [math.inf] * len(b)
    for i, x in enumerate(a):
        row = [math.inf] * (len(b) + 1)
        for j in range(max(0, i - band), min(len(b), i + band + 1)):
            row[j + 1] = (x - b[j]) ** 2 + min(previous[j], previous[j + 1], row[j])
        previous = row
    return previous[-1]


def window_starts(part: SeriesPart, rule: WindowRule) -> list[int]:
    """Where windows begin: no neighbouring bars of one and of what follows it are too far apart."""
    span = rule.length + rule.following
    gaps = [later - earlier for earlier, later in zip(part.days, part.days[1:], strict=False)]
    return [
        start
        for start in range(len(part.days) - span + 1)
        if all(gap <= rule.max_gap_days for gap in gaps[start : start + span - 1])
    ]


def following_return(part: SeriesPart, rule: WindowRule, start: int) -> float:
    last = start + rule.length - 1
    return part.closes[last + rule.following] / part.closes[last] - 1.0


def find(part: SeriesPart, rule: WindowRule, query: WindowQuery) -> QueryMatches:
    """The best windows that, with what followed them, lie before the query."""
    span = rule.length + rule.following
    starts = [start for start in window_starts(part, rule) if part.days[start + span - 1] < query.start]
    wanted = z_normalized(query.values)
    found = sorted(
        (dtw_squared(wanted, z_normalized(part.closes[start : start + rule.length]), rule.band), start)
        for start in starts
    )
    best: list[Hit] = []
    for distance, start in found:
        if len(best) < rule.top and all(abs(start - better.start) >= rule.apart for better in best):
            first, last = part.days[start], part.days[start + rule.length - 1]
            best.append(Hit(start, first, last, distance, following_return(part, rule, start)))
    return QueryMatches(len(starts), best)


def search(part: SeriesPart, rule: WindowRule, queries: list[WindowQuery]) -> SimilarInPart:
    found = [find(part, rule, query) for query in queries]
    most = max(matches.candidates for matches in found)
    returns = [following_return(part, rule, start) for start in window_starts(part, rule)[:most]]
    return SimilarInPart(found, returns)

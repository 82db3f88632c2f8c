#!/usr/bin/env python3
"""One table: what the kernels take and what packages from elsewhere take for the same work, on this machine.

    compare.py [--swarm PATH] [--rust PATH] [--quick]

Every figure is the median processor time of a call on one thread, over distinct pairs, after a warm-up. Answers of all peers
are checked against numpy's, or the first peer's, before they are timed.
"""
import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402  (after the number of threads)

N, BANDS, EPSILON = 1000, (100, 10, 1), 0.25


def walks(count, points, seed=7):
    series = np.cumsum(np.random.default_rng(seed).standard_normal((count, points)), axis=1)
    return (series - series.mean(axis=1, keepdims=True)) / series.std(axis=1, keepdims=True)


def load(name):
    try:
        return importlib.import_module(name)
    except Exception as error:  # a peer that cannot be had is a row of the table
        print(f"# {name} could not be loaded: {error}", file=sys.stderr)
        return None


def median_ms(call, inputs, seconds):
    call(*inputs[0])
    times, end = [], time.perf_counter() + seconds
    while len(times) < len(inputs) or time.perf_counter() < end:
        began = time.thread_time()
        call(*inputs[len(times) % len(inputs)])
        times.append(1e3 * (time.thread_time() - began))
        if time.perf_counter() > end + 10 * seconds:
            break
    return statistics.median(times)


def dtw_peers():
    """Of each peer a function (a, b, half-width) -> sum of squared differences along the cheapest path."""
    if distances := load("aeon.distances"):
        yield "aeon", lambda a, b, r: distances.dtw_distance(a, b, window=r / N)
    if dtai := load("dtaidistance.dtw"):
        # Its window counts the diagonal.
        yield "dtaidistance", lambda a, b, r: dtai.distance_fast(a, b, window=r + 1, use_pruning=False) ** 2
    if metrics := load("tslearn.metrics"):
        yield "tslearn", lambda a, b, r: metrics.dtw(a, b, global_constraint="sakoe_chiba", sakoe_chiba_radius=r) ** 2


def dtw_rows(seconds):
    series = walks(24, N)
    pairs = [(series[i], series[i + 1]) for i in range(len(series) - 1)]
    agreed = {}
    for name, distance in dtw_peers():
        for band in BANDS:
            r = N * band // 100
            found = distance(*pairs[0], r)
            expected = agreed.setdefault(band, found)
            if abs(found - expected) > 1e-6 * expected:
                print(f"# {name} gives {found} and not {expected} within {band} %", file=sys.stderr)
                continue
            yield f"DTW n={N} f64 band {band} %", name, median_ms(lambda a, b: distance(a, b, r), pairs, seconds)


def matrix_rows(seconds, quick):
    for points in (1000, 252):
        series = walks(100, points)
        yield f"Pearson 100 x {points}", "numpy", median_ms(np.corrcoef, [(series,)], seconds)
        some = 30 if quick or points == 1000 else 100
        pairs = [(series[i], series[j]) for i in range(some) for j in range(i)][:200]
        if distances := load("aeon.distances"):
            lcss = lambda a, b: distances.lcss_distance(a, b, epsilon=EPSILON)  # noqa: E731
            yield f"LCSS 100 x {points}", "aeon, from 200 pairs", 4950 * median_ms(lcss, pairs, seconds)
        if metrics := load("tslearn.metrics"):
            lcss = lambda a, b: metrics.lcss(a, b, eps=EPSILON)  # noqa: E731
            yield f"LCSS 100 x {points}", "tslearn, from 200 pairs", 4950 * median_ms(lcss, pairs[:50], seconds)


def search_rows():
    """Not the same question: z-normalised Euclidean distance, without warping."""
    if stumpy := load("stumpy"):
        series = np.cumsum(np.random.default_rng(2).standard_normal(1_000_000))
        query = np.cumsum(np.random.default_rng(3).standard_normal(128))
        stumpy.match(query, series, max_matches=1)
        took = median_ms(lambda: stumpy.match(query, series, max_matches=1), [()] * 3, 0.0)
        yield "search 10^6 m=128, Euclidean", "stumpy", took


def our_rows(swarm, seconds):
    command = [swarm, "bench", "kernels", "--seconds", str(seconds), "-o", "json"]
    for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        row = json.loads(line)
        params, side = row["params"], {"swarm": "swarm", "floor": "swarm's scalar control"}[row["side"]]
        if row["metric"] == "dtw_ms" and not params["path"]:
            yield f"DTW n={params['n']} {params['dtype']} band {params['band_percent']} %", side, row["value"]
        elif row["metric"] in ("lcss_matrix_ms", "pearson_matrix_ms"):
            kind = "LCSS" if "lcss" in row["metric"] else "Pearson"
            yield f"{kind} {params['series']} x {params['n']}", side, row["value"]


def rust_rows(program):
    for line in subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        work, name, value = line.split("\t")
        yield work, name, float(value)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swarm", help="the binary of this repository, built with --release")
    parser.add_argument("--rust", help="the binary of the folder rust, built with --release")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    seconds = 0.1 if arguments.quick else 1.0
    rows = list(dtw_rows(seconds)) + list(matrix_rows(seconds, arguments.quick)) + list(search_rows())
    if arguments.rust:
        rows += rust_rows(arguments.rust)
    if arguments.swarm:
        rows += our_rows(arguments.swarm, seconds)
    if not load("pydtw"):
        print("# pydtw (early abandoning and pruned, AVX2) is not compared", file=sys.stderr)
    works = dict.fromkeys(work for work, _, _ in rows)
    print(f"{'':<32} {'':<26} {'ms':>12}")
    for work in works:
        for _, name, value in sorted((row for row in rows if row[0] == work), key=lambda row: row[2]):
            print(f"{work:<32} {name:<26} {value:>12.4f}")


main()

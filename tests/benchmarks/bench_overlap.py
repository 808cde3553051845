"""
How much of the preparation the feeder hides, and what it costs.

Forty chunks are prepared in 10 ms and computed in 10 ms, both without the interpreter's
lock, which bounds from below what any feeder can take: all the computing, and the
first preparation. Then chunks that cost nothing: what is left is the feeder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from statistics import median

from tests.benchmarks.harness import surroundings
from unfussy._batching.feeder import feed

N_CHUNKS = 40
SECONDS = 0.010
N_EMPTY = 5000


def work(_: object) -> None:
    time.sleep(SECONDS)


def timed(chunks: Iterable[object], compute: Callable[[object], object]) -> float:
    start = time.perf_counter()
    for chunk in chunks:
        compute(chunk)
    return time.perf_counter() - start


def overlap(depth: int, *, threaded: bool) -> float:
    """Return the seconds that all chunks take."""
    return timed(feed(range(N_CHUNKS), work, depth=depth, threaded=threaded), work)


def limit() -> float:
    """Return the seconds that computing takes, and one preparation."""
    return timed(range(N_CHUNKS + 1), work)


def overhead(depth: int, *, threaded: bool) -> float:
    """Return the microseconds of CPU time that a chunk of nothing takes."""
    start = time.process_time()
    for _ in feed(range(N_EMPTY), lambda x: x, depth=depth, threaded=threaded):
        pass
    return 1e6 * (time.process_time() - start) / N_EMPTY


def starting() -> float:
    """Return the microseconds that a feeder takes for its start and its end."""
    start = time.perf_counter()
    for _ in range(100):
        list(feed((), work))
    return 1e6 * (time.perf_counter() - start) / 100


def rows(rounds: int) -> Iterator[tuple[str, str, str]]:
    """Yield what was measured, its figure, and the target."""
    serial, bound, fed = [], [], []
    for _ in range(rounds):
        bound.append(limit())
        fed.append(overlap(2, threaded=True))
        serial.append(overlap(2, threaded=False))
    yield "limit", f"{median(bound):.3f} s", ""
    yield "with a feeder", f"{median(fed):.3f} s", ""
    yield "without", f"{median(serial):.3f} s", ""
    ratio = median(f / b for f, b in zip(fed, bound))
    yield "with a feeder, to the limit", f"{ratio:.3f}", "1.05"
    gain = median(s / f for s, f in zip(serial, fed))
    yield "without, to with a feeder", f"{gain:.2f}", ""
    for depth in (1, 2, 4):
        found = median(overhead(depth, threaded=True) for _ in range(rounds))
        target = "20" if depth == 2 else ""
        yield f"CPU time of a chunk, depth {depth}", f"{found:.1f} us", target
    found = median(overhead(2, threaded=False) for _ in range(rounds))
    yield "the same without a thread", f"{found:.1f} us", ""
    yield "start and end", f"{median(starting() for _ in range(rounds)):.0f} us", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    print("\n| what | figure | target |\n| --- | ---: | ---: |")
    for row in rows(asked.rounds):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()

"""
Kill writers of sinks, again and again, until their results are whole.

Run as a script, it prints how many were killed and how many results came out byte for
byte like those of writers that were left alone. Between two kills, garbage is appended
to journals and rows, or their ends are torn off.
"""

import argparse
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.children import is_killed
from unfussy._batching.sinks import open_sink

__all__ = ["kill_writers"]

SOURCE, BLOCK = 60, 3


def write(path, rows, pause=0.0):
    """Write what is missing of a result."""
    with open_sink(path, job="mine", rows=rows) as sink:
        while not sink.is_finished and sink.position < SOURCE:
            time.sleep(pause)
            ids = np.arange(sink.position, sink.position + BLOCK)
            block = ids[:, None] * np.linspace(0, 1, 500)
            several = {"x": block, "y": (ids,)}
            sink.write(block if path.suffix else several, sink.position + BLOCK)
            sink.flush()
        if not sink.is_finished:
            sink.finish()


def kill_writers(kills, seed):
    """Return how many writers were killed, how many results came, and how many well."""
    chance = random.Random(seed)
    killed = results = exact = 0
    while killed < kills:
        name, rows = chance.choice(["x.npy", "x"]), chance.choice([SOURCE, None])
        with TemporaryDirectory() as folder:
            path, twin = Path(folder, "a", name), Path(folder, "b", name)
            path.parent.mkdir()
            twin.parent.mkdir()
            patience = 0.1
            while is_killed(write, chance.uniform(0, patience), path, rows, 0.001):
                killed += 1
                patience *= 1.2  # a slow disk gets there too
                _tear(path, chance)
            write(path, rows)  # told that nothing is left to do, it tidies up
            write(twin, rows)
            results += 1
            exact += _contents(path) == _contents(twin)
    return killed, results, exact


def _tear(path, chance):
    for file in path.parent.rglob("*"):
        if file.name.endswith((".npy.part", ".journal")) and chance.random() < 0.5:
            data = file.read_bytes()
            if chance.random() < 0.5:
                file.write_bytes(data + chance.randbytes(chance.randrange(1, 100)))
            elif len(data) > 400:  # behind the first line
                file.write_bytes(data[: -chance.randrange(1, 60)])


def _contents(path):
    return {
        str(file.relative_to(path.parent)): file.read_bytes()
        for file in path.parent.rglob("*.*")
        if file.suffix != ".job"  # which holds times
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(*kill_writers(asked.kills, asked.seed))  # noqa: T201 - a script

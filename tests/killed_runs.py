"""
Kill runs of `run_to` at random moments, and call them again until they are done.

Run as a script, it prints how many were killed, how many results came out, how many of
them byte for byte like those of runs that were left alone, and how many items were
computed though a commit had been before.
"""

import argparse
import os
import random
import signal
import struct
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from unfussy import auto_device, batched, configure, inference, run_to
from unfussy._batching.sinks import journal
from unfussy._batching.sinks.sink import Sink

N, SIZE = 120, 4
RECORD = struct.Struct("<IIQQII")


class Net(nn.Module):
    """Notes every item that it computes, in a file."""

    def __init__(self, log, pause):
        super().__init__()
        self.log, self.pause = log, pause
        self.scale = nn.Parameter(torch.linspace(1, 2, 300))

    @batched(size=SIZE)
    @inference
    @auto_device
    def embed(self, x):
        if self.log is not None:
            with self.log.open("ab") as file:
                file.write(struct.pack(f"<{len(x)}I", *x[:, 0].int().tolist()))
        time.sleep(self.pause)
        return {"z": x * self.scale, "norm": x.norm(dim=1)}


def source(kind):
    rows = np.arange(N, dtype=np.float32)[:, None]
    return {"array": rows, "list": [*rows], "generator": (row for row in rows)}[kind]


def run(path, kind, log=None, pause=0.0):
    """Run the whole, and commit every window."""
    write = Sink.write

    def write_and_commit(self, block, position):
        write(self, block, position)
        self.flush()

    Sink.write = write_and_commit
    method = configure(Net(log, pause).embed, batch_size=SIZE)
    return run_to(path, method, source(kind), durable=False, job=f"embed; {kind}")


def committed(path):
    """Return up to which item the journal of an unfinished run vouches."""
    file = path.with_name(f"{path.name}.journal")
    if not file.exists():
        return 0
    body = file.read_bytes().partition(b"\n")[2]
    whole = body[: len(body) // RECORD.size * RECORD.size]
    return max((record[3] for record in RECORD.iter_unpack(whole)), default=0)


def kill_runs(kills, seed):
    """Return what the script prints."""
    assert RECORD.size == journal._SIZE
    chance = random.Random(seed)
    killed = results = exact = twice = 0
    while killed < kills:
        kind = chance.choice(["array", "list", "generator"])
        with TemporaryDirectory() as folder:
            path, twin, log = (Path(folder, name) for name in ("x", "y", "log"))
            is_killed = True
            while is_killed:
                start, before = committed(path), sizes(log)
                is_killed = run_and_kill(path, kind, log, chance)
                killed += is_killed
                twice += sum(i < start for i in computed(log)[before:])
            run(twin, kind)
            results += 1
            exact += contents(path) == contents(twin)
    return killed, results, exact, twice


def run_and_kill(path, kind, log, chance):
    if not (child := os.fork()):
        try:
            run(path, kind, log, pause=0.001)
        except BaseException:  # noqa: BLE001 - the end of a process
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    time.sleep(chance.uniform(0.01, 0.12))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a run failed; see its traceback")
    return os.WIFSIGNALED(status)


def sizes(log):
    return log.stat().st_size // 4 if log.exists() else 0


def computed(log):
    data = log.read_bytes() if log.exists() else b""
    return [i for (i,) in struct.iter_unpack("<I", data[: len(data) // 4 * 4])]


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(*kill_runs(asked.kills, asked.seed))  # noqa: T201 - a script

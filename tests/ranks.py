"""
Processes that talk by gloo, kept alive, to run one function after another in.

Tests share one set of them: starting a process takes longer than all it is asked.
"""

from __future__ import annotations

import multiprocessing
import traceback
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pickle import dumps, loads

import torch
import torch.distributed as dist

SECONDS = 60  # until a rank that says nothing is given up


@contextmanager
def ranks(n, folder):
    """Yield a function that calls another one, with the rank, in each of *n* ranks."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(n)]
    store = str(folder / "store")
    processes = [
        context.Process(target=serve, args=(rank, n, store, pipe), daemon=True)
        for rank, (_, pipe) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        yield partial(call, [ours for ours, _ in pipes])
    finally:
        for process in processes:
            process.kill()
            process.join()


def call(pipes, function, *arguments):
    """Return what *function* returned on each rank, or raise what went wrong there."""
    for pipe in pipes:
        pipe.send_bytes(dumps((function, arguments)))
    answers = [receive(pipe) for pipe in pipes if pipe.poll(SECONDS)]
    errors = [f"rank {i}: {error}" for i, (_, error) in enumerate(answers) if error]
    assert not errors, "\n".join(errors)
    assert len(answers) == len(pipes), f"no answer after {SECONDS} s"
    return [answer for answer, _ in answers]


def receive(pipe):
    return loads(pipe.recv_bytes())  # noqa: S301 - what these tests have pickled


def serve(rank, n, store, pipe):
    """Be one of the processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(store, n),
        rank=rank,
        world_size=n,
        timeout=timedelta(seconds=SECONDS / 2),
    )
    while True:
        function, arguments = receive(pipe)
        try:
            answer = function(rank, *arguments), ""
        except Exception:  # noqa: BLE001 - whatever it is, the test shows it
            answer = None, traceback.format_exc()
        pipe.send_bytes(dumps(answer))

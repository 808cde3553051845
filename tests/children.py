"""Processes that are killed while they run."""

import os
import signal
import time
import traceback

__all__ = ["is_killed"]


def is_killed(run, seconds, *args):
    """
    Run ``run(*args)`` in a child, kill that after *seconds*, and tell if it was alive.

    Raises:
        RuntimeError: If it failed of itself.
    """
    if not (child := os.fork()):
        _run(run, args)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a child failed; see its traceback")
    return os.WIFSIGNALED(status)


def _run(run, args):
    try:
        run(*args)
    except BaseException:  # noqa: BLE001 - the end of a process
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

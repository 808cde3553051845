"""
Run chunks one after the other, and survive what does not fit.

A chunk that runs out of memory is cut in half and tried again; what is done stays
done. Nothing of a failed attempt is alive when the next one starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from unfussy._batching.collate import join
from unfussy._batching.oom import is_out_of_memory, release_memory
from unfussy._progress import Progress, ticker
from unfussy.errors import DoesNotFitError

__all__ = ["Batch", "Run", "run_in_chunks"]

Run: TypeAlias = Callable[[int, int], Any]
"""Runs items *start* to *stop* and returns their result."""


@dataclass(frozen=True, slots=True)
class Batch:
    """
    How large inputs are cut: the plan's entry of ``@batched``.

    Attributes:
        size: Items in a chunk; ``"auto"`` runs all at once while that fits.
        over: Names of the arguments that carry the batch; None infers them.
        on_oom: Whether a chunk that does not fit is split.
        min_size: The smallest chunk to try.
        keep: Where the results of chunks wait for the others.
        progress: Whether to show a bar, or what to call with the number of items
            that were just finished.
    """

    size: int | Literal["auto"] = "auto"
    over: tuple[str, ...] | None = None
    on_oom: Literal["split", "raise"] = "split"
    min_size: int = 1
    keep: Literal["device", "cpu"] = "device"
    progress: Progress = None


def run_in_chunks(
    run: Run,
    length: int,
    batch: Batch,
    *,
    method: str,
    describe: Callable[[int], str],
    refusal: str | None = None,
) -> Any:
    """
    Run *length* items in chunks and join the results in order.

    Args:
        run: What runs a chunk.
        length: How many items there are; none are run as one empty chunk.
        batch: How to cut.
        method: The method's name, for errors and the progress bar.
        describe: Tells what item ``i`` looks like, for errors.
        refusal: What the error said if all items at once were refused already.

    Raises:
        DoesNotFitError: If the smallest chunk does not fit.
    """
    size = max(length, 1) if batch.size == "auto" else batch.size
    parts: list[Any] = []
    sizes: list[int] = []
    with ticker(batch.progress, total=length, label=method) as tick:
        start = 0
        while start < length or not parts:
            stop = min(start + size, length)
            result = None
            if refusal is None:
                result, refusal = _attempt(run, start, stop, batch)
            if refusal is None:
                parts.append(result)
                sizes.append(stop - start)
                tick(stop - start)
                start = stop
                continue
            release_memory()
            if stop - start <= batch.min_size:
                raise _does_not_fit(method, describe(start), stop - start, refusal)
            size, refusal = max(batch.min_size, (stop - start) // 2), None
    return join(parts, sizes)


def _attempt(run: Run, start: int, stop: int, batch: Batch) -> tuple[Any, str | None]:
    # The error leaves this frame as text only: its traceback would keep the failed
    # attempt's tensors alive during the next one.
    try:
        return run(start, stop), None
    except (RuntimeError, MemoryError) as error:
        if batch.on_oom == "raise" or not is_out_of_memory(error):
            raise
        return None, f"{type(error).__name__}: {error}"


def _does_not_fit(method: str, item: str, n: int, refusal: str) -> DoesNotFitError:
    what = "one single item" if n == 1 else f"the smallest chunk, {n} items,"
    return DoesNotFitError(
        f"{method}: {what} ({item}) does not fit into memory; use a smaller input, "
        f"lower precision or a larger device. The last attempt said: {refusal}"
    )

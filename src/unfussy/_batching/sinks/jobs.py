"""How two jobs differ, in words."""

from __future__ import annotations

__all__ = ["tell_apart"]


def tell_apart(found: str, job: str) -> str:
    """
    Return what to say of a result of the job *found* to who asks for *job*.

    Where both read ``"key: value; key: value"``, only what differs is named.

    Examples:
        >>> tell_apart("theirs", "mine")
        "another job ('theirs', and this is 'mine')"
        >>> tell_apart("method: embed(); rows: 3", "method: embed(); rows: 4")
        'another job, which had other rows (3, and now 4)'
    """
    theirs, mine = _parts(found), _parts(job)
    if not theirs or theirs.keys() != mine.keys() or theirs == mine:
        return f"another job ({found!r}, and this is {job!r})"
    different = [
        f"other {key} ({theirs[key]}, and now {mine[key]})"
        for key in theirs
        if theirs[key] != mine[key]
    ]
    *first, last = different
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"another job, which had {listed}"


def _parts(job: str) -> dict[str, str]:
    """Return the parts of a job, of which there are none if it is no list of them."""
    split = [part.partition(": ") for part in job.split("; ")]
    if not all(colon for _, colon, _ in split):
        return {}
    return {key: value for key, _, value in split}

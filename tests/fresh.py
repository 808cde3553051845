"""A container that makes its children anew whenever it is asked for them."""

from collections.abc import Callable

from unfussy import register


class Fresh:
    """Holds *n* children: what *make* makes of 0, 1 and so on."""

    def __init__(self, make: Callable, n: int, replaced=None):
        self.make, self.n, self.replaced = make, n, replaced


class _Lazy(dict):
    def items(self):
        return ((i, make(i)) for i, make in super().items())


register(
    Fresh,
    children=lambda fresh: _Lazy(dict.fromkeys(range(fresh.n), fresh.make)),
    rebuild=lambda fresh, new: Fresh(fresh.make, fresh.n, new),
)

"""Modules whose methods give their input back, in the form that a decorator makes."""

from torch import nn

from unfussy import auto_device, returns

__all__ = ["InPlace", "OnMeta"]


class OnMeta(nn.Linear):
    """Gives its input back, moved."""

    def __init__(self):
        super().__init__(1, 1, device="meta")

    @auto_device
    def moved(self, x):
        return x


class InPlace(nn.Linear):
    """Gives its input back, as arrays."""

    def __init__(self):
        super().__init__(1, 1)

    @returns("numpy")
    def arrays(self, x):
        return x

    @auto_device
    @returns("numpy")
    def moved_arrays(self, x):
        return x

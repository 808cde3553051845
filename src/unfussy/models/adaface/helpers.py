"""Small helpers of training scripts around AdaFace, by their official names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from unfussy.errors import InputValueError

__all__ = ["dotdict", "get_num_class"]

# The first whose name stands in the path of the data counts.
_CLASSES: Final = {
    "faces_emore": 85_742,  # MS1MV2
    "ms1m-retinaface-t1": 93_431,  # MS1MV3
    "faces_vgg_112x112": 9_131,
    "faces_webface_112x112": 10_572,  # CASIA-WebFace
    "webface4m": 205_990,
    "webface12m": 617_970,
    "webface42m": 2_059_906,
}
_SUBSETS: Final = {"faces_emore": 70_722}
_UNSAID: Final = (None, -1)


class dotdict(dict[str, Any]):  # noqa: N801 - the official name
    """
    A dictionary whose items are its attributes too.

    An attribute that is not there is None, so ``hasattr`` is always true; ask with
    ``in``. A key that is the name of a method, such as ``items``, is only an item.

    Examples:
        >>> args = dotdict({"lr": 0.1})
        >>> args.epochs = 24
        >>> args, args.lr, args.resume
        ({'lr': 0.1, 'epochs': 24}, 0.1, None)
    """

    def __getattr__(self, name: str) -> Any:
        # Python asks for these to learn what an object can do: copying, pickling.
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"there is no item {name!r} to delete") from None

    def copy(self) -> dotdict:
        """Return a shallow copy that is a `dotdict` too."""
        return dotdict(self)


def get_num_class(hparams: Any, /) -> int:
    """
    Return how many people are in a training set, by its path.

    Args:
        hparams: Settings, as attributes or as items: ``train_data_path``; optionally
            ``custom_num_class``, which counts if it is neither None nor -1, and
            ``train_data_subset``, for which there is a number of MS1MV2 alone.

    Raises:
        InputValueError: If the path is that of no known set, or of one without a
            known subset, or a custom number is less than 1.

    Examples:
        >>> get_num_class({"train_data_path": "/data/faces_emore"})
        85742
        >>> get_num_class(dotdict(train_data_path="mine", custom_num_class=7))
        7
    """
    custom = _setting(hparams, "custom_num_class")
    if custom not in _UNSAID:
        if not custom >= 1:
            raise InputValueError(f"custom_num_class is 1 or more, or -1, got {custom}")
        return int(custom)
    path = str(_setting(hparams, "train_data_path"))
    name = next((name for name in _CLASSES if name in path.lower()), None)
    if name is None:
        raise InputValueError(
            f"how many people are in {path!r} is not known: give custom_num_class; "
            f"known are {', '.join(_CLASSES)}"
        )
    return _counted(name, is_subset=bool(_setting(hparams, "train_data_subset")))


def _counted(name: str, *, is_subset: bool) -> int:
    if is_subset and name not in _SUBSETS:
        raise InputValueError(
            f"how many people are in a subset of {name} is not known: give "
            "custom_num_class, or no train_data_subset"
        )
    return _SUBSETS[name] if is_subset else _CLASSES[name]


def _setting(hparams: Any, name: str) -> Any:
    if isinstance(hparams, Mapping):
        return hparams.get(name)
    return getattr(hparams, name, None)

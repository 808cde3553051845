"""
Easy methods beside pure ones: ``easy_encode`` for people, ``encode`` for programs.

The mixin adds methods and properties only. It keeps no state, so that old checkpoints
load and any class can take it, and it overrides nothing of `torch.nn.Module`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterable
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Literal,
    Self,
    TypedDict,
    TypeVar,
    overload,
)

import torch

from unfussy._batching import Batch
from unfussy._compile import compile_plan, planned
from unfussy._devices import DEFAULT_DEVICE, inference_device, inference_dtype
from unfussy._modes import GradMode, Modes
from unfussy._moving import Move
from unfussy._options import configure, run_with
from unfussy._plan import Plan, check_setting, names_of, overrides_of
from unfussy._precision import Precision, PrecisionName
from unfussy._progress import Progress
from unfussy._streams import stream
from unfussy.errors import PlanError

__all__ = ["EasyInferenceMixin", "EasyOptions", "easy"]

F = TypeVar("F", bound=Callable[..., Any])


class EasyOptions(TypedDict, total=False):
    """
    The keyword options of every easy method, for its signature.

    Write ``**options: Unpack[EasyOptions]`` and type checkers know them; the method's
    body never receives any.
    """

    precision: PrecisionName
    """As in `autocast_policy`."""
    fix_float64: bool
    """Whether double precision follows the module's precision; default True."""
    non_blocking: bool | Literal["auto"]
    """As in `auto_device`."""
    batch_size: int | Literal["auto"] | None
    """Items in a chunk, as in `batched`; None runs all at once while that fits."""
    return_numpy: bool
    """Whether results are NumPy arrays; default False."""
    progress: Progress
    """As in `batched`."""


_OPTIONS: Final = tuple(EasyOptions.__annotations__)


@overload
def easy(fn: F, /) -> F: ...
@overload
def easy(
    *, mode: GradMode = "no_grad", over: str | Iterable[str] | None = None
) -> Callable[[F], F]: ...
def easy(
    fn: Any = None,
    /,
    *,
    mode: GradMode = "no_grad",
    over: str | Iterable[str] | None = None,
) -> Any:
    """
    Plan a method wholly, and give it the keyword options of `EasyOptions`.

    The same as all four decorators with their defaults; decorators that the function
    has already keep their settings.

    Args:
        fn: The function, if the decorator is written bare.
        mode: As in `inference`.
        over: As in `batched`.

    Examples:
        >>> import numpy, torch
        >>> class Net(torch.nn.Linear):
        ...     @easy
        ...     def embed(self, x, **options):
        ...         return self(x)
        >>> Net(4, 2).embed(numpy.zeros((5, 4)), return_numpy=True, batch_size=2).shape
        (5, 2)
    """
    defaults = Plan(
        Move(),
        Modes(check_setting("mode", mode)),
        Precision(),
        Batch("all", over=names_of(over, "over")),
    )
    if fn is None:
        return lambda fn: _make_easy(fn, defaults)
    return _make_easy(fn, defaults)


def _make_easy(fn: F, defaults: Plan) -> F:
    record = planned(fn)
    raw = fn if record is None else record.raw
    plan = defaults if record is None else record.plan.fill(defaults)
    compiled = compile_plan(raw, plan)
    record = planned(compiled)
    assert record is not None  # noqa: S101 - compile_plan has just put it there
    own, options, rest = _easy_parameters(raw, plan)
    taken = frozenset(p.name for p in options)
    known = None if rest else taken.union(p.name for p in own)

    @functools.wraps(compiled)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            return compiled(*args)
        if known is not None and not known.issuperset(kwargs):
            raise _unknown(record.planner.method.name, kwargs, known, taken)
        given = {name: kwargs.pop(name) for name in taken if name in kwargs}
        if not given:
            return compiled(*args, **kwargs)
        overrides = overrides_of(_translated(given))
        return run_with(record, overrides, args, kwargs)

    signature = inspect.signature(raw).replace(parameters=[*own, *options, *rest])
    call.__dict__.update(__signature__=signature, __unfussy_easy__=True)
    return call  # type: ignore[return-value]


def _easy_parameters(
    raw: Callable[..., Any], plan: Plan
) -> tuple[list[inspect.Parameter], ...]:
    """Return the author's parameters, the options, and the author's free keywords."""
    parameters = list(inspect.signature(raw).parameters.values())
    own = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    free = [p for p in parameters if p.kind is p.VAR_KEYWORD]
    rest = [p for p in free if p.name != "options" and "EasyOptions" not in str(p)]
    names = {p.name for p in own}
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in _defaults(plan).items()
        if name not in names
    ]
    return own, options, rest


def _defaults(plan: Plan) -> dict[str, Any]:
    """Return what the options of a plan are where they are not given."""
    move, precision, batch = plan.move, plan.precision, plan.batch
    return {
        "precision": precision.precision if precision else "auto",
        "fix_float64": move is None or move.float64 != "keep",
        "non_blocking": move.non_blocking if move else "auto",
        "batch_size": batch.size if batch and batch.size != "all" else None,
        "return_numpy": plan.output is not None and plan.output.kind == "numpy",
        "progress": batch.progress if batch else None,
    }


def _unknown(
    name: str, kwargs: dict[str, Any], known: frozenset[str], taken: frozenset[str]
) -> PlanError:
    wrong = next(keyword for keyword in kwargs if keyword not in known)
    listed = ", ".join(option for option in _OPTIONS if option in taken)
    return PlanError(f"{name} does not take {wrong!r}; its options are {listed}")


def _translated(given: dict[str, Any]) -> dict[str, Any]:
    """Return easy options under the names that `options` has for them."""
    settings = {k: v for k, v in given.items() if k in {"precision", "progress"}}
    if "non_blocking" in given:
        settings["non_blocking"] = given["non_blocking"]
    if "fix_float64" in given:
        settings["float64"] = "follow" if given["fix_float64"] else "keep"
    if given.get("batch_size") is not None:
        settings["batch_size"] = given["batch_size"]
    if "return_numpy" in given:
        settings["out"] = "numpy" if given["return_numpy"] else "tensor"
    return settings


class EasyInferenceMixin:
    """
    Easy methods for the pure methods of a module.

    ``class VPoser(EasyInferenceMixin, nn.Module, easy=("encode",))`` has a method
    ``easy_encode`` beside the untouched ``encode``: it takes what ``encode`` takes, as
    tensors, arrays or lists, and the keyword options of `EasyOptions`. A class that
    wants another result writes its own ``easy_encode``, under `easy` or by calling
    ``super()``.

    Args:
        easy: Names of the pure methods.
        mode: The mode of the easy methods, as in `inference`.

    Examples:
        >>> import numpy, torch
        >>> class Net(EasyInferenceMixin, torch.nn.Linear, easy=("embed",)):
        ...     def embed(self, x):
        ...         return self(x)
        >>> Net(4, 2).easy_embed(numpy.zeros((5, 4)), return_numpy=True).shape
        (5, 2)
    """

    easy_methods: ClassVar[tuple[str, ...]] = ()
    """The names of the pure methods that have an easy one."""

    if TYPE_CHECKING:

        @property
        def inference_device(self) -> torch.device:
            """The device that inputs are moved to."""
            return inference_device(self)

    else:
        inference_device = DEFAULT_DEVICE

    @property
    def inference_dtype(self) -> torch.dtype:
        """The precision of the module, which is that of its first floating tensor."""
        return inference_dtype(self)

    def __init_subclass__(
        cls, easy: Iterable[str] = (), mode: GradMode = "no_grad", **others: Any
    ) -> None:
        super().__init_subclass__(**others)
        names = names_of(easy, "easy") or ()
        for name in names:
            if not inspect.isfunction(getattr(cls, name, None)):
                raise PlanError(
                    f"easy names {name!r}, which {cls.__name__} has no method for"
                )
            if f"easy_{name}" not in vars(cls):
                setattr(cls, f"easy_{name}", _easy_twin(cls, name, mode))
        inherited = [name for name in cls.easy_methods if name not in names]
        cls.easy_methods = (*inherited, *names)

    def warmup(
        self, example: Any, /, *, method: str | None = None, times: int = 2
    ) -> Self:
        """
        Call an easy method a few times, so that later calls are at their usual speed.

        Args:
            example: An input like those to come.
            method: The pure method's name; by default the first of ``easy``.
            times: How often.

        Returns:
            The module itself.

        Raises:
            PlanError: If the module has no easy method.
        """
        name = method or next(iter(self.easy_methods), None)
        run = getattr(self, f"easy_{name}", None)
        if run is None:
            kind = type(self).__name__
            raise PlanError(f"{kind} has no easy method {name!r} to warm up")
        for _ in range(times):
            run(example)
        return self

    def stream(
        self,
        name: str,
        source: Iterable[Any],
        /,
        *,
        progress: Progress = False,
        **options: Any,
    ) -> Generator[Any, None, None]:
        """
        Call an easy method on each item of a source; see `unfussy.stream`.

        Args:
            name: The pure method's name. Where it has no easy one, it is called itself.
            source: As in `unfussy.stream`.
            progress: As in `batched`; here False is the default.
            **options: Those of `EasyOptions`, those of `unfussy.stream`, and what
                every call gets beside the items.

        Yields:
            The result of each item.

        Raises:
            PlanError: If there is no such method.

        Examples:
            >>> import numpy, torch
            >>> class Net(EasyInferenceMixin, torch.nn.Linear, easy=("embed",)):
            ...     def embed(self, x):
            ...         return self(x)
            >>> rows = (numpy.ones(4) for _ in range(3))
            >>> [z.shape for z in Net(4, 2).stream("embed", rows, return_numpy=True)]
            [(2,), (2,), (2,)]
        """
        method = getattr(self, f"easy_{name}", None) or getattr(self, name, None)
        if not callable(method):
            kind = type(self).__name__
            raise PlanError(f"{kind} has no method {name!r} to stream")
        given = {key: options.pop(key) for key in _OPTIONS if key in options}
        method = configure(method, **_translated(given))
        return stream(method, source, progress=progress, **options)


def _easy_twin(cls: type, name: str, mode: GradMode) -> Callable[..., Any]:
    pure = getattr(cls, name)

    @functools.wraps(pure, updated=())
    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, name)(*args, **kwargs)  # a subclass may override it

    twin.__name__ = f"easy_{name}"
    twin.__qualname__ = f"{cls.__qualname__}.easy_{name}"
    made: Callable[..., Any] = easy(mode=mode)(twin)
    made.__doc__ = _twin_doc(pure.__doc__, name)
    return made


def _twin_doc(doc: str | None, name: str) -> str:
    own = "" if doc is None else f"\n\n{inspect.cleandoc(doc)}"
    return (
        f"Call `{name}` with whatever is at hand, and put everything back.\n\n"
        "Takes tensors, arrays and lists, and the keyword options of "
        f"`unfussy.EasyOptions`.{own}"
    )

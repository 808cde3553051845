"""
A pipeline round a gait model: walks in any form, chunks, finished embeddings, profiles.

It decides nothing itself: chunks are the engine's, walks are made ready by
`Preparation`, embeddings by `Finish`, and a session of `unfussy.profiling` records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from types import TracebackType
from typing import Any, Final, Literal, Self, Unpack

import torch
from torch import Tensor

from unfussy import EasyOptions, Outcome, configure
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._dressing import as_planned
from unfussy.models.gait.batch_config import BatchConfig
from unfussy.models.gait.deepgait import DeepGaitV2
from unfussy.models.gait.finishing import Finish, Normalize, OnNonFinite
from unfussy.models.gait.gaitbase import GaitBase
from unfussy.models.gait.model import GaitModel
from unfussy.models.gait.preprocessing.levels import ValueRange
from unfussy.models.gait.recognizing import embed_video, embed_walks
from unfussy.models.gait.skeletongait import SkeletonGaitPP
from unfussy.models.gait.walks import Cut, Preparation, Walk
from unfussy.models.gait.xgait import XGait
from unfussy.profiling import Report, Session

__all__ = ["GaitPipeline", "OnError", "class_of", "create_optimized_pipeline"]

OnError = Literal["raise", "skip", "return"]

_CLASSES: Final[dict[str, type[GaitModel]]] = {
    "DeepGaitV2": DeepGaitV2,
    "GaitBase": GaitBase,
    "SkeletonGaitPP": SkeletonGaitPP,
    "SkeletonGait++": SkeletonGaitPP,
    "XGait": XGait,
}


class GaitPipeline:
    """
    A gait model with what is done before and behind it.

    `create_optimized_pipeline` makes one.

    Attributes:
        model: What embeds.
        batch_config: How lists of walks are cut.
        preparation: How walks are made ready.
        finish: What is done to embeddings.
        precision: As in `autocast_policy`; None is that of the model's methods.
        session: What records planned calls, if profiling is on.
    """

    def __init__(
        self,
        model: GaitModel,
        *,
        batch_config: BatchConfig | None = None,
        preparation: Preparation | None = None,
        finish: Finish | None = None,
        precision: Any = None,
        enable_profiling: bool = False,
    ) -> None:
        self.model = model
        self.batch_config = batch_config or BatchConfig()
        self.preparation = preparation or Preparation()
        self.finish = finish or Finish()
        self.precision = precision
        self._settings = self.batch_config.settings_for(model, self.preparation.size)
        self._settings["on_nonfinite"] = self.finish.policy
        if precision is not None:
            self._settings["precision"] = precision
        configure(embed_walks, **self._settings)  # a wrong one is told now
        self.session = Session(type(model).__name__) if enable_profiling else None
        if self.session is not None:
            self.session.start()

    @property
    def inference_module(self) -> GaitModel:
        """The model."""
        return self.model

    @property
    def fingerprint(self) -> str:
        """What is done before and behind the model, so that files of results know."""
        return f"{self.preparation}, {self.finish}"

    # --- inference -------------------------------------------------------------------

    def infer_single(self, walk: Walk, /) -> Tensor:
        """
        Return the embedding of one walk, ``(D, P)``.

        Args:
            walk: Silhouettes ``(T, H, W)``, or what model takes several kinds of frames
                a mapping with them; a path in place of any of these. Frames are masks
                of any size, which are cut round the walker, or ready ones.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            InputTypeError: If frames are no numbers.
            InputValueError: If no frame can be used, or the embedding holds infinities
                or NaN.
        """
        embeddings: Tensor = self.infer_batch([walk])
        return embeddings[0]

    def infer_batch(
        self, walks: Iterable[Walk], /, *, on_error: OnError = "raise"
    ) -> Any:
        """
        Return the embeddings of walks of any lengths, in their order.

        Each gets what it gets alone.

        Args:
            walks: Each as for `infer_single`.
            on_error: What becomes of a walk that cannot be embedded: ``"raise"`` its
                error, ``"skip"`` it and warn of its index, or ``"return"`` an
                `unfussy.Outcome`, whose failures tell index and error.

        Returns:
            ``(n, D, P)``.

        Raises:
            Exception: As `infer_single`, unless failures are wanted otherwise.
        """
        run = configure(embed_walks, **self._settings, on_error=on_error)
        found = run(self, _listed(walks))
        if isinstance(found, Outcome) and found.result is None:
            return replace(found, result=self._none())
        return found

    def infer_video(self, frames: Iterable[Any], /) -> Tensor:
        """
        Return the embedding of one walk whose frames come one by one, ``(D, P)``.

        The same as for all frames at once, in memory that does not grow. It is computed
        in the precision of the weights, or in bfloat16 if the pipeline's is ``"bf16"``.

        Args:
            frames: Each ``(H, W)``, or a mapping with one of each kind. Key points have
                to be made skeleton maps first, which takes the whole walk.

        Raises:
            InputTypeError: If a frame is no array, or lacks a kind.
            InputValueError: If there are no frames, or none can be used.
        """
        low = str(self.precision).removeprefix("torch.") in {"bf16", "bfloat16"}
        return embed_video(self, frames, "bf16" if low else "fp32")

    @as_planned(embed_walks)
    def easy_infer(self, walks: list[Walk], **options: Unpack[EasyOptions]) -> Any:
        """
        Return the embeddings of walks; `stream`, `run_to` and `configure` take this.

        Args:
            walks: Each as for `infer_single`.
            **options: As for every easy method. The pipeline's own precision and
                chunks are for `infer_batch`.

        Returns:
            ``(n, D, P)``; arrays with ``return_numpy=True``.
        """
        return embed_walks(self, walks, **options)

    def _none(self) -> Tensor:
        return torch.empty(0, self.model.embedding_dim, self.model.parts)

    # --- profiling -------------------------------------------------------------------

    def generate_report(self, save_path: str | PathLike[str] | None = None) -> Report:
        """
        Return what was recorded so far, and write it to a file if there is a path.

        Args:
            save_path: A file that ends in ``.json``, ``.csv`` or ``.html``.

        Raises:
            InputValueError: If profiling is off, or the file ends in something else.
        """
        if self.session is None:
            raise InputValueError("nothing is recorded: write enable_profiling=True")
        return self.session.generate_report(save_path)

    def close(self) -> None:
        """Record no more; all else goes on."""
        if self.session is not None:
            self.session.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create_optimized_pipeline(
    model: GaitModel,
    model_type: str | None = None,
    enable_profiling: bool = False,  # noqa: FBT001, FBT002 - the name and place known
    batch_config: BatchConfig | None = None,
    *,
    normalize: Normalize = False,
    on_nonfinite: OnNonFinite = "raise",
    precision: Any = None,
    cut: Cut = "auto",
    size: int = 64,
    value_range: ValueRange | None = None,
) -> GaitPipeline:
    """
    Return a pipeline round a model.

    Args:
        model: A gait model, wherever it lives.
        model_type: What it has to be: ``"DeepGaitV2"``, ``"GaitBase"``,
            ``"SkeletonGaitPP"`` or ``"XGait"``. None takes it as it is.
        enable_profiling: Whether a session records planned calls, of the whole
            process, until the pipeline is closed.
        batch_config: How lists of walks are cut.
        normalize: As in `Finish`.
        on_nonfinite: As in `Finish`.
        precision: As in `autocast_policy`.
        cut: As in `Preparation`.
        size: As in `Preparation`.
        value_range: As in `Preparation`.

    Raises:
        InputTypeError: If *model* is no gait model.
        InputValueError: If it is another one, or a setting has no meaning.

    Examples:
        >>> import numpy
        >>> model = DeepGaitV2.from_config(layers=(1, 1, 1, 1), class_num=None)
        >>> config = BatchConfig(max_batch_size=8, sequence_length_tolerance=5)
        >>> pipeline = create_optimized_pipeline(model, batch_config=config)
        >>> pipeline.infer_single(numpy.zeros((3, 64, 64), numpy.uint8)).shape
        torch.Size([256, 16])
    """
    _check_model(model)
    if model_type is not None and not isinstance(model, class_of(model_type)):
        raise InputValueError(
            f"model_type is {model_type!r}, but the model is a {type(model).__name__}"
        )
    return GaitPipeline(
        model,
        batch_config=batch_config,
        preparation=Preparation(cut, size, value_range),
        finish=Finish(normalize, on_nonfinite),
        precision=precision,
        enable_profiling=enable_profiling,
    )


def class_of(model_type: str, /) -> type[GaitModel]:
    """
    Return the class of a model by its name.

    Raises:
        InputValueError: If there is none.
    """
    if model_type not in _CLASSES:
        known = ", ".join(_CLASSES)
        raise InputValueError(f"model_type is one of {known}, got {model_type!r}")
    return _CLASSES[model_type]


def _check_model(model: Any) -> None:
    if not isinstance(model, GaitModel):
        hint = "; pass its .model" if hasattr(model, "inference_module") else ""
        raise InputTypeError(f"model is a gait model, got {type(model).__name__}{hint}")


def _listed(walks: Any) -> list[Walk]:
    if isinstance(walks, (str, PathLike, dict)):
        raise InputTypeError(
            f"walks are a list, got a single {type(walks).__name__}; put it in a list, "
            "or call the method for one"
        )
    return list(walks)

"""The recogniser: a gait model by name, with its weights, on the best device."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Any, ClassVar, Self, Unpack
from warnings import warn

from torch import Tensor

from unfussy import DeviceLike, EasyOptions, get_best_device
from unfussy.errors import InputValueError
from unfussy.models._dressing import as_planned
from unfussy.models.gait.batch_config import BatchConfig
from unfussy.models.gait.finishing import Finish, Normalize, OnNonFinite
from unfussy.models.gait.model import GaitModel
from unfussy.models.gait.pipeline import (
    OnError,
    class_of,
    create_optimized_pipeline,
)
from unfussy.models.gait.preprocessing.levels import ValueRange
from unfussy.models.gait.recognizing import embed_walks
from unfussy.models.gait.walk_files import WalkFiles
from unfussy.models.gait.walks import Cut, Preparation, Walk

__all__ = ["GaitRecognizer"]


class GaitRecognizer:
    """
    Walks in, embeddings out.

    Args:
        model_type: ``"DeepGaitV2"``, ``"GaitBase"``, ``"SkeletonGaitPP"`` or
            ``"XGait"``.
        checkpoint: The weights, as `DeepGaitV2.from_pretrained` takes them. Without
            any, they are drawn for *seed*, with a warning, and recognise no one.
        device: Where to; ``"auto"`` is `get_best_device`, or where *model* lives.
        precision: As in `autocast_policy`; None is ``"auto"``.
        normalize: As in `Finish`; the official evaluations do not.
        on_nonfinite: As in `Finish`.
        model: A model that is there already, instead of a checkpoint.
        batch_config: How lists of walks are cut.
        cut: As in `Preparation`.
        size: As in `Preparation`.
        value_range: As in `Preparation`.
        seed: Of weights that are drawn.
        **settings: What the model is made with, or what a checkpoint has to be of.

    Raises:
        CheckpointError: If there are no such weights.
        DeviceError: If there is no such device.
        InputValueError: If there is no such model, or a setting has no meaning.

    Examples:
        >>> import numpy
        >>> recognizer = GaitRecognizer.from_config("GaitBase", class_num=None)
        >>> masks = numpy.zeros((4, 240, 320), bool)
        >>> masks[:, 40:200, 140:180] = True
        >>> recognizer.recognize(masks).shape
        torch.Size([256, 16])
        >>> recognizer.recognize_batch([{"silhouettes": masks}] * 2).shape
        torch.Size([2, 256, 16])
    """

    read_items: ClassVar[Any] = staticmethod(WalkFiles.below)
    """How the command line reads a folder."""

    def __init__(
        self,
        model_type: str = "DeepGaitV2",
        *,
        checkpoint: str | PathLike[str] | None = None,
        device: DeviceLike = "auto",
        precision: Any = None,
        normalize: Normalize = False,
        on_nonfinite: OnNonFinite = "raise",
        model: GaitModel | None = None,
        batch_config: BatchConfig | None = None,
        cut: Cut = "auto",
        size: int = 64,
        value_range: ValueRange | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if model is not None and (checkpoint is not None or settings):
            raise InputValueError(
                "a model has its weights and settings: write model=, or checkpoint= "
                "and settings, not both"
            )
        if model is None:
            model = _built(class_of(model_type), checkpoint, seed, settings)
            model = model.to(get_best_device() if device == "auto" else device)
        elif device != "auto":
            model = model.to(device)
        self.pipeline = create_optimized_pipeline(
            model,
            model_type,
            batch_config=batch_config,
            normalize=normalize,
            on_nonfinite=on_nonfinite,
            precision=precision,
            cut=cut,
            size=size,
            value_range=value_range,
        )

    # --- doors -----------------------------------------------------------------------

    @classmethod
    def from_config(
        cls, model_type: str = "DeepGaitV2", *, seed: int = 0, **settings: Any
    ) -> Self:
        """
        Return a recogniser with random weights, the same for the same *seed*.

        Args:
            model_type: As for the class.
            seed: Of the weights.
            **settings: What the model is made with.
        """
        model = class_of(model_type).from_config(seed=seed, **settings)
        return cls(model_type, model=model)

    @classmethod
    def from_pretrained(
        cls,
        path: str | PathLike[str],
        /,
        model_type: str = "DeepGaitV2",
        **settings: Any,
    ) -> Self:
        """
        Return a recogniser with official or saved weights, on the CPU.

        Args:
            path: As for `DeepGaitV2.from_pretrained`.
            model_type: As for the class.
            **settings: What the weights have to be of.
        """
        model = class_of(model_type).from_pretrained(path, **settings)
        return cls(model_type, model=model)

    # --- what it is made of ----------------------------------------------------------

    @property
    def model(self) -> GaitModel:
        """The model."""
        return self.pipeline.model

    @property
    def inference_module(self) -> GaitModel:
        """The model."""
        return self.pipeline.model

    @property
    def preparation(self) -> Preparation:
        """How walks are made ready."""
        return self.pipeline.preparation

    @property
    def finish(self) -> Finish:
        """What is done to embeddings."""
        return self.pipeline.finish

    @property
    def fingerprint(self) -> str:
        """What is done before and behind the model, so that files of results know."""
        return self.pipeline.fingerprint

    def to(self, device: DeviceLike, /) -> Self:
        """Move the model, and return the recogniser."""
        self.model.to(device)
        return self

    # --- recognising -----------------------------------------------------------------

    def recognize(self, silhouettes: Walk, /) -> Tensor:
        """
        Return the embedding of one walk, ``(D, P)``; see `GaitPipeline.infer_single`.

        Args:
            silhouettes: Frames ``(T, H, W)``, or the path of a folder of pictures, of a
                file of arrays or of a video of masks; for models of several kinds of
                frames a mapping with one of these each.
        """
        return self.pipeline.infer_single(silhouettes)

    def recognize_batch(
        self, walks: Iterable[Walk], /, *, on_error: OnError = "raise"
    ) -> Any:
        """
        Return the embeddings of walks in their order; see `GaitPipeline.infer_batch`.

        Args:
            walks: Each ``{"silhouettes": ...}``, or as for `recognize`.
            on_error: What becomes of a walk that cannot be embedded: ``"raise"``,
                ``"skip"`` or ``"return"``.
        """
        return self.pipeline.infer_batch(walks, on_error=on_error)

    def recognize_video(self, frames: Iterable[Any], /) -> Tensor:
        """
        Return the embedding of one walk, ``(D, P)``; see `GaitPipeline.infer_video`.

        Args:
            frames: Masks as they come: of a camera, or of a file, by
                `~unfussy.models.gait.preprocessing.iter_frames`. Any number of them
                takes the same memory.
        """
        return self.pipeline.infer_video(frames)

    @as_planned(embed_walks)
    def easy_recognize(self, walks: list[Walk], **options: Unpack[EasyOptions]) -> Any:
        """
        Return the embeddings of walks; `stream`, `run_to` and `configure` take this.

        Args:
            walks: Each as for `recognize`.
            **options: As for every easy method.

        Returns:
            ``(n, D, P)``; arrays with ``return_numpy=True``.
        """
        return embed_walks(self, walks, **options)


def _built(
    kind: type[GaitModel],
    checkpoint: str | PathLike[str] | None,
    seed: int,
    settings: dict[str, Any],
) -> GaitModel:
    if checkpoint is not None:
        return kind.from_pretrained(checkpoint, **settings)
    warn(
        f"no checkpoint: {kind.__name__} has random weights from seed {seed} and "
        "recognises no one; write checkpoint=, or from_config() where that is meant",
        stacklevel=3,
    )
    return kind.from_config(seed=seed, **settings)

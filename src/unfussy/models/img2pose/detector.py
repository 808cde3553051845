"""
The detector: pictures as people have them in, faces with their poses out.

One picture gives a list of faces, a list of pictures a list of such lists, an iterator
such lists one after the other. All go the same way, a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import (
    Any,
    ClassVar,
    Final,
    Literal,
    Self,
    TypeAlias,
    Unpack,
    get_args,
)

import torch
from torch import Tensor

from unfussy import (
    DeviceLike,
    EasyInferenceMixin,
    EasyOptions,
    configure,
    get_best_device,
)
from unfussy._devices import inference_device, inference_dtype
from unfussy.errors import InputValueError, UnfussyError
from unfussy.models._dressing import as_planned
from unfussy.models._ranges import Channels, ValueRange
from unfussy.models.img2pose.building import Parts, build, filled, read, save, seeded
from unfussy.models.img2pose.detecting import (
    Padding,
    canvas_in,
    detect_photos,
    shared_canvas,
)
from unfussy.models.img2pose.inputs import (
    Photo,
    Reading,
    is_one_photo,
    listed,
)
from unfussy.models.img2pose.network import Img2PoseNetwork
from unfussy.models.img2pose.rotations import Rotation, check_rotation
from unfussy.models.img2pose.tables import PhotoFiles, as_arrays
from unfussy.models.img2pose.tools import FaceTools
from unfussy.models.img2pose.transform import Size

__all__ = ["Img2Pose", "OnError", "Padding"]

OnError: TypeAlias = Literal["raise", "skip", "return"]

_BYTES_OF_PIXEL: Final = 12  # three colours in float32
_OF_NETWORK: Final = {"frozen_eps", "n_candidates", "n_proposals", "proposal_nms"}
_OF_FACTS: Final = (
    "pose_mean",
    "pose_stddev",
    "reference_points",
    "alignment_points",
)


class Img2Pose(FaceTools, EasyInferenceMixin):
    """
    A detector of faces, and of how each head is turned and where it is.

    Args:
        device: Where it runs; ``"auto"`` is `get_best_device`, or where *network* is.
        score_threshold: The confidence that a face has at least. Below 0.05 it acts
            like 0.05.
        max_faces: How many faces of a picture at most; zero or less for no limit.
        model_path: The weights, as `from_pretrained` takes them. None looks where the
            official package keeps them (``$IMG2POSE_CACHE``, or ``~/.cache/img2pose``);
            if nothing is there, they are drawn for *seed*, with a warning, and find no
            faces.
        min_size: The shorter side to which pictures are resized, in pixels.
        max_size: What their longer side then does not exceed.
        depth: Of a network without weights: 18, 50 or 101.
        pose_mean: ``(6,)``, what was subtracted from poses when the network was
            trained; by default that of the weights.
        pose_stddev: ``(6,)``, what they were divided by.
        reference_points: ``(68, 3)``, the reference head, or a ``.npy`` file of it.
        alignment_points: ``(5, 3)``, those that faces are aligned by, or a ``.npy``
            file of them; by default made of *reference_points*.
        rotation: How what is not quite a rotation becomes one: ``"quaternion"``, as
            the released weights were trained, or ``"svd"``, as newer SciPy has it.
        padding: ``"canvas"``: a picture gets what it gets alone, always. ``"shared"``:
            all pictures of a list get one canvas, as in the official code.
        nms_threshold: Of two faces that overlap by more, the less sure is dropped.
        network: A network that is there already, instead of weights.
        seed: Of weights that are drawn.
        **settings: Of the network: ``frozen_eps``, ``n_candidates``, ``n_proposals``
            and ``proposal_nms``.

    Attributes:
        network: Pictures on a canvas to proposals, scores and poses.
        facts: Statistics of poses, and the reference head.

    Raises:
        CheckpointError: If there are no such weights.
        InputValueError: If a setting has no meaning.

    Examples:
        >>> import numpy
        >>> detector = Img2Pose.from_config(min_size=96, score_threshold=1)
        >>> photo = numpy.zeros((120, 160, 3), numpy.uint8)
        >>> detector.detect_faces(photo)  # seeded weights are sure of nothing
        []
        >>> detector.detect_faces([photo, photo])
        [[], []]
    """

    read_items: ClassVar[Any] = staticmethod(PhotoFiles.below)
    """How the command line reads a folder."""
    as_arrays: ClassVar[Any] = staticmethod(as_arrays)
    """How the command line writes what `detect_faces` returns as arrays."""

    def __init__(  # noqa: PLR0917 - names and places known
        self,
        device: DeviceLike = "auto",
        score_threshold: float = 0.5,
        max_faces: int = -1,
        model_path: str | PathLike[str] | None = None,
        min_size: int = 640,
        max_size: int = 1400,
        *,
        depth: int | None = None,
        pose_mean: Any = None,
        pose_stddev: Any = None,
        reference_points: Any = None,
        alignment_points: Any = None,
        rotation: Rotation = "quaternion",
        padding: Padding = "canvas",
        nms_threshold: float = 0.5,
        network: Img2PoseNetwork | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        _check(min_size, max_size, rotation, padding)
        if network is None:
            known = pose_mean is not None and pose_stddev is not None
            parts = build(model_path, depth, seed, settings, knows_poses=known)
        elif model_path is None and depth is None and not settings:
            parts = Parts(network)
        else:
            raise InputValueError(
                "a network has its weights and settings: write network=, or "
                "model_path= and settings, not both"
            )
        self.network = parts.network
        if device != "auto" or network is None:
            self.to(get_best_device() if device == "auto" else device)
        self.score_threshold, self.max_faces = score_threshold, max_faces
        self.min_size, self.max_size = min_size, max_size
        self.rotation: Rotation = rotation
        self.padding: Padding = padding
        self.nms_threshold = nms_threshold
        self.facts = parts.facts.replaced(
            pose_mean=pose_mean,
            pose_stddev=pose_stddev,
            reference_points=reference_points,
            alignment_points=alignment_points,
        )

    # --- doors -----------------------------------------------------------------------

    @classmethod
    def from_config(cls, depth: int = 18, *, seed: int = 0, **settings: Any) -> Self:
        """
        Return a detector on the CPU with random weights, the same for the same *seed*.

        Args:
            depth: 18, 50 or 101.
            seed: Of the weights; no global random state is touched.
            **settings: As for the class.

        Raises:
            InputValueError: If there is no such depth, or a setting has no meaning.
        """
        return cls._of(settings, lambda own: seeded(depth, seed, own))

    @classmethod
    def from_state_dict(
        cls, state_dict: Mapping[str, Tensor], /, **settings: Any
    ) -> Self:
        """
        Return a detector on the CPU with a copy of these weights.

        The depth is that of the weights. All official spellings of keys are known.

        Args:
            state_dict: Official keys, with or without prefixes.
            **settings: As for the class. Without ``pose_mean`` and ``pose_stddev``
                those published for the released weights are taken: of other weights
                say them.

        Raises:
            CheckpointError: If these are not the weights of Img2Pose.
        """
        return cls._of(settings, lambda own: filled(state_dict, own))

    @classmethod
    def from_pretrained(cls, path: str | PathLike[str], /, **settings: Any) -> Self:
        """
        Return a detector on the CPU with official or saved weights.

        Args:
            path: A file or a folder, of the official release or of `save_pretrained`;
                or the name of a repository on the Hugging Face Hub. Statistics of
                poses and reference points are read from beside the weights.
            **settings: As for the class; they win over what is beside the weights.

        Raises:
            CheckpointError: If there are no such weights, or other ones.
        """
        known = {"pose_mean", "pose_stddev"} <= settings.keys()
        return cls._of(settings, lambda own: read(path, own, knows_poses=known))

    def save_pretrained(self, path: str | PathLike[str], /) -> Path:
        """
        Write weights, statistics of poses and reference points.

        Args:
            path: A ``.safetensors`` file, or a folder; the rest goes beside it.

        Returns:
            The file of the weights.
        """
        return save(Parts(self.network, self.facts), path)

    @classmethod
    def _of(cls, settings: dict[str, Any], make: Callable[..., Parts]) -> Self:
        own = {k: settings.pop(k) for k in _OF_NETWORK & settings.keys()}
        parts = make(own)
        facts = parts.facts.replaced(**{k: settings.pop(k, None) for k in _OF_FACTS})
        detector = cls(network=parts.network, **settings)
        detector.facts = facts
        return detector

    # --- what it is made of ----------------------------------------------------------

    @property
    def inference_module(self) -> Img2PoseNetwork:
        """The network."""
        return self.network

    @property
    def inference_device(self) -> torch.device:
        """Where the network is."""
        return inference_device(self.network)

    @property
    def inference_dtype(self) -> torch.dtype:
        """The precision of the network."""
        return inference_dtype(self.network)

    def to(self, device: DeviceLike, /) -> Self:
        """Move the network, and return the detector."""
        self.network.to(device)
        return self

    # --- detecting -------------------------------------------------------------------

    @as_planned(detect_photos)
    def detect_faces(
        self,
        images: Any,
        score_threshold: float | None = None,
        max_faces: int | None = None,
        *,
        on_error: OnError | None = None,
        channels: Channels = "rgb",
        value_range: ValueRange | None = None,
        exif: bool = True,
        **options: Unpack[EasyOptions],
    ) -> Any:
        """
        Find the faces in one picture, in a list of pictures, or in all of an iterator.

        A picture's faces do not depend on what else is in the list, on its order or on
        the size of chunks: pictures share a chunk only if they have one canvas. With
        ``padding="shared"`` they do depend on the list, as in the official code.

        Args:
            images: A path; a Pillow picture of any mode; an array ``(H, W, 3)``; a
                tensor ``(3, H, W)``; a list of these, mixed in any way; a tensor
                ``(N, 3, H, W)``; or an iterator, which is read as results are asked
                for.
            score_threshold: As for the class, for this call.
            max_faces: As for the class, for this call.
            on_error: What becomes of a picture that cannot be read: ``"raise"`` an
                error that names its index, ``"skip"`` it with a warning, or
                ``"return"`` an `Outcome` with its `Failed` beside the others' faces.
            channels: The order of colours in arrays and tensors, ``"rgb"`` or
                ``"bgr"``.
            value_range: The numbers of black and white in arrays and tensors. Of bytes
                they are known; of floats they have to be said: ``(0, 1)``, mostly.
            exif: Whether files and Pillow pictures are turned as their EXIF data say.
            **options: As for every easy method. Float32 is the default on all devices.

        Returns:
            A list of `Face`, the most confident first; for several pictures a list of
            such lists, for an iterator an iterator of them, in the order given.

        Raises:
            FileNotFoundError: If there is no file at a path.
            InputTypeError: If a picture is of another kind.
            InputValueError: If it cannot be read, or is shaped otherwise.
        """
        reading = Reading(channels, value_range, exif)
        told = {"score_threshold": score_threshold, "max_faces": max_faces}
        if isinstance(images, Iterator):
            self._check_padding()
            photos = self._waiting(images, reading)
            return self.stream(
                "detect_faces", photos, on_error=on_error, **told, **options
            )
        if is_one_photo(images):
            photo = Photo.of(images, reading)
            return next(iter(self._found([photo], on_error, **told, **options)))
        return self._found(listed(images, reading), on_error, **told, **options)

    detect = __call__ = detect_faces

    def _found(
        self, photos: list[Photo], on_error: OnError | None, **given: Any
    ) -> Any:
        if self.padding == "shared" and photos:
            given["canvas"] = shared_canvas(self, photos)
        detect = detect_photos
        if on_error is not None:
            detect = configure(detect_photos, on_error=on_error)
        return detect(self, photos, **given)

    def _check_padding(self) -> None:
        if self.padding == "shared":
            raise InputValueError(
                "padding='shared' needs all pictures at once: give a list"
            )

    def _waiting(self, images: Iterator[Any], reading: Reading) -> Iterator[Photo]:
        for i, image in enumerate(images):
            photo = Photo(image, reading, f"picture {i}")
            with suppress(UnfussyError, FileNotFoundError):  # told when its turn comes
                photo.nbytes += int(_BYTES_OF_PIXEL * self.chunk_cost(photo))
            yield photo

    def chunk_group(self, image: Any, /) -> Size | None:
        """
        Return what pictures of one chunk have in common: the size of their canvas.

        Raises:
            UnfussyError: If *image* cannot be read.
        """
        return None if self.padding == "shared" else canvas_in(self, image)

    def chunk_cost(self, image: Any, /) -> float:
        """
        Return how many pixels the canvas of a picture has.

        Raises:
            UnfussyError: If *image* cannot be read.
        """
        height, width = canvas_in(self, image)
        return float(height * width)


def _check(min_size: Any, max_size: Any, rotation: Any, padding: Any) -> None:
    check_rotation(rotation)
    if padding not in get_args(Padding):
        raise InputValueError(f"padding is 'canvas' or 'shared', got {padding!r}")
    if not 0 < min_size <= max_size:
        raise InputValueError(
            f"min_size is a number of pixels, and max_size no less, got {min_size} and "
            f"{max_size}"
        )

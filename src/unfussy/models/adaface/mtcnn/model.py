"""MTCNN as a model: photos of any size in, faces or aligned crops out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, Self

from torch import Tensor, nn

from unfussy import (
    EasyInferenceMixin,
    TensorLike,
    auto_device,
    autocast_policy,
    batched,
    inference,
)
from unfussy.models._matching import build_empty
from unfussy.models._saving import save_weights
from unfussy.models.adaface.alignment import Fit, Size
from unfussy.models.adaface.mtcnn.cascade import find_faces
from unfussy.models.adaface.mtcnn.cropping import Missing, crop_faces
from unfussy.models.adaface.mtcnn.faces import Which
from unfussy.models.adaface.mtcnn.networks import ONet, PNet, RNet
from unfussy.models.adaface.mtcnn.reading import read_photo
from unfussy.models.adaface.mtcnn.settings import Settings
from unfussy.models.adaface.mtcnn.weights import (
    fill,
    fill_seeded,
    read_weights,
)

__all__ = ["MTCNN"]

_PHOTOS_AT_ONCE: Final = 16


class MTCNN(EasyInferenceMixin, nn.Module):
    """
    A detector of faces and of five landmarks in each.

    Args:
        settings: Of the cascade; by default AdaFace's.

    Attributes:
        settings: Of the cascade.
        pnet: Proposes windows.
        rnet: Refines them.
        onet: Decides, and finds the landmarks.

    Examples:
        >>> import numpy
        >>> mtcnn = MTCNN.from_config()  # seeded weights, which find nothing
        >>> faces = mtcnn.detect(numpy.zeros((120, 160, 3), numpy.uint8))
        >>> faces.boxes.shape, faces.landmarks.shape
        (torch.Size([0, 4]), torch.Size([0, 5, 2]))
    """

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()

    # --- doors ---------------------------------------------------------------------

    @classmethod
    def from_config(cls, settings: Settings | None = None, *, seed: int = 0) -> Self:
        """Return a model in eval mode with random weights, the same for a *seed*."""
        model = cls._empty(settings)
        fill_seeded(model, seed)
        return model

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Tensor], /, settings: Settings | None = None
    ) -> Self:
        """
        Return a model in eval mode with the weights *state*.

        Args:
            state: Under ``pnet.``, ``rnet.`` and ``onet.`` the names of AdaFace, or of
                facenet-pytorch.
            settings: Of the cascade.

        Raises:
            CheckpointError: If these are other weights.
        """
        model = cls._empty(settings)
        fill(model, state)
        return model

    @classmethod
    def from_pretrained(
        cls,
        path: str | PathLike[str] | None = None,
        /,
        settings: Settings | None = None,
    ) -> Self:
        """
        Return a model in eval mode, on the CPU, with trained weights.

        Args:
            path: A folder with ``pnet``, ``rnet`` and ``onet`` as ``.npy`` (of AdaFace)
                or ``.pt`` (of facenet-pytorch), or what `save_pretrained` wrote. By
                default the weights in the installed package facenet-pytorch.
            settings: Of the cascade.

        Raises:
            CheckpointError: If there are no such weights, or other ones.
        """
        state, source = read_weights(path)
        model = cls._empty(settings)
        fill(model, state, source)
        return model

    def save_pretrained(self, path: str | PathLike[str], /) -> Path:
        """Write the weights as safetensors, to a file or a folder; return the file."""
        return save_weights(self, path, "MTCNN")

    @classmethod
    def _empty(cls, settings: Settings | None) -> Self:
        return build_empty(lambda: cls(settings)).eval()

    # --- detection -----------------------------------------------------------------

    @batched(_PHOTOS_AT_ONCE, ragged="list", join="items", item=3)
    def detect(self, photos: Any) -> Any:
        """
        Find the faces in photos of any size.

        Photos of one size share a call of the networks. A result does not depend on
        which photos are beside it.

        Args:
            photos: A list of photos, or one: a path, a Pillow picture, an array
                ``(H, W, 3)`` or a tensor ``(3, H, W)``; 8-bit, red first.

        Returns:
            The `Faces` of each photo, or of the one; none is a result like any other.

        Raises:
            FileNotFoundError: If there is no file at a path.
            InputTypeError: If a photo is of another kind or dtype.
            InputValueError: If it has another shape, or cannot be read.
        """
        if isinstance(photos, (str, PathLike)):
            return self.detect([photos])[0]
        return self._find([read_photo(photo) for photo in photos])

    @batched(_PHOTOS_AT_ONCE, ragged="list", join="items", item=3)
    def align(
        self,
        photos: Any,
        *,
        which: Which | Literal["all"] = "confident",
        size: Size = 112,
        fit: Fit = "photo",
        missing: Missing = "none",
    ) -> Any:
        """
        Cut faces out of photos, upright and of one size.

        Args:
            photos: As in `detect`.
            which: The face to take: the most ``"confident"``, as AdaFace's code does,
                the ``"largest"``, the most ``"central"``, or ``"all"``.
            size: Of a crop: a side, or a height and a width, pixels.
            fit: As in `estimate_alignment`.
            missing: Whether a photo without a face gives None, or raises.

        Returns:
            One for each photo, or for the one, a crop ``(3, size, size)``, red first,
            `torch.uint8`, or None; for ``"all"`` faces ``(F, 3, size, size)``.

        Raises:
            FileNotFoundError: If there is no file at a path.
            InputTypeError: If a photo is of another kind or dtype.
            InputValueError: If it has another shape, or cannot be read.
            NoFaceError: If *missing* is ``"raise"`` and there is no face.
        """
        if isinstance(photos, (str, PathLike)):
            one = self.align([photos], which=which, size=size, fit=fit, missing=missing)
            return one[0]
        crop = partial(crop_faces, which=which, size=size, fit=fit, missing=missing)
        pictures = [read_photo(photo) for photo in photos]
        return list(map(crop, pictures, self._find(pictures)))

    @batched(join="items", progress=False)
    @inference(mode="inference")
    @autocast_policy(precision="fp32")
    @auto_device
    def _find(self, pictures: TensorLike) -> Any:
        return find_faces((self.pnet, self.rnet, self.onet), pictures, self.settings)

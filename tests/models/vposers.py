"""Models for tests, their weights filled from their keys, and reference numbers."""

import functools
from pathlib import Path

import numpy as np
import torch

from tests.models.filling import filled
from unfussy.models.vposer import VPoser, VPoserV1


def small_vposer(kind=VPoser):
    return kind.from_state_dict(filled(kind(64, 8).state_dict()))


def small_vposer_v1():
    return small_vposer(VPoserV1)


@functools.cache
def reference():
    """Return what the official code computes with these weights, as tensors."""
    path = Path(__file__).parent / "data" / "vposer_small.npz"
    with np.load(path) as numbers:
        return {key: torch.from_numpy(numbers[key]) for key in numbers}


def numbers(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def numpys_random_state():
    return np.random.get_state()[1].tolist()  # noqa: NPY002 - it must not be touched


def is_orthonormal(matrices, tolerance):
    matrices = matrices.reshape(-1, 3, 3).double()
    products = matrices.mT @ matrices
    return (products - torch.eye(3)).abs().max().item() <= tolerance

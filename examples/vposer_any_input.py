"""Poses in whatever form they come are encoded, and come back in that shape."""

from pathlib import Path

import numpy as np
import torch

from unfussy.models.vposer import VPoser

walk = np.load(Path(__file__).parent / "data" / "poses.npy")  # float64 (120, 21, 3)
# Seeded weights: for your own work, VPoser.from_pretrained("V02_05").
vposer = VPoser.from_config()

forms = {
    "array of a sequence": walk,
    "one pose": walk[0],
    "one pose as numbers": walk[0].reshape(63).tolist(),
    "list of poses": list(walk[:8]),
    "batch of clips": torch.from_numpy(walk).reshape(4, 30, 63),
    "no poses": walk[:0],
    "columns of an AMASS array": np.zeros((10, 156))[:, 3:66],
}
for name, poses in forms.items():
    z = vposer.easy_encode(poses, batch_size=32)
    decoded = vposer.easy_decode(z, output="aa", return_numpy=True)
    print(f"{name:26} {tuple(z.shape)!s:13} -> {decoded.shape}")

try:
    vposer.easy_encode(np.zeros((10, 156)))
except ValueError as error:
    print(error)

"""Faces from files, pictures and arrays are embedded, and compared with each other."""

import numpy as np
import torch
from PIL import Image

from unfussy.models.adaface import AdaFace, to_input

# Seeded weights: for your own work, AdaFace.from_pretrained("adaface_ir50.ckpt").
model = AdaFace.from_config("ir_18")

# Stand-ins for aligned faces: two of one kind, and another one.
noise = np.random.default_rng(0)
first, other = noise.integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
second = (first * 0.9).astype(np.uint8)
Image.fromarray(first).save("first.png")

# A file, a picture and an array.
faces = ["first.png", Image.fromarray(second), other]
embeddings, norms = model.easy_embed(faces, flip=True, return_norm=True)

for name, row, norm in zip(("first", "second", "other"), embeddings, norms):
    similarities = "  ".join(f"{cosine:5.2f}" for cosine in embeddings @ row)
    print(f"{name:7} {similarities}   norm {norm.item():.1f}")

from_opencv = model.easy_embed(other[..., ::-1], channels="bgr", flip=True)
print(f"the same, blue first: {(from_opencv @ embeddings[2]).item():.4f}")

try:
    model.easy_embed(torch.rand(3, 112, 112))
except ValueError as error:
    print(error)

x = to_input("first.png")
print(f"the network's own input: {tuple(x.shape)}, {x.min():.0f} to {x.max():.0f}")

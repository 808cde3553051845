"""A face is found in a photo, and cut out upright for AdaFace."""

import sys

import numpy as np
import torch

from unfussy.errors import CheckpointError
from unfussy.models.adaface.alignment import face_template
from unfussy.models.adaface.mtcnn import MTCNN
from unfussy.models.adaface.warping import align_faces

# A photo of your own: python examples/align_a_face.py photo.jpg
photo = sys.argv[1] if len(sys.argv) > 1 else np.zeros((240, 320, 3), np.uint8)

try:
    mtcnn = MTCNN.from_pretrained()  # pip install --no-deps facenet-pytorch
except CheckpointError as error:
    print(f"seeded weights, which find nothing: {error}")
    mtcnn = MTCNN.from_config()

faces = mtcnn.detect(photo)
print(f"{len(faces)} faces, as sure as {faces.scores.tolist()}")
for crop in mtcnn.align(photo, which="all"):
    print(f"a crop {tuple(crop.shape)}, {crop.dtype}")

# Landmarks of any other detector do as well.
picture = torch.zeros(3, 240, 320, dtype=torch.uint8)
print(align_faces(picture, face_template()[None] + 40).shape)

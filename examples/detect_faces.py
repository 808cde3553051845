"""Faces are found in pictures of any sizes: the same alone and in a batch."""

import sys

import numpy as np

from unfussy import explain
from unfussy.errors import CheckpointError
from unfussy.models.img2pose import Img2Pose

# Weights and photos of your own: python examples/detect_faces.py img2pose.zip a.jpg
weights, *photos = sys.argv[1:] or ["img2pose.zip"]
settings = {"min_size": 160, "max_size": 320, "max_faces": 3}
try:
    detector = Img2Pose.from_pretrained(weights, **settings)
except CheckpointError as error:
    print(f"seeded weights, which find nothing sensible: {error}")
    detector = Img2Pose.from_config(**settings)

squares = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
wide = squares.repeat(10, 0).repeat(10, 1)
pictures = photos or [wide, wide.swapaxes(0, 1), wide[:-1]]

print(explain(detector.detect_faces, pictures).batch)
found = detector.detect_faces(pictures)
for picture, faces in zip(pictures, found):
    alone = detector.detect_faces(picture)
    assert [face.box for face in faces] == [face.box for face in alone]
    for face in faces:
        print(face.box, f"{face.confidence:.2f}", face.as_euler())

for faces in detector.detect_faces(iter(pictures)):  # a camera, a folder without end
    print(f"{len(faces)} faces")

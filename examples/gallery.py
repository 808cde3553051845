"""A gallery on disk finds the nearest faces, exactly, in blocks."""

import numpy as np
import torch

from unfussy.models.adaface.gallery import Gallery

random = np.random.default_rng(0)
people = random.normal(size=(500, 512))


def photographed(people: np.ndarray) -> np.ndarray:
    """Return features of other photos of the same people."""
    return (people + 0.7 * random.normal(size=people.shape)).astype("float32")


features = np.concatenate([photographed(people) for _ in range(4)])
names = [f"person {i % 500}" for i in range(len(features))]

Gallery(features, names).save("people")
gallery = Gallery.load("people")
print(gallery, "in", type(gallery.features).__name__)

queries = torch.from_numpy(photographed(people[:3]))
found = gallery.search(queries, k=2)
for scores, labels in zip(found.scores.tolist(), found.labels.tolist()):
    print(", ".join(f"{name}: {score:.2f}" for name, score in zip(labels, scores)))

for block_size in (1, 7, 10_000):
    again = gallery.search(queries, k=2, block_size=block_size)
    assert torch.equal(again.scores, found.scores)

print("is it them:", gallery.verify(queries, ["person 0", "person 1", "person 1"]))

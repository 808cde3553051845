"""
Folders of drawn pictures, and a model whose features say which picture it saw.

Run as a script, it kills extraction from a folder, again and again, and prints how many
were killed, how many results came, and how many had every label at its picture.
"""

import argparse
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from tests.children import is_killed
from unfussy._batching.sinks import sink
from unfussy.models.adaface.folders import extract_features_from_folder

__all__ = ["SIZE", "Decoder", "Finder", "draw", "numbers", "write_folder"]

SIZE = 4  # the side of a face, pixels


class Decoder:
    """A model whose features are the colours of a face, red first, from 0 to 255."""

    size = SIZE

    def __init__(self, dies_after=None, pause=0.0):
        self.n_left, self.pause, self.sizes = dies_after, pause, []

    def easy_embed(self, images, *, flip, channels, value_range, **options):
        if self.n_left is not None:
            self.n_left -= 1
            if self.n_left < 0:
                raise KeyboardInterrupt
        time.sleep(self.pause)
        assert channels == "bgr"
        assert value_range == (-1, 1)
        self.sizes.append(len(images))
        return (images.mean((2, 3)).flip(-1) + 1) * 127.5


class Finder:
    """Finds a face in every photo that is not black."""

    def align(self, photos, *, size):
        return [self._face(photo, size) for photo in photos]

    def _face(self, photo, size):
        if photo.float().mean() > 250:
            raise RuntimeError("too bright")
        return photo[:, :size, :size] if photo.any() else None


def draw(path, number, side=SIZE):
    """Write a picture in a colour that means *number*, 1 to 65535."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = number // 256, number % 256, 0
    Image.new("RGB", (side, side), colour).save(path)


def numbers(features):
    """Return which pictures features are of."""
    levels = features.numpy().round().astype(int)
    return (levels[:, 0] * 256 + levels[:, 1]).tolist()


def write_folder(folder, kinds):
    """
    Write a picture of each kind, and return which ones are good, by number.

    Kinds are ``(person, kind)``; the picture of number *i* + 1 is named so.
    """
    good = {}
    for number, (person, kind) in enumerate(kinds, 1):
        path = Path(folder, person, f"{number}.png")
        if kind == "good":
            draw(path, number)
            good[number] = person or path.name
        elif kind == "large":
            draw(path, number, side=SIZE + 1)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no picture")
    return good


# --- killing -----------------------------------------------------------------------

_OUTS = ["gallery", "x.npy", "x.npz", "x.pth"]


def kill_runs(kills, seed):
    """Return how many runs were killed, how many results came, and how many well."""
    chance = random.Random(seed)
    killed = results = exact = 0
    sink._SECONDS = 0.0  # every block is committed, so that there is much to go on from
    while killed < kills:
        out = _OUTS[results % len(_OUTS)]
        kinds = [
            (chance.choice(["ann", "bob", ""]), chance.choice(["good", "good", "bad"]))
            for _ in range(40)
        ]
        with TemporaryDirectory() as folder:
            good = write_folder(Path(folder, "photos"), kinds)
            patience = 0.2
            while is_killed(_run, chance.uniform(0, patience), Path(folder), out):
                killed += 1
                patience *= 1.1
            found = extract_features_from_folder(
                Path(folder, "photos"), Decoder(dies_after=0), out=Path(folder, out)
            )
            results += 1
            exact += dict(zip(numbers(found.features), found.labels)) == good
    return killed, results, exact


def _run(folder, out):
    photos = folder / "photos"
    extract_features_from_folder(photos, Decoder(pause=0.005), 2, out=folder / out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(*kill_runs(asked.kills, asked.seed))  # noqa: T201 - a script

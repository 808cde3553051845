"""
What generating costs: the official way, one by one with all rows, against ours.

One thread, processor time, the least of interleaved turns, as ratios. Memory is what
the process has beside mapped files, at its peak while it generates.
"""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path
from time import process_time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from tests.benchmarks.harness import surroundings
from unfussy.models.multimodal import (
    CaptionRules,
    MultimodalGenerator,
    sample_caption,
    to_pictures,
    to_pixels,
)
from unfussy.models.multimodal.seeds import start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=512)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(surroundings())
    generator = MultimodalGenerator.from_config(image_size=given.image_size)
    seeds = list(range(given.samples))
    ways = {
        "official, one by one, 100 rows": lambda: official(generator, seeds),
        "ours, one by one": lambda: [generator.generate(seed) for seed in seeds],
        "ours, one batch": lambda: generator.generate_batch(seeds),
    }
    steps = dict.fromkeys(ways, 0)
    best = dict.fromkeys(ways, float("inf"))
    peaks = dict.fromkeys(ways, 0.0)
    for _ in range(given.turns):
        for name, way in ways.items():
            seconds, peaks[name], steps[name] = measured(generator, way)
            best[name] = min(best[name], seconds)
    first = next(iter(best.values()))
    for name, seconds in best.items():
        each = 1000 * seconds / given.samples
        print(
            f"{name:32} {each:8.0f} ms a sample, {first / seconds:5.2f} times as fast, "
            f"{steps[name]:4} decoder calls, {peaks[name]:6.0f} MiB more memory"
        )


def official(generator: MultimodalGenerator, seeds: list[int]) -> None:
    """Generate as the official code does, all rows and one seed at a time."""
    model, words = generator.model, generator.tokenizer.spoken_ids()
    for seed in seeds:
        latent, numbers = start(seed, generator.latent_dim)
        with torch.no_grad():
            to_pictures(to_pixels(model.decode_image(latent[None])))
            logits = model.decode_text(latent[None])[0]
        sample_caption(logits, words, generator=numbers, rules=CaptionRules())


def measured(generator: MultimodalGenerator, way) -> tuple[float, float, int]:
    """Return processor seconds, the growth of memory in MiB, and decoder calls."""
    calls: list[int] = []
    transformer = generator.model.text_decoder.transformer_decoder
    hook = transformer.register_forward_pre_hook(lambda *_: calls.append(1))
    over, before, grown = threading.Event(), own_memory(), [0.0]

    def watch() -> None:
        while not over.wait(0.01):
            grown[0] = max(grown[0], own_memory() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = process_time()
    way()
    seconds = process_time() - begin
    over.set()
    watcher.join()
    hook.remove()
    return seconds, grown[0], len(calls)


def own_memory() -> float:
    status = Path("/proc/self/status").read_text()
    (line,) = [x for x in status.splitlines() if x.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

"""
What embedding a face costs with ``ir_50`` on a CPU, against a plain loop.

The base is what people write: one face a call, float32, no gradients. Every figure is
the CPU time of one face in one thread. Cases take turns, and each has the base right
beside it, so that what slows the machine down slows both; the table shows medians of
such ratios, and their range. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from tests.benchmarks.harness import surroundings
from unfussy.models.adaface import AdaFace, to_input

FACES = 16


def cases(model: AdaFace, faces: np.ndarray[Any, Any]) -> dict[str, Callable[[], Any]]:
    """Return what is measured, each a call that embeds all *faces*."""
    x = torch.cat([to_input(face) for face in faces])
    last = AdaFace.from_config("ir_50").to(memory_format=torch.channels_last)

    def by_hand(batch: int, *, bf16: bool) -> Callable[[], Any]:
        def run() -> None:
            with (
                torch.inference_mode(),
                torch.autocast("cpu", torch.bfloat16, enabled=bf16),
            ):
                for part in x.split(batch):
                    last(part.contiguous(memory_format=torch.channels_last))

        return run

    easy = model.easy_embed
    return {
        "easy_embed": lambda: easy(faces),
        "easy_embed, batch_size=8": lambda: easy(faces, batch_size=8),
        "easy_embed, batch_size=1": lambda: easy(faces, batch_size=1),
        "easy_embed, bf16": lambda: easy(faces, precision="bf16"),
        "easy_embed, bf16, weights channels_last": lambda: last.easy_embed(
            faces, precision="bf16"
        ),
        "by hand, 8, channels_last": by_hand(8, bf16=False),
        "by hand, 8, channels_last, bf16": by_hand(8, bf16=True),
        "by hand, 16, channels_last, bf16": by_hand(16, bf16=True),
        **openvino_cases(model, x),
    }


def openvino_cases(model: AdaFace, x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """Return OpenVINO's cases of 8 faces a call, or none."""
    if find_spec("openvino") is None or find_spec("onnxscript") is None:
        return {}
    import openvino  # noqa: PLC0415 - need not be there

    with TemporaryDirectory() as folder:
        file = Path(folder, "adaface.onnx")
        torch.onnx.export(model, (x[:8],), file, dynamo=True, verbose=False)
        net = openvino.Core().read_model(file)
    found: dict[str, Callable[[], Any]] = {}
    for name, hint in (("fp32", "f32"), ("bf16", "bf16")):
        settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
        run = openvino.Core().compile_model(net, "CPU", settings)
        found[f"OpenVINO, 8, {name}"] = lambda run=run: [  # type: ignore[misc]
            run(part.numpy()) for part in x.split(8)
        ]
    return found


def seconds(run: Callable[[], Any]) -> float:
    """Return the CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = AdaFace.from_config("ir_50")
    shape = (FACES, 112, 112, 3)
    faces = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    x = torch.cat([to_input(face) for face in faces[:4]])

    def base() -> None:
        with torch.inference_mode():
            for each in x.split(1):
                model(each)

    runs = cases(model, faces)
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(asked.rounds + 1):  # the first warms up
        for name, run in runs.items():
            plain, own = seconds(base) / len(x), seconds(run) / FACES
            if turn:
                ratios[name].append(plain / own)
                times[name].append(own)
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    print(
        "\n| what | ms a face | times as fast | range |\n| --- | ---: | ---: | ---: |"
    )
    for name, found in ratios.items():
        spread = f"{min(found):.2f} to {max(found):.2f}"
        ms = f"{1e3 * median(times[name]):.0f}"
        print(f"| {name} | {ms} | {median(found):.2f} | {spread} |")


if __name__ == "__main__":
    main()
